"""How requests reach the API server: over the network, or straight into one in the same process.

A Transport knows HTTP but no Kubernetes. It answers with whatever status came; only an API server that cannot be
reached is an exception, Unreachable. The client above (rest.py) does not see which transport it has, so tests drive the
same code without a socket.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

import aiohttp

from pynetes.client.kubeconfig import Credentials, KubeconfigError
from pynetes.component import files
from pynetes.component.peer import Peer, described
from pynetes.component.tracing import Identity

#: How long connecting, including the TLS handshake, may take, in seconds.
CONNECT_TIMEOUT = 10.0
#: How long an ordinary request may take, in seconds: more than the API server's own 60.
REQUEST_TIMEOUT = 70.0


class Unreachable(ConnectionError):
    """No answer: the server is down, hung up, or its certificate is not trusted. The text says which."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request. target is the path with its query."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Answer(NamedTuple):
    """A whole response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Stream(NamedTuple):
    """A response whose body arrives in chunks."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """A way to the API server."""

    @property
    def host(self) -> str:
        """Name and port of the server, for metrics."""

    @property
    def identity(self) -> Identity:
        """Who we are there."""

    async def request(self, call: Call) -> Answer:
        """Send it and read the whole response. Raises Unreachable."""

    def stream(self, call: Call, *, timeout: float) -> AbstractAsyncContextManager[Stream]:
        """Send it and read the response as it comes, for at most timeout seconds. Raises Unreachable."""

    async def close(self) -> None:
        """Drop all connections."""


class _Connections:
    """What belongs to one set of certificates. Once replaced, it is closed when its last request has ended."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.peer = Peer(context) if context else None
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=90),
            timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT),
            auto_decompress=True,
        )
        self._requests, self._replaced = 0, False

    @asynccontextmanager
    async def used(self) -> AsyncIterator[aiohttp.ClientSession]:
        """For one request."""
        self._requests += 1
        try:
            yield self.session
        finally:
            self._requests -= 1
            if self._replaced and not self._requests:
                await self.session.close()

    async def replace(self) -> None:
        """Nobody begins here any more."""
        self._replaced = True
        if not self._requests:
            await self.session.close()


class NetworkTransport:
    """HTTP or HTTPS with keep-alive; reads kubeconfig, certificates and tokens again when their files change.

    Requests under way, watches above all, end on the connection they began on: a renewal disturbs nobody."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._open: _Connections | None = None
        self._stamps: Hashable = None
        self._identity = Identity()
        self._host = urlsplit(credentials.server).netloc

    @property
    def host(self) -> str:
        return self._host

    @property
    def identity(self) -> Identity:
        if self._identity.server is None and self._open is not None and self._open.peer is not None:
            self._identity = replace(self._identity, server=self._open.peer.certificate)
        return self._identity

    @property
    def credentials(self) -> Credentials:
        """Where it dials, and as whom."""
        return self._credentials

    async def request(self, call: Call) -> Answer:
        connections = await self._ready()
        try:
            async with (
                connections.used() as session,
                session.request(
                    call.method,
                    self._credentials.server + call.target,
                    headers=self._headers(call),
                    data=call.body,
                    ssl=connections.context or True,
                    server_hostname=self._credentials.server_name or None,
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.read()
                return Answer(response.status, _lowered(response.headers), body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{self._credentials.server}: {_described(error)}") from error

    @asynccontextmanager
    async def stream(self, call: Call, *, timeout: float) -> AsyncIterator[Stream]:
        connections = await self._ready()
        try:
            async with (
                connections.used() as session,
                session.request(
                    call.method,
                    self._credentials.server + call.target,
                    headers=self._headers(call),
                    data=call.body,
                    ssl=connections.context or True,
                    server_hostname=self._credentials.server_name or None,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=timeout or None, sock_connect=CONNECT_TIMEOUT),
                ) as response,
            ):
                yield Stream(response.status, _lowered(response.headers), response.content.iter_any())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{self._credentials.server}: {_described(error)}") from error

    async def close(self) -> None:
        if self._open is not None:
            await self._open.session.close()
            self._open = None

    async def _ready(self) -> _Connections:
        stamps = self._stamp()
        if self._open is not None and stamps == self._stamps:
            return self._open
        credentials = self._credentials.reread() if self._open is not None else self._credentials
        try:
            context = _context(credentials) if credentials.server.startswith("https:") else None
            self._identity = _identify(credentials)
        except (KubeconfigError, OSError, ValueError):
            if self._open is not None:  # a rotation in progress: go on with what we have
                return self._open
            raise
        before, self._open = self._open, _Connections(context)
        self._credentials, self._stamps = credentials, stamps
        if before is not None:
            await before.replace()
        return self._open

    def _stamp(self) -> Hashable:
        known = self._credentials
        named = (known.source, known.certificate_file, known.key_file, known.ca_file)
        try:
            return files.stamp(Path(name) for name in named if name)
        except OSError as error:
            if self._open is not None:  # a rotation in progress
                return self._stamps
            raise KubeconfigError(f"cannot read {error.filename}: {error.strerror}") from error

    def _headers(self, call: Call) -> Mapping[str, str]:
        token = self._credentials.bearer()
        return {**call.headers, "Authorization": f"Bearer {token}"} if token else call.headers


class InProcessTransport:
    """Calls an API server in the same event loop; `handle` opens one exchange, see testing/cluster.py."""

    def __init__(self, handle: Callable[[Call], Awaitable[Stream]], *, identity: Identity | None = None) -> None:
        self._handle = handle
        self._identity = identity or Identity()

    @property
    def host(self) -> str:
        return "in-process"

    @property
    def identity(self) -> Identity:
        return self._identity

    async def request(self, call: Call) -> Answer:
        stream = await self._handle(call)
        body = b"".join([chunk async for chunk in stream.chunks])
        return Answer(stream.status, stream.headers, body)

    @asynccontextmanager
    async def stream(self, call: Call, *, timeout: float) -> AsyncIterator[Stream]:
        stream = await self._handle(call)
        try:
            yield stream
        finally:
            close = getattr(stream.chunks, "aclose", None)
            if close is not None:
                await close()

    async def close(self) -> None:
        """Nothing is held open."""


def _context(credentials: Credentials) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=credentials.ca_file if credentials.ca_file and not credentials.ca else None,
            cadata=credentials.ca.decode() if credentials.ca else None,
        )
        if credentials.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credentials.certificate or credentials.certificate_file:
            _load_identity(context, credentials)
    except (OSError, ssl.SSLError) as error:
        raise KubeconfigError(f"the certificates for {credentials.server} cannot be used: {error}") from error
    return context


def _load_identity(context: ssl.SSLContext, credentials: Credentials) -> None:
    # The ssl module reads certificates from files only.
    with TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        key.touch(mode=0o600)
        certificate.write_bytes(credentials.certificate or Path(credentials.certificate_file).read_bytes())
        key.write_bytes(credentials.key or Path(credentials.key_file or credentials.certificate_file).read_bytes())
        context.load_cert_chain(certificate, key)


def _identify(credentials: Credentials) -> Identity:
    pem = credentials.certificate
    if not pem and credentials.certificate_file:
        pem = Path(credentials.certificate_file).read_bytes()
    if not pem:
        return Identity(subject="bearer token" if credentials.token or credentials.token_file else "")
    shown = described(pem)
    if shown is None:
        raise ValueError("the client certificate is none")
    return Identity(subject=shown.subject, issuer=shown.issuer, expires=shown.expires, client=shown)


def _lowered(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _described(error: BaseException) -> str:
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
