"""One HTTP/1.1 connection: httptools parses, one task answers the requests in order, pipelined ones too.

Own code rather than a server library because the API server needs the peer's certificate, watches that write for hours
with back-pressure, sockets that change hands on Upgrade, and a GET that costs little more than parsing it
(docs/decisions/030). Nothing a client sends can end more than its own connection.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import unquote

import httptools

from pynetes.apiserver.http import Handler, Headers, Pieces, Request, Response, Upgrade, head_of
from pynetes.apiserver.repeat import LONGEST, Repeat, Repeats, identifier
from pynetes.component.clock import Clock

log = logging.getLogger(__name__)

#: Upstream's limit of a request body (3 MiB), and Go's of all header bytes.
BODY_LIMIT = 3 << 20
HEADER_LIMIT = 1 << 20
#: Seconds for a request to arrive whole, for an idle connection to be used again, for a stuck client to read on.
ARRIVAL, IDLE, STUCK = 32.0, 90.0, 60.0
#: Pipelined requests that may wait before the socket is not read any more.
PIPELINED = 32
#: A body up to this size is copied behind the head, to go out in one write.
JOINED = 64 << 10
#: What of a larger one is written at once. Below the allocator's MAPPED: these buffers come and go.
SLICE = 192 << 10
#: write() buffers up to this much before the stream waits for the client.
HIGH_WATER = 1 << 20

_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
_HEADERS_TOO_LARGE = _BAD_REQUEST.replace(b"400 Bad Request", b"431 Request Header Fields Too Large")


class Host(Protocol):
    """What a connection needs of the server."""

    clock: Clock
    draining: bool
    #: What comes in, for as long as it takes a parser to read it: all connections of one event loop share it.
    #: A view, because TLS fills it in steps, each a slice of it.
    inbox: memoryview
    #: Answers; never raises but for cancellation.
    handle: Handler
    #: How reads that came before are answered; and how many links of the chain must agree to that.
    repeats: Repeats
    links: int

    def soon(self, then: Callable[[bool], None]) -> None:
        """Call back when reads may be answered from the cache; with False if they must wait for it by themselves."""

    def joined(self, connection: "Connection") -> "asyncio.Task[None] | None":
        """Own the connection and run its `serve`."""

    def left(self, connection: "Connection") -> None:
        """It is gone."""

    def date(self) -> bytes:
        """The Date header's value."""


class Connection(asyncio.BufferedProtocol):
    """Parser callbacks fill `_queue`; `serve` empties it."""

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        #: The client's address.
        self.remote = ""
        self._loop = loop
        self._queue: deque[tuple[Request, bool]] = deque()
        self._wake: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._closed = False
        self._broken: bytes = b""
        self._busy = False
        self._handed_over = False
        self._streaming = False
        self._writing = False
        self._reading = True
        #: Within a request: some of it has come, and not all.
        self._begun = False
        #: A read that is being answered as it was before, since when; and what came after it.
        self._again: tuple[Repeat, bytes, float] | None = None
        self._later: list[bytes] = []
        self._tail: list[bytes] | None = None
        self._touched = host.clock.monotonic()
        #: None until the server has taken the connection on.
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None]
        self._reset()

    # The transport's side

    def connection_made(self, transport: Any) -> None:
        self._transport: Any = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        tls = transport.get_extra_info("ssl_object")
        self._certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        peer = transport.get_extra_info("peername")
        self.remote = self._remote = str(peer[0]) if isinstance(peer, tuple) else ""
        self._parser = httptools.HttpRequestParser(self)
        task = self._host.joined(self)
        if task is None:
            transport.abort()
            return
        self._task = task
        self._timer = self._loop.call_later(ARRIVAL, self._check)

    def get_buffer(self, sizehint: int) -> memoryview:
        # Without a buffer of ours TLS would make one of 256 KiB for every read, and give it back.
        return self._host.inbox

    def buffer_updated(self, nbytes: int) -> None:
        self._touched = self._host.clock.monotonic()
        self._received(self._host.inbox[:nbytes])

    def _received(self, data: memoryview) -> None:
        if self._again is not None:
            # One after the other: what was asked first is answered first.
            self._later.append(bytes(data))
            if len(self._later) > PIPELINED:
                self._pause()
            return
        if self._tail is not None:
            self._tail.append(bytes(data))
            return
        if self._broken:
            return
        raw = self._whole(data)
        if raw and (repeat := self._host.repeats.get(self._certificate, raw)) is not None:
            self._again = repeat, raw, perf_counter()
            self._host.soon(self._answer_again)
            return
        self._parse(data)
        if raw and len(self._queue) == 1 and not self._begun and self._host.repeats.seen(raw):
            self._queue[0][0].raw = raw

    def _whole(self, data: memoryview) -> bytes:
        """What may be one whole GET, with nothing before it that waits for an answer; else nothing."""
        if len(data) > LONGEST or self._begun or self._queue or self._busy or self._writable or self._host.draining:
            return b""
        raw = bytes(data)
        return raw if raw.startswith(b"GET /") and raw.find(b"\r\n\r\n") == len(raw) - 4 else b""

    def _parse(self, data: memoryview) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._tail = [bytes(data[upgrade.args[0] :])]
        except httptools.HttpParserError:
            self._fail(_BAD_REQUEST)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._closed = True
        if self._timer is None:
            return
        self._timer.cancel()
        self._host.left(self)
        self._notify()
        self.resume_writing()
        # A read or a watch has no reader any more; a write that has begun is finished.
        if self._busy and not self._writing:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._touched = self._host.clock.monotonic()
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self._closed:
            self._reading = True
            self._transport.resume_reading()

    # The parser's side

    def on_message_begin(self) -> None:
        self._begun = True
        self._reset()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.add(name.decode("latin-1").lower(), value.decode("latin-1"))
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        if self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if int(self._headers.get("content-length") or 0) > BODY_LIMIT:
            self._too_large()

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > BODY_LIMIT:
            self._too_large()
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._begun = False
        if not self._oversized:
            self._enqueue(keep=self._parser.should_keep_alive())

    def _reset(self) -> None:
        self._url = b""
        self._headers = Headers()
        self._body: list[bytes] = []
        self._size = self._head = 0
        self._oversized = False

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > HEADER_LIMIT:
            self._fail(_HEADERS_TOO_LARGE)

    def _too_large(self) -> None:
        """Answer at once and read no further: the rest of the body could be any length."""
        if not self._oversized:
            self._oversized = True
            self._body.clear()
            self._enqueue(keep=False)

    def _enqueue(self, *, keep: bool) -> None:
        path, _, query = self._url.decode("latin-1").partition("?")
        if not path.startswith("/"):
            # The absolute form that proxies send: http://host/path.
            path = "/" + path.partition("://")[2].partition("/")[2]
        body = self._body
        request = Request(
            method=self._parser.get_method().decode("latin-1"),
            path=unquote(path) if "%" in path else path,
            query_string=query,
            headers=self._headers,
            body=body[0] if len(body) == 1 else b"".join(body),
            peer_certificate=self._certificate,
            remote=self._remote,
            started=self._touched,
            oversized=self._oversized,
        )
        self._queue.append((request, keep and self._parser.get_http_version() != "1.0"))
        if len(self._queue) > PIPELINED:
            self._pause()
        self._notify()

    def _fail(self, answer: bytes) -> None:
        self._broken = answer
        self._notify()

    def _notify(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # The task

    async def serve(self) -> None:
        """Answer until the client or the server has enough."""
        try:
            while await self._next():
                request, keep = self._queue.popleft()
                if len(self._queue) <= PIPELINED // 2:
                    self._resume()
                self._busy = True
                self._writing = request.method not in ("GET", "HEAD")
                response = await self._host.handle(request)
                keep = await self._answer(request, response, keep=keep)
                self._busy = False
                self._touched = self._host.clock.monotonic()
                if not keep:
                    break
                if request.repeat is not None and request.repeat.links == self._host.links:
                    self._host.repeats.keep(self._certificate, request.raw, request.repeat)
            if self._broken and not self._closed:
                self._transport.write(self._broken)
        except Exception:
            # The head may be out already, so all that is left is to cut the connection, which the client notices.
            log.exception("a response broke off")
            self._transport.abort()
        finally:
            self._busy = False
            if not self._handed_over:
                self._transport.close()

    async def _next(self) -> bool:
        """Wait for a request; False when there will be none."""
        while not self._queue:
            if self._closed or self._broken or (self._host.draining and self._again is None):
                return False
            self._wake = self._loop.create_future()
            await self._wake
        return not self._closed

    def _answer_again(self, fresh: bool) -> None:
        """Answer the read that came before, or take the long way."""
        assert self._again is not None
        repeat, raw, began = self._again
        self._again = None
        if self._closed:
            return
        body = repeat.body() if fresh and not self._host.draining else None
        if body is not None:
            self._transport.write(
                b"%bAudit-Id: %b\r\nDate: %b\r\nContent-Length: %d\r\n\r\n%b"
                % (repeat.head, identifier().encode(), self._host.date(), len(body), body)
            )
            repeat.count(perf_counter() - began, len(body))
        else:
            if fresh:
                self._host.repeats.drop(self._certificate, raw)
            self._parse(memoryview(raw))
        later, self._later = self._later, []
        self._resume()
        for data in later:
            self._received(memoryview(data))

    def drain(self) -> None:
        """The server shuts down: an idle connection and a watch end, a busy one after its answer."""
        self._notify()
        if self._streaming:
            self._task.cancel()

    def cut(self) -> None:
        """The server will not wait any longer."""
        self._task.cancel()
        self._transport.abort()

    async def _answer(self, request: Request, response: Response, *, keep: bool) -> bool:
        """Write the response; whether the connection can be used again."""
        if isinstance(response, Upgrade):
            await self._hand_over(response)
            return False
        keep = keep and self._tail is None and not self._host.draining
        body = response.body
        if isinstance(body, bytes):
            head = self._head_of(
                response, keep, b"Content-Length: %d\r\n" % len(body) if response.status != 204 else b""
            )
            if request.method == "HEAD":
                self._transport.write(head)
            elif len(body) <= JOINED:
                self._transport.write(head + body)
            else:
                self._transport.write(head)
                await self._pour((body,))
        elif isinstance(body, Pieces):
            self._transport.write(self._head_of(response, keep, b"Content-Length: %d\r\n" % body.length))
            if request.method != "HEAD":
                await self._pour(body.pieces)
        else:
            return await self._stream(request, response, body, keep)
        if self._writable is not None:
            await self._writable
        return keep

    async def _pour(self, pieces: Iterable[bytes]) -> None:
        """Write a large body slice by slice: TLS over one of many megabytes at once takes six times as long."""
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), SLICE):
                if self._closed:
                    return
                self._transport.write(view[start : start + SLICE])
                if self._writable is not None:
                    await self._writable

    async def _stream(self, request: Request, response: Response, body: AsyncIterator[bytes], keep: bool) -> bool:
        self._transport.write(self._head_of(response, keep, b"Transfer-Encoding: chunked\r\n"))
        self._streaming = True
        try:
            if request.method == "HEAD":
                return keep
            async for chunk in body:
                if chunk:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                if self._writable is not None:
                    await self._writable
                if self._closed:
                    return False
        except asyncio.CancelledError:
            if self._host.draining and not self._closed:
                # A watch that ends in order is taken up again elsewhere without a complaint.
                self._transport.write(b"0\r\n\r\n")
            raise
        finally:
            self._streaming = False
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        self._transport.write(b"0\r\n\r\n")
        return keep

    async def _hand_over(self, upgrade: Upgrade) -> None:
        headers = b"".join(b"%b: %b\r\n" % (n.encode(), v.encode()) for n, v in upgrade.headers)
        self._transport.write(b"HTTP/1.1 101 Switching Protocols\r\n%b\r\n" % headers)
        if self._timer is not None:
            self._timer.cancel()
        self._handed_over = True
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        writer = asyncio.StreamWriter(self._transport, protocol, reader, self._loop)
        for piece in self._tail or ():
            reader.feed_data(piece)
        try:
            if upgrade.take is not None:
                await upgrade.take(reader, writer)
        finally:
            self._host.left(self)
            writer.close()

    def _head_of(self, response: Response, keep: bool, length: bytes) -> bytes:
        return b"%bDate: %b\r\n%b%b\r\n" % (
            head_of(response.status, response.headers, response.content_type),
            self._host.date(),
            length,
            b"" if keep else b"Connection: close\r\n",
        )

    def _check(self) -> None:
        """Cut a client that is too slow; runs now and then instead of resetting a timer with every byte."""
        quiet = self._host.clock.monotonic() - self._touched
        if self._busy:
            limit = STUCK if self._writable is not None else float("inf")
        else:
            limit = ARRIVAL if self._begun or not self._url else IDLE
        if quiet >= limit:
            self._transport.abort()
            return
        self._timer = self._loop.call_later(min(ARRIVAL, max(limit - quiet, 0.1)), self._check)
