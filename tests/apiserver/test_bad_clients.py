"""Clients that stop half-way, read nothing, or only wait: each harms itself only, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from pynetes.apis.core import configmaps
from pynetes.apiserver import connection
from pynetes.apiserver.app import APIServer, build, running
from pynetes.apiserver.config import Config
from pynetes.storage import watch
from pynetes.storage.memory import MemoryBackend
from tests.apiserver.harness import API, CONFIGMAPS, configmap

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HEAD = b" HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture
async def server() -> AsyncIterator[APIServer]:
    config = Config(bind_address="127.0.0.1", secure_port=0)
    async with running(build(config, MemoryBackend())) as made:
        yield made


async def ask(server: APIServer, path: str) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 24)
    writer.write(b"GET " + path.encode() + HEAD + b"\r\n")
    return reader, writer


async def served(server: APIServer) -> bool:
    """Whether somebody else is, now."""
    reader, writer = await ask(server, "/livez")
    async with asyncio.timeout(5):
        line = await reader.readline()
    writer.close()
    return line.startswith(b"HTTP/1.1 200")


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def watchers(server: APIServer) -> int:
    return sum(1 for _ in server.cacher.of(configmaps.RESOURCE).watched())


async def test_half_closed_connections_end(server: APIServer) -> None:
    """Who has sent a request, or half of one, and hangs up in one direction gets an answer or the end."""
    before = len(server._connections)
    clients = []
    for sent in (
        b"GET /livez" + HEAD + b"\r\n",
        b"GET /livez" + HEAD,
        b"POST /api" + HEAD + b"Content-Length: 9\r\n\r\nab",
    ):
        for _ in range(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(sent)
            writer.write_eof()
            clients.append((reader, writer))
    assert await served(server)
    for reader, writer in clients:
        async with asyncio.timeout(5):
            assert (await reader.read())[:9] in (b"", b"HTTP/1.1 ")
        writer.close()
    await until(lambda: len(server._connections) == before)


async def test_half_a_head_is_not_waited_for(server: APIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not come to its end in time; the connection is cut, others are served."""
    monkeypatch.setattr(connection, "ARRIVAL", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET /livez" + HEAD)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    assert await served(server)


async def test_a_watcher_that_does_not_read_is_given_up(server: APIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded; the others miss nothing."""
    monkeypatch.setattr(watch, "BUFFER", 50)
    monkeypatch.setattr(connection, "HIGH_WATER", 64 << 10)
    api, text = API(server), "x" * 50_000
    path = f"{CONFIGMAPS}?watch=true&resourceVersion=0"
    stuck, attentive = await ask(server, path), await ask(server, path)
    stuck[1].transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: watchers(server) >= 2)
    seen: list[str] = []

    async def read() -> None:
        await attentive[0].readuntil(b"\r\n\r\n")
        while len(seen) < 300:
            size = int(await attentive[0].readline(), 16)
            for line in (await attentive[0].readexactly(size)).splitlines():
                name = orjson.loads(line)["object"]["metadata"]["name"]
                if name.startswith("big-"):
                    seen.append(name)
            await attentive[0].readexactly(2)

    async with asyncio.TaskGroup() as group, asyncio.timeout(60):
        group.create_task(read())
        for number in range(300):
            assert (await api.post(CONFIGMAPS, configmap(f"big-{number}", text=text))).status == 201
            await asyncio.sleep(0)
    assert seen == [f"big-{number}" for number in range(300)]
    await until(lambda: watchers(server) == 1)
    for _, writer in (stuck, attentive):
        writer.close()
    await until(lambda: watchers(server) == 0)


async def test_a_thousand_idle_watches_hold_nobody_up(server: APIServer) -> None:
    """They cost the others nothing, are all told of a change, and are gone when their clients are."""
    path, waiting = f"{CONFIGMAPS}?watch=true&resourceVersion=0&fieldSelector=metadata.name%3Done", []
    for wave in range(10):
        # More of one user at once would not all find room in his queues.
        waiting += await asyncio.gather(*(ask(server, path) for _ in range(100)))
        await until(lambda so_far=wave: watchers(server) == 100 * (so_far + 1))
    assert await served(server)
    assert (await API(server).post(CONFIGMAPS, configmap("one", a="1"))).status == 201
    for reader, _ in waiting:
        async with asyncio.timeout(10):
            assert b'"ADDED"' in await reader.readuntil(b'"name":"one"')
    for _, writer in waiting:
        writer.close()
    await until(lambda: watchers(server) == 0)
