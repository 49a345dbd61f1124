"""SPDY/3.1: headers in the dictionary of the protocol, streams that do not disturb each other, ends and resets."""

import asyncio
import zlib
from collections.abc import AsyncIterator

import pytest

from pynetes.component.streaming.spdy import Session, StreamReset
from pynetes.component.streaming.spdy_headers import DICTIONARY, Compressor, Decompressor
from tests.component.streaming.pipe import pipe


@pytest.fixture
async def sessions() -> AsyncIterator[tuple[Session, Session]]:
    one, other = await pipe()
    client, server = Session(*one, client=True), Session(*other, client=False)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(client.run()), group.create_task(server.run())]
        yield client, server
        for task in tasks:
            task.cancel()
        for _, writer in (one, other):
            writer.close()


def test_the_dictionary_is_the_protocols() -> None:
    """Its length and checksum; the checksum stands in the first block that every peer sends."""
    assert (len(DICTIONARY), zlib.adler32(DICTIONARY)) == (1423, 0xE3C6A7C2)
    assert Compressor().pack({})[:6] == bytes.fromhex("78bbe3c6a7c2")


def test_headers_survive_compression() -> None:
    """Block after block, with the state that they share; names become lower case."""
    pack, unpack = Compressor().pack, Decompressor().unpack
    for headers in ({"streamType": "stdin", "port": "80"}, {}, {"x": "ä"}):
        assert unpack(pack(headers)) == {
            name.lower(): value.encode().decode("latin-1") for name, value in headers.items()
        }


def test_a_bomb_of_headers_is_refused() -> None:
    """Little on the wire may not become much in memory."""
    with pytest.raises(ValueError, match="too large"):
        Decompressor().unpack(Compressor().pack({"x": "a" * (2 << 20)}))


async def test_streams_carry_bytes_both_ways(sessions: tuple[Session, Session]) -> None:
    """Each with its headers, each ended by itself, the other direction going on."""
    client, server = sessions
    one, two = await client.open({"streamType": "error"}), await client.open({"streamType": "stdin"})
    assert (one.number, two.number) == (1, 3)
    first, second = await server.accept(), await server.accept()
    assert first and second
    assert [first.headers, second.headers] == [{"streamtype": "error"}, {"streamtype": "stdin"}]
    await two.write(b"in")
    await two.finish()
    assert [await second.read(), await second.read()] == [b"in", b""]
    await second.write(b"out")
    assert await two.read() == b"out"
    await first.finish()
    assert await one.read() == b""


async def test_large_writes_arrive_whole(sessions: tuple[Session, Session]) -> None:
    """Split into frames, and held up while the reader is behind."""
    client, server = sessions
    sent = bytes(range(256)) * 8192
    stream = await client.open({})
    received = await server.accept()
    assert received

    async def read() -> bytes:
        found = b""
        while chunk := await received.read():
            found += chunk
        return found

    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read())
        await stream.write(sent)
        await stream.finish()
    assert reading.result() == sent


async def test_a_reset_ends_both_directions(sessions: tuple[Session, Session]) -> None:
    """Reader and writer of the other end are told."""
    client, server = sessions
    stream = await client.open({})
    received = await server.accept()
    assert received
    await stream.reset()
    with pytest.raises(StreamReset):
        await received.read()
    with pytest.raises(StreamReset):
        await received.write(b"x")


async def test_pings_are_answered() -> None:
    """With the same number; an answer to one of ours is not answered again."""
    one, other = await pipe()
    server = Session(*one, client=False)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        ping = bytes.fromhex("80030006 00000004 00000001")
        other[1].write(bytes.fromhex("80030006 00000004 00000002") + ping)
        assert await other[0].readexactly(12) == ping
        task.cancel()
    one[1].close()
    other[1].close()


@pytest.mark.parametrize("nonsense", [b"GET / HTTP/1.1\r\n\r\n", bytes.fromhex("80030001 00000002 0000"), b"\x80\x03"])
async def test_nonsense_ends_the_session(nonsense: bytes) -> None:
    """Without an exception, and whoever waits for a stream gets none."""
    one, other = await pipe()
    server = Session(*one, client=False)
    other[1].write(nonsense)
    other[1].write_eof()
    await server.run()
    assert await server.accept() is None
    one[1].close()
    other[1].close()


async def test_the_end_of_the_connection_ends_the_streams(sessions: tuple[Session, Session]) -> None:
    """A reader sees the end rather than waiting for ever."""
    client, server = sessions
    stream = await client.open({})
    await server.accept()
    server._writer.close()
    assert await stream.read() == b""
