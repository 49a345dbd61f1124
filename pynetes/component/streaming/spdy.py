"""SPDY/3.1 as Kubernetes speaks it: many streams over one upgraded connection, headers compressed with a dictionary.

No peer in Kubernetes keeps SPDY's flow-control windows (moby/spdystream ignores them), so neither do we: a stream whose
reader is slow stops the connection, as it does there, and TCP pushes back.
"""

import asyncio
import struct
import zlib
from collections import deque
from collections.abc import Mapping

from pynetes.component.streaming.spdy_headers import Compressor, Decompressor

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 4, 6, 7, 8, 9
FIN = 0x01
PROTOCOL_ERROR, REFUSED_STREAM, CANCEL = 1, 3, 5
#: Bytes that may wait in one stream before the connection is not read any more.
HIGH_WATER = 256 << 10
#: A frame's length has 24 bits; smaller data frames let streams take turns.
LARGEST = 32 << 10

_CONTROL = struct.Struct(">HHI")
_DATA = struct.Struct(">II")
_WORD = struct.Struct(">I")


class StreamReset(Exception):
    """The peer has reset the stream."""


class Stream:
    """One of the streams: bytes in both directions, each of which ends by itself."""

    def __init__(self, session: "Session", number: int, headers: Mapping[str, str]) -> None:
        self.number = number
        #: Of the SYN_STREAM; names in lower case.
        self.headers = headers
        self._session = session
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._reset = False
        self._finished = False
        self._changed = asyncio.Event()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end. Raises StreamReset."""
        while not self._chunks:
            if self._reset:
                raise StreamReset
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        self._changed.set()
        return chunk

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises StreamReset, ConnectionError."""
        for start in range(0, len(data), LARGEST):
            if self._reset or self._finished:
                raise StreamReset
            await self._session.send_data(self.number, data[start : start + LARGEST])

    async def finish(self) -> None:
        """No more from this side."""
        if not self._finished and not self._reset:
            self._finished = True
            await self._session.send_data(self.number, b"", flags=FIN)

    async def reset(self, status: int = CANCEL) -> None:
        """End it in both directions."""
        if not self._reset:
            self.ended(reset=True)
            await self._session.send_control(RST_STREAM, 0, _DATA.pack(self.number, status))

    async def received(self, data: bytes) -> None:
        """From the session: bytes from the peer; waits while too many have not been read."""
        if data:
            self._chunks.append(data)
            self._size += len(data)
            self._changed.set()
        while self._size > HIGH_WATER and not self._reset:
            self._changed.clear()
            await self._changed.wait()

    def ended(self, *, reset: bool = False) -> None:
        """From the session: the peer has ended or reset it."""
        self._ended = True
        self._reset = self._reset or reset
        self._changed.set()


class Session:
    """One end of the connection. `run` reads it until it ends; streams of the peer come out of `accept`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self._reader, self._writer = reader, writer
        self._next = 1 if client else 2
        self._streams: dict[int, Stream] = {}
        self._accepted: deque[Stream] = deque()
        self._arrived = asyncio.Event()
        self._compressor, self._decompressor = Compressor(), Decompressor()
        self._over = False

    async def open(self, headers: Mapping[str, str]) -> Stream:
        """Begin a stream."""
        number = self._next
        self._next += 2
        stream = self._streams[number] = Stream(self, number, headers)
        # The compressor has state, so blocks must leave in the order in which they were made.
        block = self._compressor.pack(headers)
        await self.send_control(SYN_STREAM, 0, struct.pack(">IIBB", number, 0, 0, 0) + block)
        return stream

    async def accept(self) -> Stream | None:
        """The next stream that the peer has begun; it has been answered. None when the connection has ended."""
        while not self._accepted:
            if self._over:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        return self._accepted.popleft()

    async def run(self) -> None:
        """Read frames until the connection ends. Raises nothing for a peer that goes away or talks nonsense."""
        try:
            while True:
                first, second = _DATA.unpack(await self._reader.readexactly(_DATA.size))
                flags, length = second >> 24, second & 0xFFFFFF
                payload = await self._reader.readexactly(length)
                if first >> 31:
                    await self._control(first & 0xFFFF, flags, payload)
                else:
                    await self._data(first, flags, payload)
        except (asyncio.IncompleteReadError, ConnectionError, struct.error, zlib.error, ValueError):
            return
        finally:
            self._over = True
            self._arrived.set()
            for stream in self._streams.values():
                stream.ended()

    async def goaway(self) -> None:
        """Say that no more streams are welcome."""
        await self.send_control(GOAWAY, 0, _DATA.pack(max(self._streams, default=0), 0))

    async def send_data(self, number: int, data: bytes, *, flags: int = 0) -> None:
        """One data frame."""
        self._writer.write(_DATA.pack(number, flags << 24 | len(data)) + data)
        await self._writer.drain()

    async def send_control(self, kind: int, flags: int, payload: bytes) -> None:
        """One control frame."""
        self._writer.write(_CONTROL.pack(0x8003, kind, flags << 24 | len(payload)) + payload)
        await self._writer.drain()

    async def _data(self, number: int, flags: int, payload: bytes) -> None:
        stream = self._streams.get(number & 0x7FFFFFFF)
        if stream is None:
            await self.send_control(RST_STREAM, 0, _DATA.pack(number, PROTOCOL_ERROR))
            return
        await stream.received(payload)
        if flags & FIN:
            stream.ended()

    async def _control(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == SYN_STREAM:
            number = _WORD.unpack_from(payload)[0] & 0x7FFFFFFF
            stream = self._streams[number] = Stream(self, number, self._decompressor.unpack(payload[10:]))
            if flags & FIN:
                stream.ended()
            await self.send_control(SYN_REPLY, 0, _WORD.pack(number) + self._compressor.pack({}))
            self._accepted.append(stream)
            self._arrived.set()
        elif kind in (SYN_REPLY, HEADERS):
            number = _WORD.unpack_from(payload)[0] & 0x7FFFFFFF
            self._decompressor.unpack(payload[4:])  # the dictionary moves with every block, wanted or not
            if flags & FIN and number in self._streams:
                self._streams[number].ended()
        elif kind == RST_STREAM:
            number = _WORD.unpack_from(payload)[0] & 0x7FFFFFFF
            if number in self._streams:
                self._streams.pop(number).ended(reset=True)
        elif kind == PING:
            # A ping of ours has our parity; those are answers.
            if _WORD.unpack_from(payload)[0] % 2 != self._next % 2:
                await self.send_control(PING, 0, payload)
        elif kind == GOAWAY:
            self._over = True
            self._arrived.set()
