"""Requests and responses, between the protocol (server.py) and everything that answers.

A response body is bytes, pieces made while they are written (a LIST joins cached objects), or an async iterator that
produces chunks for as long as the client stays (a watch). An Upgrade hands the connection over.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qs, unquote

import orjson

from pynetes.apiserver.authn.user import User
from pynetes.apiserver.repeat import Repeat
from pynetes.apiserver.requestinfo import RequestInfo
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

JSON = "application/json"
YAML = "application/yaml"
TEXT = "text/plain; charset=utf-8"


class Headers(dict[str, str]):
    """Names in lower case. A repeated header keeps its first value here and all of them in `every`."""

    __slots__ = ("_repeated",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        self._repeated: dict[str, list[str]] | None = None
        for name, value in pairs:
            self.add(name.lower(), value)

    def add(self, name: str, value: str) -> None:
        """One header as it arrives; name in lower case."""
        first = self.setdefault(name, value)
        if first is not value:
            if self._repeated is None:
                self._repeated = {}
            self._repeated.setdefault(name, [first]).append(value)

    def every(self, name: str) -> Sequence[str]:
        """All values of a header, in order."""
        if self._repeated is not None and name in self._repeated:
            return self._repeated[name]
        return (self[name],) if name in self else ()

    def replaced(self, name: str) -> None:
        """Remove every value of a header: credentials once they are used."""
        self.pop(name, None)
        if self._repeated is not None:
            self._repeated.pop(name, None)


@dataclass(slots=True)
class Request:
    """One request. The filters fill in info, user and audit_id on its way to the endpoint."""

    method: str
    #: Decoded path, without the query.
    path: str
    #: The query as it was sent, without the question mark.
    query_string: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    #: The client's certificate (DER), which TLS has verified against the client CAs and the front proxies' CAs
    #: together: which of them signed it is for authentication to find out. None without one.
    peer_certificate: bytes | None = None
    #: The client's IP address; "" in process.
    remote: str = ""
    user: User | None = None
    info: RequestInfo = field(default_factory=RequestInfo)
    audit_id: str = ""
    #: Texts for the Warning header.
    warnings: list[str] = field(default_factory=list)
    #: The body was over the limit and was not read.
    oversized: bool = False
    #: Monotonic seconds of arrival.
    started: float = 0.0
    #: Seconds that it waited for room before it was served.
    waited: float = 0.0
    #: Identity of how the user was authenticated, for `pynetes paths`: certificate subject, token issuer, expiry.
    credential: str = ""
    #: Why the request was allowed: the authorizer's reason, for `pynetes paths`.
    rule: str = ""
    #: Headers that tell in which flow it was; none before that is known.
    flow: tuple[tuple[str, str], ...] = ()
    #: Annotations of the audit event; None where none is written.
    annotations: dict[str, str] | None = None
    #: The bytes of a GET that came in one piece: such a read may come again.
    raw: bytes = b""
    #: Whether whoever showed these credentials is still the same user; None where that cannot be asked.
    proof: Callable[[], bool] | None = None
    #: How to answer it again, being signed on the way back.
    repeat: Repeat | None = None
    _query: Mapping[str, list[str]] | None = None

    @property
    def query(self) -> Mapping[str, list[str]]:
        """The query, decoded: every value of each parameter, empty ones too."""
        if self._query is None:
            text = self.query_string
            self._query = parse_qs(text, keep_blank_values=True) if text else {}
        return self._query

    def param(self, name: str) -> str:
        """The first value of a query parameter; "" when absent."""
        values = self.query.get(name)
        return values[0] if values else ""

    def flag(self, name: str) -> bool:
        """A boolean query parameter as upstream reads it: present and not false or 0."""
        values = self.query.get(name)
        return values is not None and values[0].lower() not in ("false", "0")


def request(
    method: str, target: str, *, headers: Mapping[str, str] | None = None, body: bytes | Object = b""
) -> Request:
    """Build a request by hand, for in-process callers and tests. A dict body is sent as JSON."""
    path, _, query = target.partition("?")
    sent = Headers((headers or {}).items())
    if not isinstance(body, bytes):
        body = orjson.dumps(body)
        sent.setdefault("content-type", JSON)
    return Request(method=method, path=unquote(path), query_string=query, headers=sent, body=body)


@dataclass(slots=True)
class Pieces:
    """A body whose length is known before its pieces are there; they can be read once."""

    length: int
    pieces: Iterable[bytes]


Body: TypeAlias = bytes | Pieces | AsyncIterator[bytes]


@dataclass(slots=True)
class Response:
    """An answer. Content-Type is separate because nearly every response has just that header."""

    status: int = 200
    body: Body = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    #: The revision of the one object that it shows, 0 for anything else: what a write led to.
    revision: int = 0

    def with_headers(self, *pairs: tuple[str, str]) -> "Response":
        """Add headers to this response."""
        self.headers = (*self.headers, *pairs)
        return self


#: Takes the connection over after 101; the reader begins with what the client has sent since its request.
Takeover: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Upgrade(Response):
    """101 Switching Protocols with these headers (Connection and Upgrade among them), then `take` owns the socket."""

    status: int = 101
    content_type: str = ""
    take: Takeover | None = None


_REASONS = {status.value: status.phrase for status in HTTPStatus}


def head_of(status: int, headers: Iterable[tuple[str, str]], content_type: str) -> bytes:
    """The status line, these headers and the content's type."""
    extra = "".join([f"{name}: {value}\r\n" for name, value in headers]).encode("utf-8")
    kind = b"Content-Type: %b\r\n" % content_type.encode() if content_type else b""
    return b"HTTP/1.1 %d %b\r\n%b%b" % (status, _REASONS.get(status, "Unknown").encode(), extra, kind)


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
#: A link of the chain: answers by itself or lets `next` do it.
Filter: TypeAlias = Callable[[Request, Handler], Awaitable[Response]]


def json_response(obj: Any, status: int = 200) -> Response:
    """An object as JSON."""
    return Response(status, orjson.dumps(obj))


def text_response(text: str, status: int = 200) -> Response:
    """Plain text, as health checks and unknown paths answer."""
    return Response(status, text.encode(), TEXT)


def error_response(error: StatusError) -> Response:
    """The Status on the wire; 429 and 503 with Retry-After where the error says when to come back."""
    response = Response(error.code, orjson.dumps(error.status) + b"\n")
    if error.retry_after:
        response.with_headers(("Retry-After", str(error.retry_after)))
    return response
