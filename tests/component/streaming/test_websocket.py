"""WebSocket framing, both ends: sizes, fragments, control frames, and peers that break the rules."""

import asyncio
import struct
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from pynetes.component.streaming.websocket import BINARY, TEXT, Message, WebSocket, accept_key
from tests.component.streaming.pipe import End, pipe


class Ends(NamedTuple):
    """Both ends, as WebSockets and bare."""

    client: WebSocket
    server: WebSocket
    bare_client: End
    bare_server: End


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    one, other = await pipe()
    yield Ends(WebSocket(*one, client=True), WebSocket(*other, client=False), one, other)
    one[1].close()
    other[1].close()


def test_the_accept_key_is_the_rfcs() -> None:
    """The example of RFC 6455, section 1.3."""
    assert accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 300_000])
async def test_messages_of_every_length_arrive(ends: Ends, size: int) -> None:
    """Masked in one direction, plain in the other."""
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)

    async def there_and_back() -> Message | None:
        message = await ends.server.receive()
        assert message
        await ends.server.send(message.data, message.opcode)
        return message

    async with asyncio.TaskGroup() as group:
        group.create_task(there_and_back())
        echoed = group.create_task(ends.client.receive())
        await ends.client.send(data)
    assert echoed.result() == Message(BINARY, data)


def masked(first: int, data: bytes) -> bytes:
    return bytes((first, 0x80 | len(data))) + b"\0\0\0\0" + data


async def test_fragments_are_joined_around_a_ping(ends: Ends) -> None:
    """A control frame may come in the middle; it is answered."""
    ends.bare_client[1].write(masked(0x01, b"he") + masked(0x89, b"!") + masked(0x80, b"llo"))
    assert await ends.server.receive() == Message(TEXT, b"hello")
    assert await ends.bare_client[0].readexactly(3) == b"\x8a\x01!"


async def test_closing_is_answered(ends: Ends) -> None:
    """With a close frame, and the code is kept."""
    await ends.client.close(1001, "bye")
    assert await ends.server.receive() is None
    assert ends.server.close_code == 1001
    assert await ends.client.receive() is None
    with pytest.raises(ConnectionError):
        await ends.server.send(b"late")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x82\x01x", 1002),
        (masked(0xC2, b"x"), 1002),
        (masked(0x80, b"x"), 1002),
        (masked(0x83, b"x"), 1002),
        (masked(0x09, b"x"), 1002),
        (b"\x82\xff" + struct.pack(">Q", 1 << 40), 1009),
    ],
    ids=["unmasked", "reserved bit", "continues nothing", "unknown opcode", "fragmented ping", "too large"],
)
async def test_a_peer_that_breaks_the_protocol_is_closed(ends: Ends, frame: bytes, code: int) -> None:
    """With the code that says why."""
    ends.bare_client[1].write(frame)
    assert await ends.server.receive() is None
    assert (await ends.bare_client[0].readexactly(4))[2:] == struct.pack(">H", code)


async def test_a_peer_that_vanishes_is_the_end(ends: Ends) -> None:
    """Not an exception."""
    ends.bare_client[1].close()
    assert await ends.server.receive() is None
