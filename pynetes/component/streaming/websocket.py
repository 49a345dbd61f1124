"""WebSocket (RFC 6455), both ends, on a connection that has been upgraded: whole messages in and out.

Fragments are joined, pings answered, the closing handshake done; extensions are not negotiated.
"""

import asyncio
import base64
import hashlib
import os
import struct
from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL, PROTOCOL_ERROR, TOO_LARGE, INTERNAL_ERROR = 1000, 1002, 1009, 1011
#: A message may not be larger than this; exec clients send a few kilobytes, port-forward whatever a buffer held.
LARGEST = 16 << 20
_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_key(key: str) -> str:
    """Sec-WebSocket-Accept for a client's Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key.strip().encode() + _MAGIC, usedforsecurity=False).digest()).decode()


def new_key() -> str:
    """A client's Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()


class Message(NamedTuple):
    """opcode is TEXT or BINARY."""

    opcode: int
    data: bytes


class _Broken(Exception):
    """The peer broke the protocol; args: close code."""


class WebSocket:
    """One end. `client` masks what it sends, as the client must."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self._reader, self._writer, self._client = reader, writer, client
        self._closed = False
        #: The code with which the peer closed; None while it has not.
        self.close_code: int | None = None

    async def receive(self) -> Message | None:
        """The next message; None when the peer has closed, gone away or broken the protocol."""
        try:
            return await self._message()
        except _Broken as broken:
            await self.close(int(broken.args[0]))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        return None

    async def send(self, data: bytes, opcode: int = BINARY) -> None:
        """Send a message. Raises ConnectionError."""
        if self._closed:
            raise ConnectionResetError("the WebSocket is closed")
        self._writer.write(self._frame(opcode, data))
        await self._writer.drain()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send a close frame, once."""
        if self._closed:
            return
        self._closed = True
        self._writer.write(self._frame(CLOSE, struct.pack(">H", code) + reason.encode()[:123]))
        try:
            await self._writer.drain()
        except ConnectionError:
            return

    async def _message(self) -> Message | None:
        kind, parts, size = 0, [], 0
        while True:
            final, opcode, data = await self._read()
            if opcode >= CLOSE:
                if not final or len(data) > 125:
                    raise _Broken(PROTOCOL_ERROR)
                if opcode == CLOSE:
                    self.close_code = struct.unpack(">H", data[:2])[0] if len(data) >= 2 else NORMAL
                    await self.close(NORMAL)
                    return None
                if opcode == PING and not self._closed:
                    self._writer.write(self._frame(PONG, data))
                    await self._writer.drain()
                continue
            if (opcode == CONTINUATION) != bool(kind):
                raise _Broken(PROTOCOL_ERROR)
            kind = kind or opcode
            size += len(data)
            if size > LARGEST:
                raise _Broken(TOO_LARGE)
            parts.append(data)
            if final:
                return Message(kind, b"".join(parts))

    async def _read(self) -> tuple[bool, int, bytes]:
        first, second = await self._reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            length = struct.unpack(">H", await self._reader.readexactly(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", await self._reader.readexactly(8))[0]
        if length > LARGEST:
            raise _Broken(TOO_LARGE)
        masked = bool(second & 0x80)
        # A server must refuse what is not masked, a client what is; reserved bits belong to extensions.
        if masked == self._client or first & 0x70 or first & 0x0F not in (0, 1, 2, 8, 9, 10):
            raise _Broken(PROTOCOL_ERROR)
        mask = await self._reader.readexactly(4) if masked else b""
        data = await self._reader.readexactly(length)
        return bool(first & 0x80), first & 0x0F, _masked(data, mask) if mask else data

    def _frame(self, opcode: int, data: bytes) -> bytes:
        bit = 0x80 if self._client else 0
        if len(data) < 126:
            head = bytes((0x80 | opcode, bit | len(data)))
        elif len(data) < 1 << 16:
            head = struct.pack(">BBH", 0x80 | opcode, bit | 126, len(data))
        else:
            head = struct.pack(">BBQ", 0x80 | opcode, bit | 127, len(data))
        if not self._client:
            return head + data
        mask = os.urandom(4)
        return head + mask + _masked(data, mask)


def _masked(data: bytes, mask: bytes) -> bytes:
    """XOR with the mask repeated: as one large number, which is a hundred times faster than byte by byte."""
    if not data:
        return data
    repeated = (mask * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")
