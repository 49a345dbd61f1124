"""Translates exec and attach from a client's WebSocket to the kubelet's SPDY, tunnels port-forward, tells logs.

A WebSocket message begins with its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 terminal size, and in v5
255, which closes another channel. The kubelet has a SPDY stream for each of the first five.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import NamedTuple

import orjson

from pynetes.component import tasks
from pynetes.component.streaming.spdy import Session, Stream, StreamReset
from pynetes.component.streaming.websocket import BINARY, INTERNAL_ERROR, TEXT, WebSocket
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSED = 0, 1, 2, 3, 4, 255
#: Kubelet's stream types by channel; the order is the one in which streams are opened.
_TYPES = {ERROR: "error", STDIN: "stdin", STDOUT: "stdout", STDERR: "stderr", RESIZE: "resize"}


class Protocol(NamedTuple):
    """A subprotocol that a client may ask for."""

    name: str
    #: Text frames: the channel as a digit, then base64; what browsers used before binary frames.
    base64: bool = False
    #: Channel 255 says that the client will send no more on a channel.
    half_close: bool = False


#: Preferred first, as upstream offers them.
PROTOCOLS = (
    Protocol("v5.channel.k8s.io", half_close=True),
    Protocol("v4.channel.k8s.io"),
    Protocol("v4.base64.channel.k8s.io", base64=True),
)
TUNNEL = "SPDY/3.1+portforward.k8s.io"


def choose(offered: list[str]) -> Protocol | None:
    """The first of ours that the client offers."""
    return next((protocol for protocol in PROTOCOLS if protocol.name in offered), None)


class Wanted(NamedTuple):
    """The streams that the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool

    def channels(self) -> list[int]:
        """In the order in which a kubelet expects them."""
        asked = {
            ERROR: True,
            STDIN: self.stdin,
            STDOUT: self.stdout,
            # A terminal has one output.
            STDERR: self.stderr and not self.tty,
            RESIZE: self.tty,
        }
        return [channel for channel in _TYPES if asked[channel]]


#: Dials the kubelet and upgrades to SPDY; raises StatusError.
Dial = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


async def translate(socket: WebSocket, protocol: Protocol, wanted: Wanted, dial: Dial) -> None:
    """Serve one exec or attach until it is over, and close the socket with the Status of how it ended."""
    client = _Client(socket, protocol)
    try:
        reader, writer = await dial()
    except StatusError as error:
        await client.finish(error.status)
        return
    session = Session(reader, writer, client=True)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.run())
            streams = {channel: await session.open({"streamType": _TYPES[channel]}) for channel in wanted.channels()}
            inputs = group.create_task(_from_client(client, streams, writer))
            await _to_client(client, streams)
            inputs.cancel()
            running.cancel()
    except* (ConnectionError, StreamReset):
        await socket.close(INTERNAL_ERROR)
    finally:
        writer.close()


class _Client:
    """The client's end, message by message."""

    def __init__(self, socket: WebSocket, protocol: Protocol) -> None:
        self._socket = socket
        self._protocol = protocol

    async def send(self, channel: int, data: bytes) -> None:
        if self._protocol.base64:
            await self._socket.send(b"%d" % channel + base64.b64encode(data), TEXT)
        else:
            await self._socket.send(bytes((channel,)) + data, BINARY)

    async def receive(self) -> tuple[int, bytes] | None:
        """Channel and bytes; None when the client is gone. Empty messages, which some send first, are skipped."""
        while (message := await self._socket.receive()) is not None:
            if not message.data:
                continue
            if not self._protocol.base64:
                return message.data[0], message.data[1:]
            return message.data[0] - ord("0"), base64.b64decode(message.data[1:])
        return None

    def closes(self, channel: int, data: bytes) -> int | None:
        """The channel that this message closes."""
        return data[0] if self._protocol.half_close and channel == CLOSED and data else None

    async def finish(self, status: Object | bytes) -> None:
        try:
            await self.send(ERROR, status if isinstance(status, bytes) else orjson.dumps(status))
            await self._socket.close()
        except ConnectionError:
            return


async def _to_client(client: _Client, streams: Mapping[int, Stream]) -> None:
    """Outputs until they end, and only then the Status: whoever sees it has seen all output."""
    status = b""

    async def output(channel: int) -> None:
        try:
            while data := await streams[channel].read():
                await client.send(channel, data)
        except StreamReset:
            return

    async def outcome() -> None:
        nonlocal status
        try:
            while data := await streams[ERROR].read():
                status += data
        except StreamReset:
            return

    async with asyncio.TaskGroup() as group:
        group.create_task(outcome())
        for channel in (STDOUT, STDERR):
            if channel in streams:
                group.create_task(output(channel))
    # A kubelet always says how it ended; silence means that the connection broke.
    await client.finish(status or errors.internal("the connection to the kubelet was lost").status)


async def _from_client(client: _Client, streams: Mapping[int, Stream], kubelet: asyncio.StreamWriter) -> None:
    """Input and terminal sizes. A client that goes away ends the command's connection."""
    while (message := await client.receive()) is not None:
        channel, data = message
        closed = client.closes(channel, data)
        if closed is not None:
            if closed in streams:
                await streams[closed].finish()
        elif channel in (STDIN, RESIZE) and channel in streams:
            await _write(streams[channel], data)
    kubelet.close()


async def _write(stream: Stream, data: bytes) -> None:
    try:
        await stream.write(data)
    except StreamReset:
        return  # the command does not read its input any more; its output still counts


async def tunnel(socket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry the bytes of a SPDY connection in binary messages, until either side ends."""

    async def outward() -> None:
        while data := await reader.read(64 << 10):
            await socket.send(data)
        await socket.close()

    async def inward() -> None:
        while (message := await socket.receive()) is not None:
            writer.write(message.data)
            await writer.drain()

    try:
        await tasks.first(outward(), inward())
    except* OSError:
        await socket.close(INTERNAL_ERROR)
    finally:
        writer.close()


#: Subprotocols in which something is only told: whether in base64, as text.
READERS = {"": False, "binary.k8s.io": False, "base64.binary.k8s.io": True}


async def tell(socket: WebSocket, protocol: str, chunks: AsyncIterator[bytes]) -> None:
    """Send a stream as messages, after an empty one that says that it begins, until either side ends."""

    async def outward() -> None:
        await send(b"")
        async for chunk in chunks:
            await send(chunk)
        await socket.close()

    async def send(data: bytes) -> None:
        if READERS[protocol]:
            await socket.send(base64.b64encode(data), TEXT)
        else:
            await socket.send(data)

    async def inward() -> None:
        while await socket.receive() is not None:
            pass

    try:
        await tasks.first(outward(), inward())
    except* OSError:
        await socket.close(INTERNAL_ERROR)
