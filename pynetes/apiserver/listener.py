"""Accepts connections and shakes hands, with a limit to what one address may leave unfinished.

A handshake that does not go on holds a socket and OpenSSL's memory for ten seconds, and who began it has shown nothing
yet, so no other limit knows of it. The event loop's own server tells of a connection only once its handshake is over.
"""

import asyncio
import errno
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from functools import partial

from pynetes.component import logs
from pynetes.component.metrics import REGISTRY

log = logging.getLogger(__name__)
#: Seconds that a TLS handshake may take: who only connects shall not hold a socket for a minute.
HANDSHAKE = 10.0
#: Seconds for a client to say goodbye after we did; idle ones often never do, and a shutdown waits for them.
FAREWELL = 1.0
#: A long backlog: informers of a whole cluster reconnect at once after a restart.
BACKLOG = 1024
#: Seconds until the next attempt when there is no file descriptor left.
EXHAUSTED = 0.1
REFUSED = REGISTRY.counter(
    "pynetes_apiserver_connections_refused_total", "Connections of clients that had as many as they may."
)
_FAILED = REGISTRY.counter(
    "apiserver_tls_handshake_errors_total", "Number of requests dropped with 'TLS handshake error'"
)


class Listener:
    """Listens at every address that a name has; `::` means both families."""

    def __init__(self, connect: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext | None) -> None:
        """connect makes the protocol of a connection whose handshake is over; without a context there is none."""
        self._connect, self._context = connect, context
        #: Unfinished handshakes of one address at once; 0: no limit.
        self.most_handshakes = 0
        self._unfinished: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, group: asyncio.TaskGroup, host: str, port: int, *, shared: bool) -> int:
        """Begin, with tasks of `group`; the port. Raises OSError when the address is taken."""
        for family, address in _addresses(host, port):
            try:
                opened = socket.create_server(
                    (address, port),
                    family=family,
                    backlog=BACKLOG,
                    reuse_port=shared,
                    dualstack_ipv6=address == "::" and socket.has_dualstack_ipv6(),
                )
            except OSError:
                self.close()
                raise
            opened.setblocking(False)
            port = int(opened.getsockname()[1])
            accepting = self._start(group, self._accept(group, opened))
            # Not before: the event loop would look for news at a descriptor that is somebody else's by then.
            accepting.add_done_callback(partial(_closed, opened))
        return port

    def close(self) -> None:
        """Accept nothing more; what is not through its handshake ends."""
        for task in list(self._tasks):
            task.cancel()

    def _start(self, group: asyncio.TaskGroup, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, group: asyncio.TaskGroup, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    log.error(logs.fact("no connection can be accepted", error=error))
                    await asyncio.sleep(EXHAUSTED)
                continue
            peer = str(address[0])
            if self.most_handshakes and self._unfinished[peer] >= self.most_handshakes:
                REFUSED.inc()
                accepted.close()
                continue
            self._unfinished[peer] += 1
            self._start(group, self._shake(accepted, peer))

    async def _shake(self, accepted: socket.socket, peer: str) -> None:
        try:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connect,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE if self._context else None,
                ssl_shutdown_timeout=FAREWELL if self._context else None,
            )
        except OSError as error:
            # Whatever a stranger sends; TLS's own errors are among them.
            if self._context:
                _FAILED.inc()
            log.debug(logs.fact("no handshake", peer=peer, error=error))
        finally:
            self._unfinished[peer] -= 1
            if not self._unfinished[peer]:
                del self._unfinished[peer]


def _closed(opened: socket.socket, _: asyncio.Task[None]) -> None:
    opened.close()


def _addresses(host: str, port: int) -> Iterator[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    yield from dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found)
