"""The load of bench/apiserver.py: connections that ask again as soon as they are answered, with as little of their own
cost as Python allows, because on a small machine the client takes processor time from what it measures.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar
from urllib.parse import urlsplit

import httptools

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A server and who we are to it."""

    url: str
    token: str = ""
    ca: str = ""
    certificate: str = ""
    key: str = ""

    def request(
        self, method: str, path: str, body: bytes = b"", *headers: str, media: str = "application/json"
    ) -> bytes:
        """A request on the wire."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {urlsplit(self.url).netloc}",
            "Accept: application/json",
            *headers,
        ]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if body:
            lines += [f"Content-Type: {media}", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode() + body

    @cached_property
    def _context(self) -> ssl.SSLContext | None:
        """One for all connections: making it takes longer than connecting."""
        if not self.url.startswith("https:"):
            return None
        context = ssl.create_default_context(cafile=self.ca or None)
        if not self.ca:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    async def connect(self, make: Callable[[], P]) -> P:
        """One connection."""
        url, context = urlsplit(self.url), self._context
        loop, name = asyncio.get_running_loop(), url.hostname if context else None
        host, port = url.hostname or "localhost", url.port or 443
        _, made = await loop.create_connection(make, host, port, ssl=context, server_hostname=name)
        return made


@dataclass
class Load:
    """What a load found out."""

    #: Seconds of each answer, ascending once the load is over.
    times: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    #: Bytes of bodies received.
    size: int = 0
    took: float = 0.0

    def __iadd__(self, other: "Load") -> "Load":
        """Take in what another round of the same load has found."""
        self.times = sorted(self.times + other.times)
        for status, count in other.failures.items():
            self.failures[status] = self.failures.get(status, 0) + count
        self.size, self.took = self.size + other.size, self.took + other.took
        return self

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.times) / self.took

    def percentile(self, share: float) -> float:
        """Milliseconds within which this share of the answers came."""
        return self.times[min(int(len(self.times) * share), len(self.times) - 1)] * 1e3


class Repeater(asyncio.Protocol):
    """One keep-alive connection, one request at a time; `done` once the time is over and the last one is answered."""

    def __init__(self, load: Load, following: Callable[[], bytes | None]) -> None:
        self._load, self._following = load, following
        self._parser = httptools.HttpResponseParser(self)
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server hung up"))

    def on_body(self, body: bytes) -> None:
        self._load.size += len(body)

    def on_message_complete(self) -> None:
        self._load.times.append(time.perf_counter() - self._began)
        status = self._parser.get_status_code()
        if status >= 300:
            self._load.failures[status] = self._load.failures.get(status, 0) + 1
        self.ask()

    def ask(self) -> None:
        """Send the next request, if there is one."""
        wanted = self._following()
        if wanted is None:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._began = time.perf_counter()
            self._transport.write(wanted)


async def load(
    target: Target, ask: Callable[[], bytes], *, connections: int, seconds: float = 0.0, count: int = 0
) -> Load:
    """Ask on all connections until the time is over, or so many times in all. Raises what a connection broke with."""
    found = Load()
    left = count
    began = float("inf")

    def following() -> bytes | None:
        nonlocal left
        left -= 1
        over = left < 0 if count else time.perf_counter() - began >= seconds
        return None if over else ask()

    repeaters = [await target.connect(lambda: Repeater(found, following)) for _ in range(connections)]
    began = time.perf_counter()
    for repeater in repeaters:
        repeater.ask()
    await asyncio.gather(*(repeater.done for repeater in repeaters))
    found.took = time.perf_counter() - began
    found.times.sort()
    return found


_EVENT = b'"type":"MODIFIED"'


class Watcher(asyncio.Protocol):
    """Counts the MODIFIED events of a watch; `begun` at the first bytes, `done` after so many events."""

    def __init__(self, wanted: int) -> None:
        loop = asyncio.get_running_loop()
        self.seen, self._wanted, self._tail = 0, wanted, b""
        self.begun: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if not self.begun.done():
            self.begun.set_result(None)
        # An event may arrive in two pieces.
        data = self._tail + data
        self.seen += data.count(_EVENT)
        self._tail = data[1 - len(_EVENT) :]
        if self.seen >= self._wanted and not self.done.done():
            self.done.set_result(None)


async def fan_out(target: Target, path: str, write: Callable[[int], bytes], *, watchers: int, writes: int) -> float:
    """Events a second that all watchers of one object receive together."""
    made: Sequence[Watcher] = [await target.connect(lambda: Watcher(writes)) for _ in range(watchers)]
    for watcher in made:
        watcher.transport.write(target.request("GET", path))
    await asyncio.gather(*(watcher.begun for watcher in made))
    numbers = iter(range(writes))
    began = time.perf_counter()
    await load(target, lambda: write(next(numbers)), connections=1, count=writes)
    await asyncio.gather(*(watcher.done for watcher in made))
    took = time.perf_counter() - began
    for watcher in made:
        watcher.transport.close()
    return watchers * writes / took
