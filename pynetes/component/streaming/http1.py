"""A client's side of one HTTP/1.1 exchange on a connection of its own: a streamed answer, or an upgraded connection.

For dialling kubelets and pods, where an ordinary HTTP client would hide the socket that an Upgrade is about.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

import httptools

#: Seconds to connect, TLS included.
CONNECT = 10.0
CHUNK = 64 << 10
HEAD_LIMIT = 64 << 10


class Target(NamedTuple):
    """Where to dial; tls None means plain HTTP. name is what the certificate must be for, if not for the host."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    name: str = ""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class DialError(Exception):
    """The target could not be reached, its certificate was refused, or it does not speak HTTP; the text says which."""


class Exchange:
    """A request that was sent and its answer as it comes. A context manager that closes the connection.

    After status 101 the reader and writer are the upgraded connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._complete = False

    def header(self, name: str) -> str:
        """The first value of a header (name in lower case); "" without one."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    async def answered(self) -> None:
        """Read up to the end of the head. Raises DialError if there is none."""
        try:
            while self.status in (0, 100):
                self.headers.clear()
                # Not a byte more than the head is taken, so that what follows a 101 stays in the reader.
                self._parse(await self.reader.readuntil(b"\r\n\r\n"))
                if self.status == 100:
                    self._parser, self._complete = httptools.HttpResponseParser(self), False
        except asyncio.IncompleteReadError:
            raise DialError("the connection was closed before an answer came") from None
        except asyncio.LimitOverrunError:
            raise DialError("the answer's head is too large") from None
        except (OSError, ssl.SSLError) as error:
            raise DialError(str(error)) from error

    async def body(self) -> AsyncIterator[bytes]:
        """Pieces of the body as they come. A connection that breaks ends it."""
        while True:
            taken, self._chunks = self._chunks, []
            for chunk in taken:
                yield chunk
            if self._complete:
                return
            data = b""
            with suppress(OSError, ssl.SSLError):
                data = await self.reader.read(CHUNK)
            if not data:
                return
            self._parse(data)

    async def text(self, limit: int = 64 << 10) -> str:
        """The beginning of the body, for error messages."""
        found = b""
        async for chunk in self.body():
            found += chunk
            if len(found) >= limit:
                break
        return found[:limit].decode("utf-8", "replace")

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    def __enter__(self) -> "Exchange":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._complete = True
        except httptools.HttpParserError as error:
            raise DialError(f"the answer is not HTTP: {error}") from error

    # httptools calls these while it parses.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        self._complete = True


async def exchange(
    target: Target, method: str, path: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
) -> Exchange:
    """Dial, send a request and read the head of the answer. Raises DialError.

    Host is added; Connection and Content-Length are too unless given."""
    try:
        async with asyncio.timeout(CONNECT):
            reader, writer = await asyncio.open_connection(
                target.host,
                target.port,
                ssl=target.tls,
                server_hostname=(target.name or target.host) if target.tls else None,
                limit=HEAD_LIMIT,
            )
    except TimeoutError:
        raise DialError(f"dial tcp {target}: i/o timeout") from None
    except ssl.SSLCertVerificationError as error:
        raise DialError(f"tls: failed to verify certificate: {error.verify_message}") from error
    except (OSError, ssl.SSLError) as error:
        number = error.errno or 0
        text = os.strerror(number) if number > 0 else str(error)
        raise DialError(f"dial tcp {target}: connect: {text.lower()}") from error
    sent = Exchange(reader, writer)
    try:
        writer.write(_request(target, method, path, list(headers), body))
        await sent.answered()
    except BaseException:
        sent.close()
        raise
    return sent


def _request(target: Target, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    given = {name.lower() for name, _ in headers}
    if "host" not in given:
        headers.insert(0, ("Host", str(target)))
    if "connection" not in given:
        headers.append(("Connection", "close"))
    if "content-length" not in given and (body or method in ("POST", "PUT", "PATCH")):
        headers.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if any("\r" in line or "\n" in line for line in lines):
        raise DialError("a line break in the request")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def splice(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter], other: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Carry bytes between two connections, both ways, until both have ended or one has broken; then close both."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_carry(one[0], other[1]))
            group.create_task(_carry(other[0], one[1]))
    except* (OSError, ssl.SSLError):
        pass
    finally:
        one[1].close()
        other[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    # TLS cannot be closed in one direction: its end is the end of both.
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()
