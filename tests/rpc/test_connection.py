"""The gRPC client against servers that are not well: each failure says what it was and whether a call was begun.

What it does with a server that is well, the contract suite shows with a real etcd."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pynetes.rpc import http2
from pynetes.rpc.connection import Code, Connection, RpcError, connect
from pynetes.rpc.etcd import rpc_pb2 as pb

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CALL = "/etcdserverpb.KV/Range"


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Script], Awaitable[Connection]]]:
    """Connects to a server that follows a script."""
    made: list[asyncio.Server] = []
    connections: list[Connection] = []

    async def start(script: Script) -> Connection:
        server = await asyncio.start_server(script, "127.0.0.1", 0)
        made.append(server)
        connections.append(await connect("127.0.0.1", server.sockets[0].getsockname()[1]))
        return connections[-1]

    yield start
    for connection in connections:
        connection.close()
    for server in made:
        server.close()


async def failure(connection: Connection) -> RpcError:
    """How a call fails."""
    with pytest.raises(RpcError) as caught:
        await connection.unary(CALL, pb.RangeRequest(key=b"a"), timeout=5)
    return caught.value


async def headers_of(reader: asyncio.StreamReader) -> int:
    """Read frames up to a call's HEADERS; its stream."""
    if not reader.at_eof():
        await reader.readexactly(len(http2.PREFACE))
    while True:
        high, low, kind, _, stream = http2.HEAD.unpack(await reader.readexactly(9))
        await reader.readexactly(high << 8 | low)
        if kind == http2.DATA:
            return int(stream)


def test_header_blocks_survive() -> None:
    """Long values too, whose length takes several bytes."""
    headers = [(":path", "/x"), ("te", "trailers"), ("long", "v" * 1000)]
    assert http2.parse_block(http2.block(headers)) == dict(headers)
    with pytest.raises(ValueError, match="a header block"):
        http2.parse_block(b"\xff\xff\xff")


async def test_nobody_there() -> None:
    """Never sent."""
    with pytest.raises(RpcError) as caught:
        await connect("127.0.0.1", 1)
    assert (caught.value.code, caught.value.unsent) == (Code.UNAVAILABLE, True)


async def test_the_status_of_a_call(serve: Callable[[Script], Awaitable[Connection]]) -> None:
    """Code and text, percent-decoded; padding and priorities are skipped."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = await headers_of(reader)
        block = http2.block([(":status", "200"), ("grpc-status", "11"), ("grpc-message", "it%27s gone")])
        flags = http2.END_STREAM | http2.END_HEADERS | http2.PADDED | http2.PRIORITY
        writer.write(http2.frame(http2.HEADERS, flags, stream, b"\x02" + bytes(5) + block + b"\0\0"))

    error = await failure(await serve(script))
    assert (error.code, error.details, error.unsent) == (Code.OUT_OF_RANGE, "it's gone", False)


async def test_a_server_that_goes_away(serve: Callable[[Script], Awaitable[Connection]]) -> None:
    """A call behind the last one that it takes was not begun; new ones are refused."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await headers_of(reader)
        writer.write(http2.frame(http2.GOAWAY, 0, 0, bytes(8)))

    connection = await serve(script)
    assert [(await failure(connection)).unsent for _ in range(2)] == [True, True]
    assert connection.closed


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", http2.frame(http2.WINDOW_UPDATE, 0, 0, b"")]
)
async def test_a_server_that_breaks_off(serve: Callable[[Script], Awaitable[Connection]], answer: bytes) -> None:
    """Whether the call was carried out is not known."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await headers_of(reader)
        writer.write(answer)
        writer.close()

    error = await failure(await serve(script))
    assert (error.code, error.unsent) == (Code.UNAVAILABLE, False)


async def test_a_server_that_is_silent(
    serve: Callable[[Script], Awaitable[Connection]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call ends by its deadline, and is taken back."""
    monkeypatch.setattr("pynetes.rpc.connection.TICK", 0.01)
    reset = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await headers_of(reader)
        assert (await reader.readexactly(9))[3] == http2.RST_STREAM
        reset.set()

    connection = await serve(script)
    with pytest.raises(RpcError) as caught:
        await connection.unary(CALL, pb.RangeRequest(), timeout=0.02)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    await asyncio.wait_for(reset.wait(), 5)
