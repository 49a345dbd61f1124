"""One watch stream of etcd that outlives its connections: after a break it resumes behind the last revision it told.

etcd sends all events of a revision in one response (fragmenting is not asked for), so resuming loses and repeats
nothing. A stream is given up when etcd's member has lost its leader, because such a member could fall silent for good.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from pynetes.machinery.meta import Revision
from pynetes.rpc.connection import Call, RpcError
from pynetes.rpc.etcd import kv_pb2 as kv_pb
from pynetes.rpc.etcd import rpc_pb2 as pb
from pynetes.storage.backend import Change, Compacted, Unavailable
from pynetes.storage.etcd_channel import EtcdChannel

log = logging.getLogger(__name__)

#: Seconds between attempts to connect again.
RETRY = 0.2
WATCH = "/etcdserverpb.Watch/Watch"
_REQUIRE_LEADER = (("hasleader", "true"),)


def key_range(prefix: str) -> tuple[bytes, bytes]:
    """etcd's range of all keys with a prefix; "" means every key."""
    if not prefix:
        return b"\0", b"\0"
    first = prefix.encode()
    return first, first[:-1] + bytes([first[-1] + 1])


async def follow(channel: EtcdChannel, prefix: str, after: Revision) -> AsyncGenerator[Sequence[Change], None]:
    """Changes with a greater revision, for ever. Raises Compacted."""
    position = after
    first, end = key_range(prefix)
    while True:
        used = channel.used
        create = pb.WatchCreateRequest(key=first, range_end=end, start_revision=position + 1)
        try:
            connection = await channel.connection()
            request = pb.WatchRequest(create_request=create)
            call = await connection.start(WATCH, request, metadata=_REQUIRE_LEADER, more=True)
            try:
                async for batch in _read(call):
                    position = batch[-1].modified
                    yield batch
            finally:
                connection.cancel(call)
        except (RpcError, Unavailable) as error:
            log.info("the watch of etcd broke after revision %d: %s; resuming", position, error)
            channel.fail_over(used)
        await asyncio.sleep(RETRY)


async def _read(call: Call) -> AsyncGenerator[Sequence[Change], None]:
    while (data := await call.read()) is not None:
        answer = pb.WatchResponse.FromString(data)
        if answer.canceled:
            if answer.compact_revision:
                raise Compacted(Revision(answer.compact_revision))
            raise Unavailable(f"etcd cancelled the watch: {answer.cancel_reason}")
        if answer.events:
            yield [_change(event) for event in answer.events]
    raise Unavailable("etcd closed the watch")


def _change(event: Any) -> Change:
    kv = event.kv
    value = None if event.type == kv_pb.Event.DELETE else kv.value
    # Somebody else's key beside /registry may be any bytes; it must not end the watch.
    return Change(kv.key.decode(errors="replace"), value, Revision(kv.create_revision), Revision(kv.mod_revision))
