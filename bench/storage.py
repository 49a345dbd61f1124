"""How fast the stores take writes, and how soon the watch cache shows them: each beside etcd's own pace.

etcd is the real one, with mutual TLS, on the same machine; its own pace is bare puts on the same connection, without
compare-and-swap, cache or records of interactions.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from itertools import count
from pathlib import Path

import uvloop

from bench.figures import Figure
from pynetes.apis.core import pods
from pynetes.component.clock import SystemClock
from pynetes.component.tracing import Recorder
from pynetes.machinery.meta import Object
from pynetes.rpc.etcd import rpc_pb2 as pb
from pynetes.storage.backend import Backend
from pynetes.storage.cache import Cacher
from pynetes.storage.etcd import TXN, EtcdBackend
from pynetes.storage.memory import MemoryBackend
from pynetes.storage.sqlite import SqliteBackend
from pynetes.storage.store import Store
from tests.contract.etcd_server import EtcdServer

WRITERS, SECONDS = 16, 3.0
_VALUE = b"x" * 2048
_numbers = count()


def _pod() -> Object:
    env = [{"name": f"VARIABLE_{n}", "value": "v" * 40} for n in range(20)]
    metadata = {"name": f"pod-{next(_numbers)}", "namespace": "default", "labels": {"app": "bench"}}
    spec = {"nodeName": "n1", "containers": [{"name": "main", "image": "x", "env": env}]}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}


async def _pace(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Operations a second by so many at once, and the p99 in milliseconds."""
    took: list[float] = []
    started = time.perf_counter()

    async def worker() -> None:
        while (began := time.perf_counter()) < started + SECONDS:
            await work()
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(worker() for _ in range(WRITERS)))
    took.sort()
    return len(took) / (time.perf_counter() - started), took[len(took) * 99 // 100] * 1e3


async def bare(backend: EtcdBackend) -> float:
    """etcd's own puts a second on this connection."""
    connection = await backend.channel.connection()

    async def put() -> None:
        key = f"/bare/{next(_numbers)}".encode()
        request = pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=key, value=_VALUE))])
        await connection.unary(TXN, request, timeout=10)

    return (await _pace(put))[0]


async def _store(name: str, backend: Backend, own: float | None) -> Iterable[Figure]:
    cacher = Cacher(backend, SystemClock(), [pods.RESOURCE])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(cacher.run())
        await cacher.ready()
        store = Store(pods.RESOURCE, backend, cacher)
        pace, slowest = await _pace(lambda: store.create(_pod()))

        async def create_and_read() -> None:
            await store.create(_pod())
            await cacher.fresh()

        seen, seen_slowest = await _pace(create_and_read)
        running.cancel()
    limit = None if own is None else own / 2
    return (
        Figure(name=f"{name}: creates", value=pace, unit="/s", limit=limit, at_most=False),
        Figure(name=f"{name}: creates, p99", value=slowest, unit="ms"),
        Figure(name=f"{name}: creates, each read back consistently", value=seen, unit="/s"),
        Figure(name=f"{name}: creates, each read back consistently, p99", value=seen_slowest, unit="ms"),
    )


async def _measure(folder: Path) -> list[Figure]:
    figures = [*await _store("memory", MemoryBackend(), None)]
    sqlite = SqliteBackend(folder / "store.db")
    figures += await _store("SQLite", sqlite, None)
    await sqlite.close()
    if shutil.which("etcd") is None:
        return figures
    server = EtcdServer(folder)
    await server.start()
    try:
        backend = EtcdBackend([server.endpoint], server.credentials(), recorder=Recorder())
        own = await bare(backend)
        figures.append(Figure(name="etcd's own puts", value=own, unit="/s"))
        figures += await _store("etcd", backend, own)
        await backend.close()
    finally:
        await server.kill()
    return figures


def MEASURE() -> list[Figure]:  # noqa: N802 - what bench/__main__ looks for
    """All stores, one after the other, in a directory of their own."""
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder)))
