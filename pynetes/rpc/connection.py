"""A gRPC client on one HTTP/2 connection of asyncio: what the API server speaks to etcd.

Own code because grpcio's asyncio client takes 0.3 ms of processor time for a call and, while calls are made, delivers a
stream's messages a tenth of a second late (docs/decisions/020); and because a TLS failure here says what was wrong.
"""

import asyncio
import ssl
import struct
from collections import deque
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import unquote

from pynetes.rpc import http2

#: Seconds between looks at deadlines; of silence before a ping; of silence after it before the peer is given up.
TICK, QUIET, LOST = 1.0, 30.0, 10.0
#: Bytes read at once.
INBOX = 64 << 10
CONNECT = 5.0


class Code(IntEnum):
    """gRPC's status codes that mean something here."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    DEADLINE_EXCEEDED = 4
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


def code_name(code: int) -> str:
    """As metrics spell it: DeadlineExceeded."""
    try:
        return Code(code).name.title().replace("_", "") if code else "OK"
    except ValueError:
        return f"Code({code})"


class RpcError(Exception):
    """A call failed. `unsent` says that the server provably has not begun it."""

    def __init__(self, code: int, details: str, *, unsent: bool = False) -> None:
        super().__init__(details)
        self.code, self.details, self.unsent = code, details, unsent


class Message(Protocol):
    """A protobuf message class's instances."""

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """Encode."""


class Call:
    """One stream: a request, and messages until its status."""

    __slots__ = (
        *("_error", "_loop", "_messages", "_partial", "_waiter"),
        *("consumed", "deadline", "ended", "more", "number", "pending", "window"),
    )

    def __init__(
        self, number: int, window: int, deadline: float, *, more: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.number, self.window, self.deadline, self.more = number, window, deadline, more
        # Asking for the running loop is a system call each time.
        self._loop = loop
        #: What of the request waits for a window.
        self.pending = b""
        self.consumed = 0
        self.ended = False
        self._messages: deque[bytes] = deque()
        self._partial = bytearray()
        self._error: RpcError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes | None:
        """The next message; None when the call has ended well. Raises RpcError."""
        while not self._messages:
            if self.ended:
                if self._error is not None:
                    raise self._error
                return None
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._messages.popleft()

    def received(self, data: bytes) -> None:
        """Bytes of a DATA frame."""
        partial = self._partial
        partial += data
        at = 0
        while len(partial) - at >= 5:
            length = int.from_bytes(partial[at + 1 : at + 5], "big")
            if len(partial) - at < 5 + length:
                break
            self._messages.append(bytes(partial[at + 5 : at + 5 + length]))
            at += 5 + length
        if at:
            del partial[:at]
            self._wake()

    def end(self, error: RpcError | None) -> None:
        """The status has come, or never will."""
        if not self.ended:
            self.ended, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.BufferedProtocol):
    """Made by `connect`. Calls run at the same time; `closed` says that no new ones can be made."""

    def __init__(self, authority: str, scheme: str) -> None:
        self.closed = self._retired = False
        self._authority, self._scheme = authority, scheme
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, Call] = {}
        self._next = 1
        self._inbox = memoryview(bytearray(INBOX))
        self._buffer = bytearray()
        self._block = b""
        self._window, self._initial, self._largest = http2.WINDOW, http2.WINDOW, http2.FRAME
        self._most = 100
        self._places: deque[asyncio.Future[None]] = deque()
        self._blocked: deque[Call] = deque()
        self._consumed = 0
        self._out: list[bytes] = []
        self._heard = self._loop.time()
        self._pinged = False

    async def unary(self, method: str, request: Message, *, timeout: float) -> bytes:
        """One request, one answer. Raises RpcError."""
        call = await self.start(method, request, timeout=timeout)
        try:
            answer = await call.read()
            if answer is None:
                raise RpcError(Code.INTERNAL, "the call ended without an answer")
            # The status comes behind the answer.
            await call.read()
            return answer
        finally:
            self.cancel(call)

    async def start(
        self,
        method: str,
        request: Message,
        *,
        timeout: float = 0.0,
        metadata: tuple[tuple[str, str], ...] = (),
        more: bool = False,
    ) -> Call:
        """Begin a call, at whose end `cancel` must be called. Raises RpcError, with unsent set.

        With `more` the request's side stays open: there may be more requests, and a server may take its end as ours."""
        while len(self._calls) >= self._most and not self.closed:
            place = self._loop.create_future()
            self._places.append(place)
            await place
        if self.closed:
            raise RpcError(Code.UNAVAILABLE, "the connection is closed", unsent=True)
        deadline = self._loop.time() + timeout if timeout else float("inf")
        call = Call(self._next, self._initial, deadline, more=more, loop=self._loop)
        self._next += 2
        self._calls[call.number] = call
        head = _request_block(self._scheme, self._authority, method, metadata)
        self._write(http2.frame(http2.HEADERS, http2.END_HEADERS, call.number, head))
        data = request.SerializeToString()
        call.pending = b"\x00" + len(data).to_bytes(4, "big") + data
        self._blocked.append(call)
        self._send()
        return call

    def cancel(self, call: Call) -> None:
        """Give a call up. Nothing happens if it has ended."""
        if self._calls.pop(call.number, None) is not None:
            call.end(RpcError(Code.CANCELLED, "cancelled"))
            self._write(http2.frame(http2.RST_STREAM, 0, call.number, http2.WORD.pack(http2.CANCEL)))
        self._free_place()

    def retire(self) -> bool:
        """Make no new calls, and close it when the last has ended; whether that is now."""
        self._retired = True
        if not self._calls:
            self.close()
        return self.closed

    def close(self) -> None:
        """Close it; what still runs fails."""
        self.closed = True
        self._flush()
        self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        self._transport: Any = transport
        ours = {http2.HEADER_TABLE_SIZE: 0, http2.ENABLE_PUSH: 0, http2.INITIAL_WINDOW: http2.OUR_WINDOW}
        grow = http2.window_update(0, http2.OUR_WINDOW - http2.WINDOW)
        transport.write(http2.PREFACE + http2.settings(ours) + grow)
        self._timer = self._loop.call_later(TICK, self._tick)

    def get_buffer(self, sizehint: int) -> memoryview:
        # A view, because TLS fills it in steps, each a slice of it.
        # Without a buffer of ours TLS would make one of 256 KiB for every read, and give it back.
        return self._inbox

    def buffer_updated(self, nbytes: int) -> None:
        self._heard, self._pinged = self._loop.time(), False
        buffer = self._buffer
        buffer += self._inbox[:nbytes]
        at = 0
        try:
            while len(buffer) - at >= 9:
                high, low, kind, flags, stream = http2.HEAD.unpack_from(buffer, at)
                end = at + 9 + (high << 8 | low)
                if len(buffer) < end:
                    break
                self._frame(kind, flags, stream & 0x7FFFFFFF, bytes(buffer[at + 9 : end]))
                at = end
        except (ValueError, IndexError, struct.error) as error:
            self._fail(f"the server broke HTTP/2: {error}")
            self._transport.abort()
            return
        del buffer[:at]

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()
        self._fail(_reason(error) if error else "the server closed the connection")

    # What the peer sends

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.DATA:
            self._data(flags, stream, payload)
        elif kind in (http2.HEADERS, http2.CONTINUATION):
            self._block += http2.without_padding(flags, payload) if kind == http2.HEADERS else payload
            if kind == http2.HEADERS:
                self._ends = bool(flags & http2.END_STREAM)
            if flags & http2.END_HEADERS:
                headers, self._block = http2.parse_block(self._block), b""
                if self._ends or headers.get(":status", "200") != "200":
                    self._ended(stream, headers)
        elif kind == http2.RST_STREAM:
            self._finish(stream, RpcError(Code.UNAVAILABLE, f"the server reset the call: {payload.hex()}"))
        else:
            self._control(kind, flags, stream, payload)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == http2.SETTINGS and not flags & http2.ACK:
            self._settings(payload)
        elif kind == http2.PING and not flags & http2.ACK:
            self._write(http2.frame(http2.PING, http2.ACK, 0, payload))
        elif kind == http2.WINDOW_UPDATE:
            (by,) = http2.WORD.unpack(payload)
            if not stream:
                self._window += by
            elif stream in self._calls:
                self._calls[stream].window += by
            self._send()
        elif kind == http2.GOAWAY:
            self._going(http2.WORD.unpack_from(payload)[0])

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._consumed = self._give_back(0, self._consumed + len(payload))
        call = self._calls.get(stream)
        if call is not None:
            call.consumed = self._give_back(stream, call.consumed + len(payload))
            call.received(http2.without_padding(flags & http2.PADDED, payload))
            if flags & http2.END_STREAM:
                self._finish(stream, RpcError(Code.INTERNAL, "the call ended without a status"))

    def _give_back(self, stream: int, consumed: int) -> int:
        """Open the window again once half of it is used; what is used then."""
        if consumed <= http2.OUR_WINDOW // 2:
            return consumed
        self._write(http2.window_update(stream, consumed))
        return 0

    def _settings(self, payload: bytes) -> None:
        values = http2.parse_settings(payload)
        if http2.INITIAL_WINDOW in values:
            by = values[http2.INITIAL_WINDOW] - self._initial
            self._initial += by
            for call in self._calls.values():
                call.window += by
        self._largest = values.get(http2.MAX_FRAME, self._largest)
        self._most = values.get(http2.MAX_STREAMS, 1 << 31)
        self._write(http2.frame(http2.SETTINGS, http2.ACK, 0))
        self._send()
        for _ in range(min(len(self._places), self._most - len(self._calls))):
            self._free_place()

    def _ended(self, stream: int, headers: Any) -> None:
        if "grpc-status" not in headers:
            text = f"HTTP status {headers.get(':status')}, not gRPC"
            self._finish(stream, RpcError(Code.UNKNOWN, text))
            return
        code = int(headers["grpc-status"])
        error = RpcError(code, unquote(headers.get("grpc-message", ""))) if code else None
        self._finish(stream, error)

    def _finish(self, stream: int, error: RpcError | None) -> None:
        call = self._calls.pop(stream, None)
        if call is not None:
            call.end(error)
            self._free_place()

    def _going(self, last: int) -> None:
        """The server takes no more calls; those after `last` it has not begun."""
        self.closed = True
        for number in [number for number in self._calls if number > last]:
            self._finish(number, RpcError(Code.UNAVAILABLE, "the server is going away", unsent=True))
        while self._places:
            self._free_place()

    # What we send

    def _send(self) -> None:
        """Send what the windows allow, in the order of the calls."""
        while self._blocked and self._window > 0:
            call = self._blocked[0]
            if call.ended:
                self._blocked.popleft()
                continue
            size = min(len(call.pending), self._window, call.window, self._largest)
            if size <= 0:
                # A stream whose own window is full must not hold up the others for ever; requests are small, so
                # this is rare enough to wait for its update.
                return
            piece, call.pending = call.pending[:size], call.pending[size:]
            self._window -= size
            call.window -= size
            last = not call.pending
            flags = http2.END_STREAM if last and not call.more else 0
            self._write(http2.frame(http2.DATA, flags, call.number, piece))
            if last:
                self._blocked.popleft()

    def _write(self, data: bytes) -> None:
        """Send it with whatever else is sent in this round of the loop: one TLS record and one system call."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._out and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _free_place(self) -> None:
        if self._retired and not self._calls:
            self.close()
        while self._places:
            place = self._places.popleft()
            if not place.done():
                place.set_result(None)
                return

    def _tick(self) -> None:
        now = self._loop.time()
        for call in [call for call in self._calls.values() if call.deadline <= now]:
            late = RpcError(Code.DEADLINE_EXCEEDED, "no answer in time")
            call.end(late)
            self.cancel(call)
        quiet = now - self._heard
        if quiet > QUIET + LOST:
            self._fail(f"the server has been silent for {quiet:.0f} s")
            self._transport.abort()
            return
        if quiet > QUIET and self._calls and not self._pinged:
            self._pinged = True
            self._write(http2.frame(http2.PING, 0, 0, b"pynetes!"))
        if not self._calls and not self._pinged:
            self._heard = now
        self._timer = self._loop.call_later(TICK, self._tick)

    def _fail(self, text: str) -> None:
        self.closed = True
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.end(RpcError(Code.UNAVAILABLE, text))
        while self._places:
            self._free_place()


@lru_cache(maxsize=64)
def _request_block(scheme: str, authority: str, method: str, metadata: Iterable[tuple[str, str]]) -> bytes:
    pseudo = ((":method", "POST"), (":scheme", scheme), (":path", method), (":authority", authority))
    return http2.block((*pseudo, ("te", "trailers"), ("content-type", "application/grpc"), *metadata))


async def connect(host: str, port: int, tls: ssl.SSLContext | None = None) -> Connection:
    """Connect. Raises RpcError (UNAVAILABLE, unsent) with what was wrong, TLS included."""
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT):
            transport, connection = await loop.create_connection(
                lambda: Connection(authority, "https" if tls else "http"), host, port, ssl=tls
            )
    except TimeoutError:
        raise RpcError(Code.UNAVAILABLE, f"{authority} did not answer in {CONNECT:g} s", unsent=True) from None
    except (OSError, ssl.SSLError) as error:
        raise RpcError(Code.UNAVAILABLE, f"{authority}: {_reason(error)}", unsent=True) from error
    spoken = transport.get_extra_info("ssl_object")
    if spoken is not None and spoken.selected_alpn_protocol() != "h2":
        connection.close()
        raise RpcError(Code.UNAVAILABLE, f"{authority} does not speak HTTP/2", unsent=True)
    return connection


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
