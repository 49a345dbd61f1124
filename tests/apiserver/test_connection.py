"""The HTTP/1.1 protocol over real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from pynetes.apiserver import connection
from pynetes.apiserver.connection import BODY_LIMIT
from pynetes.apiserver.http import Request, Response, Upgrade
from pynetes.apiserver.server import Server


async def answer(request: Request) -> Response:
    """Echoes what the test needs to see."""
    if request.path == "/stream":
        return Response(200, counted())
    if request.path == "/fail":
        raise RuntimeError("broken")
    if request.path == "/upgrade":
        return Upgrade(headers=(("Connection", "Upgrade"), ("Upgrade", "echo")), take=echo)
    if request.oversized:
        return Response(413, b"")
    return Response(200, f"{request.method} {request.path} {request.query_string} {len(request.body)}".encode())


async def counted() -> AsyncIterator[bytes]:
    for number in range(3):
        yield str(number).encode()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readexactly(4))
    await writer.drain()


@asynccontextmanager
async def served() -> AsyncIterator[int]:
    server = Server(answer)
    async with asyncio.TaskGroup() as group:
        await server.listen(group, host="127.0.0.1", port=0)
        try:
            yield server.port
        finally:
            await server.shutdown()


async def talk(port: int, sent: bytes, *, until: bytes = b"") -> bytes:
    """Send, and read until the text or the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(5):
            return await reader.readuntil(until) if until else await reader.read()
    finally:
        writer.close()


CLOSE = b"Connection: close\r\n\r\n"


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Three at once on one connection."""
    async with served() as port:
        sent = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(3))
        got = await talk(port, sent + b"GET /last HTTP/1.1\r\nHost: x\r\n" + CLOSE)
        assert [got.index(b"GET /" + name) for name in (b"0", b"1", b"2", b"last")] == sorted(
            got.index(b"GET /" + name) for name in (b"0", b"1", b"2", b"last")
        )


async def test_chunked_bodies_in_and_out() -> None:
    """A chunked request is read whole; a stream is written in chunks."""
    async with served() as port:
        body = (
            b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            + CLOSE
            + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        assert (await talk(port, body)).endswith(b"POST /p  5")
        streamed = await talk(port, b"GET /stream HTTP/1.1\r\nHost: x\r\n" + CLOSE)
        assert streamed.endswith(b"1\r\n0\r\n1\r\n1\r\n1\r\n2\r\n0\r\n\r\n")


async def test_expect_continue() -> None:
    """A client that asks first is told to go on."""
    async with served() as port:
        head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        assert (await talk(port, head, until=b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_head_has_no_body() -> None:
    """Only the length it would have."""
    async with served() as port:
        got = await talk(port, b"HEAD /h HTTP/1.1\r\nHost: x\r\n" + CLOSE)
        assert b"Content-Length: 10\r\n" in got
        assert got.endswith(b"\r\n\r\n")


async def test_too_large_a_body_is_refused_unread() -> None:
    """413 as soon as the length is known."""
    async with served() as port:
        head = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1)
        assert (await talk(port, head)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nbad header\r\n\r\n"])
async def test_malformed_requests_end_their_connection_only(sent: bytes) -> None:
    """400 and closed; the server serves on."""
    async with served() as port:
        assert (await talk(port, sent)).startswith(b"HTTP/1.1 400 ")
        assert b"200 OK" in await talk(port, b"GET /x HTTP/1.1\r\nHost: x\r\n" + CLOSE)


async def test_a_failing_handler_cuts_its_connection_only() -> None:
    """Nothing half-written reaches the client, and others go on."""
    async with served() as port:
        with suppress(ConnectionResetError):
            assert await talk(port, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        assert b"200 OK" in await talk(port, b"GET /x HTTP/1.1\r\nHost: x\r\n" + CLOSE)


async def test_an_upgrade_hands_the_socket_over() -> None:
    """What the client has sent behind its request is the first that the new owner reads."""
    async with served() as port:
        head = b"GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
        got = await talk(port, head + b"ping")
        assert got.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
        assert got.endswith(b"\r\n\r\nping")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX-A: b", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"])
async def test_who_sends_without_end_is_cut(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a head nor a body may arrive for ever; others are served meanwhile, and HTTPS is asked of nobody."""
    monkeypatch.setattr(connection, "ARRIVAL", 0.2)
    monkeypatch.setattr(connection, "IDLE", 0.2)
    async with served() as port, asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answered = await reader.read()
        assert answered.startswith(b"HTTP/1.1 200") and b"strict-transport" not in answered.lower()
        writer.close()
