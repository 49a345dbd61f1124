"""The HTTPS endpoint: listens, owns every connection's task, and shuts down gracefully."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

from pynetes.apiserver.connection import Connection
from pynetes.apiserver.http import Handler
from pynetes.apiserver.listener import REFUSED, Listener
from pynetes.apiserver.repeat import Repeats
from pynetes.component import tls as tls_contexts
from pynetes.component.clock import Clock, SystemClock

#: Bytes read from a connection at once.
INBOX = 64 << 10
#: Seconds that requests in flight get to finish at shutdown.
GRACE = 10.0


class NamedCertificate(NamedTuple):
    """A further certificate, shown to those who ask for one of its names: *.example.org is for one label."""

    certificate: str
    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TLS:
    """Paths of PEM files. client_cas are asked of clients, who may come without a certificate (tokens)."""

    certificate: str
    key: str
    client_cas: tuple[str, ...] = ()
    named: tuple[NamedCertificate, ...] = ()
    #: The oldest version that is spoken.
    oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2

    def context(self) -> ssl.SSLContext:
        """Each handshake uses the files as they are then. Raises OSError."""
        return tls_contexts.server_context(
            Path(self.certificate),
            Path(self.key),
            client_cas=tuple(map(Path, self.client_cas)),
            protocols=("http/1.1",),
            named=tuple((Path(each.certificate), Path(each.key), each.names) for each in self.named),
            oldest=self.oldest,
        )


class Server:
    """Serves `handler`. `handle` is also the in-process way in: the same chain without a socket."""

    def __init__(self, handler: Handler, *, clock: Clock | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.draining = False
        self.inbox = memoryview(bytearray(INBOX))
        self.repeats = Repeats()
        self.links = 0
        self.handle = handler
        self.port = 0
        #: Connections of one address at once; 0: no limit.
        self.most_connections = 0
        self._clients: Counter[str] = Counter()
        self._connections: set[Connection] = set()
        self._group: asyncio.TaskGroup | None = None
        self._listener: Listener | None = None
        #: Unfinished handshakes of one address at once; 0: no limit.
        self.most_handshakes = 0
        self._date = (0.0, b"")

    async def listen(
        self, group: asyncio.TaskGroup, *, host: str, port: int, tls: TLS | None = None, shared: bool = False
    ) -> None:
        """Begin to serve; connections are tasks of `group`. Raises OSError when the address is taken.

        shared lets other processes listen at the same address, each getting a part of the connections."""
        self._group = group
        loop = asyncio.get_running_loop()

        def connect() -> Connection:
            return Connection(self, loop)

        self._listener = Listener(connect, tls.context() if tls else None)
        self._listener.most_handshakes = self.most_handshakes
        self.port = self._listener.listen(group, host, port, shared=shared)

    async def shutdown(self) -> None:
        """Accept nothing more, let requests in flight finish, end idle connections and watches."""
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.drain()
        waited = 0.0
        while self._connections and waited < GRACE:
            await self.clock.sleep(0.05)
            waited += 0.05
        for connection in list(self._connections):
            connection.cut()

    def joined(self, connection: Connection) -> "asyncio.Task[None] | None":
        """A connection is there; its task is ours. None when the server is going down, or the client has too many."""
        assert self._group is not None
        if self.most_connections and self._clients[connection.remote] >= self.most_connections:
            REFUSED.inc()
            return None
        serving = connection.serve()
        try:
            task = self._group.create_task(serving)
        except RuntimeError:
            serving.close()
            return None
        self._connections.add(connection)
        self._clients[connection.remote] += 1
        return task

    def soon(self, then: Callable[[bool], None]) -> None:
        """A server without a cache has nothing that could be fresh."""
        then(False)

    def left(self, connection: Connection) -> None:
        """A connection is gone."""
        if connection in self._connections:
            self._connections.remove(connection)
            self._clients[connection.remote] -= 1
            if not self._clients[connection.remote]:
                del self._clients[connection.remote]

    def date(self) -> bytes:
        """The Date header, formatted once a second."""
        monotonic = self.clock.monotonic()
        if monotonic >= self._date[0]:
            seconds = self.clock.now().timestamp()
            self._date = (monotonic + 1 - seconds % 1, formatdate(seconds, usegmt=True).encode())
        return self._date[1]
