"""etcd v3 as the store: one key per object, compare-and-swap by mod revision, one watch stream.

Only what every etcd since 3.4 answers correctly is used; in particular no progress requests, whose answers 3.4 may send
ahead of events. Every call is an interaction of path 4, every change that a watch brings one of path 5.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from pynetes.component.tracing import RECORDER, Interaction, Recorder, now
from pynetes.machinery.meta import Revision
from pynetes.rpc.connection import Code, RpcError, code_name
from pynetes.rpc.etcd import rpc_pb2 as pb
from pynetes.storage import metrics
from pynetes.storage.backend import (
    Change,
    Compacted,
    KeyExists,
    KeyValue,
    LeaseID,
    Page,
    RevisionMismatch,
    Unavailable,
)
from pynetes.storage.etcd_channel import Credentials, EtcdChannel
from pynetes.storage.etcd_watch import follow, key_range

log = logging.getLogger(__name__)

#: Seconds a call may take; a listing of everything is the longest.
TIMEOUT = 10.0
LIST_TIMEOUT = 60.0
RANGE, TXN, COMPACT = "/etcdserverpb.KV/Range", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Compact"
GRANT, STATUS = "/etcdserverpb.Lease/LeaseGrant", "/etcdserverpb.Maintenance/Status"
#: Exists in no cluster; a linearizable read of it tells the revision and carries nothing.
_NOTHING = b"\x00pynetes"


class EtcdBackend:
    """A client of an etcd cluster."""

    def __init__(
        self, endpoints: Sequence[str], credentials: Credentials | None = None, *, recorder: Recorder = RECORDER
    ) -> None:
        #: The connection; nothing but measurements needs it from outside.
        self.channel = EtcdChannel(endpoints, credentials or Credentials())
        self._recorder = recorder

    async def get(self, key: str) -> KeyValue | None:
        request = pb.RangeRequest(key=key.encode())
        answer = await self._call("get", key, RANGE, request, pb.RangeResponse)
        return _key_value(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: Revision | None = None) -> Page:
        first, end = key_range(prefix)
        first = max(first, start.encode())
        request = pb.RangeRequest(key=first, range_end=end, limit=limit, revision=revision or 0)
        answer = await self._call("list", prefix, RANGE, request, pb.RangeResponse, timeout=LIST_TIMEOUT)
        items = [_key_value(kv) for kv in answer.kvs]
        return Page(items, Revision(answer.header.revision), answer.count - len(items))

    async def create(self, key: str, value: bytes, *, lease: LeaseID | None = None) -> Revision:
        name = key.encode()
        absent = pb.Compare(key=name, target=pb.Compare.CREATE, create_revision=0)
        put = pb.RequestOp(request_put=pb.PutRequest(key=name, value=value, lease=lease or 0))
        answer = await self._transact("create", key, pb.TxnRequest(compare=[absent], success=[put]))
        if not answer.succeeded:
            raise KeyExists(key)
        return Revision(answer.header.revision)

    async def update(self, key: str, value: bytes, *, expected: Revision, lease: LeaseID | None = None) -> Revision:
        put = pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value, lease=lease or 0))
        return await self._swap("update", key, expected, put)

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        remove = pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key.encode()))
        return await self._swap("delete", key, expected, remove)

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Change]]]:
        changes = follow(self.channel, prefix, after)
        try:
            yield self._seen(changes)
        finally:
            await changes.aclose()

    async def compact(self, revision: Revision) -> None:
        request = pb.CompactionRequest(revision=revision)
        try:
            await self._call("compact", "", COMPACT, request, pb.CompactionResponse)
        except Compacted:
            log.debug("revision %d is compacted already", revision)

    async def current_revision(self) -> Revision:
        request = pb.RangeRequest(key=_NOTHING, count_only=True)
        answer = await self._call("revision", "", RANGE, request, pb.RangeResponse)
        return Revision(answer.header.revision)

    async def size(self) -> int:
        answer = await self._call("status", "", STATUS, pb.StatusRequest(), pb.StatusResponse)
        return int(answer.dbSize)

    async def grant_lease(self, seconds: int) -> LeaseID:
        request = pb.LeaseGrantRequest(TTL=seconds)
        answer = await self._call("lease", "", GRANT, request, pb.LeaseGrantResponse)
        return int(answer.ID)

    async def close(self) -> None:
        await self.channel.close()

    async def _transact(self, action: str, key: str, request: Any) -> Any:
        return await self._call(action, key, TXN, request, pb.TxnResponse)

    async def _swap(self, action: str, key: str, expected: Revision, then: Any) -> Revision:
        name = key.encode()
        same = pb.Compare(key=name, target=pb.Compare.MOD, mod_revision=expected)
        read = pb.RequestOp(request_range=pb.RangeRequest(key=name))
        answer = await self._transact(action, key, pb.TxnRequest(compare=[same], success=[then], failure=[read]))
        if not answer.succeeded:
            found = answer.responses[0].response_range.kvs
            raise RevisionMismatch(_key_value(found[0]) if found else None)
        return Revision(answer.header.revision)

    async def _call(
        self, action: str, key: str, method: str, request: Any, answer_type: Any, *, timeout: float = TIMEOUT
    ) -> Any:
        started, problem, revision, code = perf_counter(), "", 0, "Unavailable"
        try:
            data = await self.channel.call(
                lambda connection: connection.unary(method, request, timeout=timeout), repeatable=method == RANGE
            )
            answer = answer_type.FromString(data)
            revision, code = answer.header.revision, "OK"
            return answer
        except RpcError as error:
            problem, code = error.details, code_name(error.code)
            if error.code == Code.OUT_OF_RANGE and "compacted" in problem:
                raise Compacted(Revision(0)) from error
            if "database space exceeded" in problem:
                problem += "; `etcdctl defrag` and `etcdctl alarm disarm` end this, or a larger --quota-backend-bytes"
            raise Unavailable(f"etcd: {problem}") from error
        except Unavailable as error:
            problem = str(error)
            raise
        finally:
            seconds = perf_counter() - started
            metrics.called(action, key, method, seconds, code)
            self._record(4, action, key, seconds, problem, revision)

    async def _seen(self, changes: AsyncIterator[Sequence[Change]]) -> AsyncIterator[Sequence[Change]]:
        async for batch in changes:
            for change in batch:
                self._record(5, "watch", change.key, 0.0, "", change.modified)
            yield batch

    def _record(self, path: int, action: str, key: str, seconds: float, problem: str, revision: int) -> None:
        ends = ("kube-apiserver", "etcd") if path == 4 else ("etcd", "kube-apiserver")
        self._recorder.record(
            Interaction(path, now(), *ends, action, _named(key), seconds, problem, revision),
            self.channel.identity,
        )


def _key_value(kv: Any) -> KeyValue:
    return KeyValue(kv.key.decode(), kv.value, Revision(kv.create_revision), Revision(kv.mod_revision))


def _named(key: str) -> str:
    """/registry/pods/default/web as "pods default/web"."""
    kind, _, name = key.removeprefix("/registry/").partition("/")
    return f"{kind} {name}" if name else kind
