"""The connection to etcd: mutual TLS, several members, certificates that are renewed while it serves.

One member is used at a time; when it cannot be reached the next is tried, which is safe for a write too because nothing
was sent. A call that broke half-way is never repeated here: whether it was carried out is not known.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography import x509
from grpc.aio import Channel

from pynetes.component.tracing import Identity
from pynetes.rpc.channel import RpcError, StatusCode, tcp_channel
from pynetes.rpc.etcd import rpc_pb2_grpc as stubs
from pynetes.storage.backend import Unavailable

T = TypeVar("T")

#: The services used, in the order of Opened's fields. Made once a channel: a stub makes every method it has.
_STUBS: tuple[Any, ...] = (stubs.KVStub, stubs.WatchStub, stubs.LeaseStub)

#: Seconds between two looks at the certificate files.
LOOK = 1.0
#: How gRPC's text begins when a call was never sent.
_UNSENT = ("failed to connect", "connections to all backends failing", "name resolution", "dns resolution")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Paths of PEM files; all "" for plain text."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes when a file does, replaced or rewritten."""
        found = (Path(path).stat() for path in (self.ca, self.certificate, self.key) if path)
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in found)

    def open(self, address: str) -> Channel:
        """A channel with what is in the files now. Raises Unavailable if they cannot be read."""
        try:
            ca, certificate, key = (
                Path(path).read_bytes() if path else b"" for path in (self.ca, self.certificate, self.key)
            )
        except OSError as error:
            raise Unavailable(f"etcd's TLS files: {error.strerror}: {error.filename}") from error
        return tcp_channel(address, ca=ca, certificate=certificate, key=key)

    def identity(self) -> Identity:
        """Who we are to etcd."""
        if not self.certificate:
            return Identity(rule="no TLS")
        leaf = x509.load_pem_x509_certificate(Path(self.certificate).read_bytes())
        return Identity(
            subject=leaf.subject.rfc4514_string(),
            issuer=leaf.issuer.rfc4514_string(),
            expires=leaf.not_valid_after_utc.isoformat(),
            rule=f"mTLS, both verified by {self.ca}",
        )


@dataclass(eq=False)
class Opened:
    """A channel in use. It is closed when it has been replaced and its last call has ended.

    A watch therefore stays on the connection it has when certificates are renewed, as upstream's does."""

    channel: Channel
    identity: Identity
    kv: Any
    watch: Any
    lease: Any
    calls: int = 0
    retired: bool = False


class EtcdChannel:
    """Runs calls on a channel to whichever member answers."""

    def __init__(self, endpoints: Sequence[str], credentials: Credentials) -> None:
        if not endpoints:
            raise ValueError("etcd needs at least one endpoint (--etcd-servers)")
        self._addresses = [_address(endpoint, credentials) for endpoint in endpoints]
        self._credentials = credentials
        self._member = 0
        self._open: Opened | None = None
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._looked = 0.0

    async def call(self, run: Callable[[Opened], Awaitable[T]]) -> T:
        """Make one call. Raises Unavailable when no member answers; other RpcErrors are the caller's."""
        for attempt in range(len(self._addresses)):
            member = self._member
            try:
                async with self.using() as opened:
                    return await run(opened)
            except RpcError as error:
                if error.code() not in (StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED):
                    raise
                self.fail_over(member)
                if attempt + 1 == len(self._addresses) or not unsent(error):
                    raise Unavailable(f"etcd at {self._addresses[member]}: {error.details()}") from error
        raise AssertionError("there is at least one member")

    @asynccontextmanager
    async def using(self) -> AsyncIterator[Opened]:
        """Hold the current channel; it stays open at least as long."""
        opened = await self._current()
        opened.calls += 1
        try:
            yield opened
        finally:
            opened.calls -= 1
            if opened.retired and not opened.calls:
                await opened.channel.close()

    @property
    def identity(self) -> Identity | None:
        """Who we are to etcd on the channel in use."""
        return self._open.identity if self._open is not None else None

    @property
    def member(self) -> int:
        """Which member is used now."""
        return self._member

    def fail_over(self, member: int) -> None:
        """This member did not answer; use the next one, unless somebody has already moved on."""
        if member == self._member and len(self._addresses) > 1:
            self._member = (member + 1) % len(self._addresses)
            self._looked = 0.0
            self._stamp = ()

    async def close(self) -> None:
        """Close the channel, and with it all calls."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.retired = True
            await opened.channel.close()

    async def _current(self) -> Opened:
        now = asyncio.get_running_loop().time()
        if self._open is not None and now - self._looked < LOOK:
            return self._open
        self._looked = now
        try:
            stamp = self._credentials.stamp()
        except OSError as error:
            if self._open is not None:  # between two steps of a renewal
                return self._open
            raise Unavailable(f"etcd's TLS files: {error.strerror}: {error.filename}") from error
        if self._open is None or stamp != self._stamp:
            await self._replace(stamp)
        assert self._open is not None
        return self._open

    async def _replace(self, stamp: tuple[tuple[int, int], ...]) -> None:
        channel = self._credentials.open(self._addresses[self._member])
        services = (stub(channel) for stub in _STUBS)
        opened = Opened(channel, self._credentials.identity(), *services)
        before, self._open, self._stamp = self._open, opened, stamp
        if before is not None:
            before.retired = True
            if not before.calls:
                await before.channel.close()


def unsent(error: RpcError) -> bool:
    """Whether the call provably never reached a server."""
    return str(error.details() or "").lower().startswith(_UNSENT)


def _address(endpoint: str, credentials: Credentials) -> str:
    url = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if url.scheme == "https" and not credentials.ca:
        raise ValueError(f"etcd endpoint {endpoint} is https: give --etcd-cafile, --etcd-certfile and --etcd-keyfile")
    if url.scheme == "http" and credentials.certificate:
        raise ValueError(f"etcd endpoint {endpoint} is http, but certificates are given: write https")
    return f"{url.hostname if ':' not in (url.hostname or '') else f'[{url.hostname}]'}:{url.port or 2379}"


def describe(error: RpcError) -> str:
    """An RpcError's own words."""
    return str(error.details() or error.code())
