"""One watch stream of etcd that outlives its connections: after a break it resumes behind the last revision it told.

etcd sends all events of a revision in one response (fragmenting is not asked for), so resuming loses and repeats
nothing. A stream is given up when etcd's member has lost its leader, because such a member could fall silent for good.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from pynetes.machinery.meta import Revision
from pynetes.rpc.channel import EOF, RpcError
from pynetes.rpc.etcd import kv_pb2 as pb_kv
from pynetes.rpc.etcd import rpc_pb2 as pb
from pynetes.storage.backend import Change, Compacted, Unavailable
from pynetes.storage.etcd_channel import EtcdChannel, describe

log = logging.getLogger(__name__)

#: Seconds between attempts to connect again.
RETRY = 0.2
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
    while True:
        member = channel.member
        try:
            async with channel.using() as opened:
                stream = opened.watch.Watch(metadata=_REQUIRE_LEADER)
                try:
                    async for batch in _read(stream, prefix, position):
                        position = batch[-1].modified
                        yield batch
                finally:
                    stream.cancel()
        except (RpcError, Unavailable) as error:
            problem = describe(error) if isinstance(error, RpcError) else str(error)
            log.info("the watch of etcd broke after revision %d: %s; resuming", position, problem)
            channel.fail_over(member)
        await asyncio.sleep(RETRY)


async def _read(stream: Any, prefix: str, after: Revision) -> AsyncGenerator[Sequence[Change], None]:
    first, end = key_range(prefix)
    create = pb.WatchCreateRequest(key=first, range_end=end, start_revision=after + 1)
    await stream.write(pb.WatchRequest(create_request=create))
    while (answer := await stream.read()) is not EOF:
        if answer.canceled:
            if answer.compact_revision:
                raise Compacted(Revision(answer.compact_revision))
            raise Unavailable(f"etcd cancelled the watch: {answer.cancel_reason}")
        if answer.events:
            yield [_change(event) for event in answer.events]
    raise Unavailable("etcd closed the watch")


def _change(event: Any) -> Change:
    kv = event.kv
    value = None if event.type == pb_kv.Event.DELETE else kv.value
    return Change(kv.key.decode(), value, Revision(kv.create_revision), Revision(kv.mod_revision))
