"""The connection to etcd: mutual TLS, several members, certificates that are renewed while it serves.

One member is used at a time; when it cannot be reached the next is tried, which is safe for a write too because nothing
was sent. A call that broke half-way is never repeated here: whether it was carried out is not known.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TypeVar
from urllib.parse import urlsplit

from pynetes.component.peer import Peer, described
from pynetes.component.tracing import Identity
from pynetes.rpc.connection import Code, Connection, RpcError, connect
from pynetes.storage.backend import Unavailable

T = TypeVar("T")

#: Seconds between two looks at the certificate files.
LOOK = 1.0
#: Seconds for which a call waits while nobody listens, and between its attempts.
RESTART, AGAIN = 5.0, 0.05


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Paths of PEM files; all "" for plain text."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def stamp(self) -> tuple[tuple[int, int], ...]:
        """Changes when a file does, replaced or rewritten. Raises OSError."""
        found = (Path(path).stat() for path in (self.ca, self.certificate, self.key) if path)
        return tuple((stat.st_ino, stat.st_mtime_ns) for stat in found)

    def context(self) -> ssl.SSLContext:
        """TLS with what is in the files now: the server and its host are verified, ours is shown. Raises OSError."""
        context = ssl.create_default_context(cafile=self.ca or None)
        context.set_alpn_protocols(["h2"])
        if self.certificate:
            context.load_cert_chain(self.certificate, self.key)
        return context

    def identity(self) -> Identity:
        """Who we are to etcd."""
        if not self.certificate:
            return Identity(rule="no client certificate")
        shown = described(Path(self.certificate).read_bytes())
        if shown is None:
            raise ValueError(f"{self.certificate} holds no certificate")
        rule = f"mTLS, both verified by {self.ca}"
        return Identity(shown.subject, shown.issuer, shown.expires, rule, client=shown)


@dataclass(frozen=True)
class Member:
    """Where one member of the etcd cluster serves clients."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class EtcdChannel:
    """Runs calls on a connection to whichever member answers.

    A connection with the certificate of before is left to its calls when a renewed one replaces it, so that a watch
    goes on undisturbed, as upstream's does."""

    def __init__(self, endpoints: Sequence[str], credentials: Credentials) -> None:
        if not endpoints:
            raise ValueError("etcd needs at least one endpoint (--etcd-servers)")
        self._members = [_member(endpoint, credentials) for endpoint in endpoints]
        self._credentials = credentials
        self._used = 0
        self._open: Connection | None = None
        self._replaced: list[Connection] = []
        self._connecting = asyncio.Lock()
        self._stamp: tuple[tuple[int, int], ...] = ()
        self._looked = 0.0
        #: Who we are to etcd on the connection in use.
        self.identity: Identity | None = None

    async def call(self, run: Callable[[Connection], Awaitable[T]], *, repeatable: bool = False) -> T:
        """Make one call. Raises Unavailable when no member answers; other RpcErrors are the caller's.

        repeatable: it only reads, so it may be made again when it broke half-way."""
        attempt, until = 0, monotonic() + RESTART
        broken: RpcError | None = None
        while True:
            used, attempt = self._used, attempt + 1
            try:
                return await run(await self.connection())
            except RpcError as error:
                if error.code not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise
                self.fail_over(used)
                # Nobody listens: an etcd that is started anew is back in a moment. A certificate stays refused.
                waits = isinstance(error.__cause__, ConnectionRefusedError) and monotonic() < until
                again = error.unsent or (repeatable and error.code == Code.UNAVAILABLE and broken is None)
                if not again or (attempt > len(self._members) and not waits):
                    told = broken or error
                    raise Unavailable(f"etcd at {self._members[used]}: {told.details}") from told
                broken = broken if error.unsent else error
            if attempt > len(self._members):
                await asyncio.sleep(AGAIN)

    async def connection(self) -> Connection:
        """The connection for new calls. Raises RpcError, Unavailable."""
        now = monotonic()
        if self._open is not None and not self._open.closed and now - self._looked < LOOK:
            return self._open
        async with self._connecting:
            if self._open is None or self._open.closed or now - self._looked >= LOOK:
                self._looked = now
                await self._refresh()
            assert self._open is not None
            return self._open

    @property
    def used(self) -> int:
        """Which member is used now."""
        return self._used

    def fail_over(self, used: int) -> None:
        """This member did not answer; use the next one, unless somebody has already moved on."""
        if used == self._used and len(self._members) > 1:
            self._used = (used + 1) % len(self._members)
            self._replace(None)

    async def close(self) -> None:
        """Close the connection, and with it all calls."""
        self._replace(None)
        for connection in self._replaced:
            connection.close()
        # The transports close in the next rounds of the loop.
        await asyncio.sleep(0)

    async def _refresh(self) -> None:
        """Connect if there is no connection, or if the files have changed."""
        usable = self._open is not None and not self._open.closed
        try:
            stamp = self._credentials.stamp()
            if usable and stamp == self._stamp:
                return
            member = self._members[self._used]
            context = self._credentials.context() if member.tls else None
            identity = self._credentials.identity()
        except (OSError, ValueError) as error:
            if usable:  # between two steps of a renewal
                return
            raise Unavailable(f"etcd's TLS files {self._credentials}: {error}") from error
        peer = Peer(context) if context else None
        try:
            self._replace(await connect(member.host, member.port, context))
        except RpcError:
            if usable:  # what was renewed is not accepted yet, or etcd is about to be started again
                return
            raise
        self._stamp, self.identity = stamp, replace(identity, server=peer.certificate if peer else None)

    def _replace(self, connection: Connection | None) -> None:
        before, self._open = self._open, connection
        self._replaced = [each for each in self._replaced if not each.closed]
        if before is not None and not before.retire():
            self._replaced.append(before)


def _member(endpoint: str, credentials: Credentials) -> Member:
    url = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
    if url.scheme == "https" and not credentials.ca:
        raise ValueError(f"etcd endpoint {endpoint} is https: give --etcd-cafile, --etcd-certfile and --etcd-keyfile")
    if url.scheme == "http" and credentials.certificate:
        raise ValueError(f"etcd endpoint {endpoint} is http, but certificates are given: write https")
    return Member(url.hostname or "localhost", url.port or 2379, url.scheme == "https")
