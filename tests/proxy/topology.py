"""A node with pods and an outside world, each in a network namespace, for real packets through real rules.

A socket belongs to the namespace it was made in, so servers are threads of the test and clients are plain calls.
"""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator

from pyroute2 import netns

PREFIX = "pynetes-proxytest"
NODE = f"{PREFIX}-node"
NODE_ADDRESS = "198.51.100.1"
OUTSIDE = "198.51.100.2"
PODS = "10.251.0.0/16"


@contextlib.contextmanager
def inside(space: str) -> Iterator[None]:
    """What this thread makes meanwhile belongs to the namespace."""
    netns.pushns(f"{PREFIX}-{space}")
    try:
        yield
    finally:
        netns.popns()


@contextlib.contextmanager
def node(*pods: str) -> Iterator[None]:
    """Namespaces node, outside and one per pod address ("pod1" has 10.251.0.1), joined by the node's routes."""
    try:
        _make(pods)
        with inside("node"):
            yield
    finally:
        for name in netns.listnetns():
            if name.startswith(PREFIX):
                netns.remove(name)


def _make(pods: tuple[str, ...]) -> None:
    for name in ("node", "outside", *pods):
        _ip("netns", "add", f"{PREFIX}-{name}")
        _in(name, "link", "set", "lo", "up")
    _pair("outside", f"{OUTSIDE}/24", f"{NODE_ADDRESS}/24")
    _in("outside", "route", "add", "default", "via", NODE_ADDRESS)
    for name in pods:
        address = address_of(name)
        _pair(name, f"{address}/32", "169.254.1.1/32")
        _in(name, "route", "add", "169.254.1.1", "dev", "eth0")
        _in(name, "route", "add", "default", "via", "169.254.1.1", "dev", "eth0")
        _in("node", "route", "add", address, "dev", name)
    # Without a way out, packets to a cluster IP would be refused before any rule sees them.
    _in("node", "route", "add", "default", "via", OUTSIDE)
    with inside("node"):
        subprocess.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0"], check=True)


def address_of(pod: str) -> str:
    """pod7 → 10.251.0.7."""
    return f"10.251.0.{pod.removeprefix('pod')}"


def _pair(name: str, address: str, node_address: str) -> None:
    _in(
        "node", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", f"{PREFIX}-{name}"
    )  # fmt: skip
    _in(name, "address", "add", address, "dev", "eth0")
    _in("node", "address", "add", node_address, "dev", name)
    _in(name, "link", "set", "eth0", "up")
    _in("node", "link", "set", name, "up")


def _in(space: str, *arguments: str) -> None:
    _ip("-n", f"{PREFIX}-{space}", *arguments)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextlib.contextmanager
def tcp_server(pod: str, port: int = 8080) -> Iterator[None]:
    """Answers each line with "pod client-address", for as long as the client stays."""
    with inside(pod):
        server = socket.create_server(("0.0.0.0", port))

    def talk(connection: socket.socket, peer: str) -> None:
        with connection, contextlib.suppress(OSError):
            while connection.recv(100):
                connection.sendall(f"{pod} {peer}".encode())

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, (peer, _) = server.accept()
                threading.Thread(target=talk, args=(connection, peer), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@contextlib.contextmanager
def udp_server(pod: str, port: int = 5353) -> Iterator[None]:
    """Answers each datagram with "pod client-address"."""
    with inside(pod):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", port))
    stop = threading.Event()
    server.settimeout(0.2)

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                _, peer = server.recvfrom(100)
                server.sendto(f"{pod} {peer[0]}".encode(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        server.close()


class Client:
    """A TCP connection, or a UDP flow, that asks who is there."""

    def __init__(self, space: str, address: str, port: int, *, udp: bool = False, timeout: float = 2.0) -> None:
        with inside(space):
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        try:
            self.socket.connect((address, port))
        except OSError:
            self.socket.close()
            raise

    def ask(self) -> list[str]:
        """[pod that answered, client address it saw]"""
        self.socket.sendall(b"?")
        return self.socket.recv(100).decode().split()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def ask(space: str, address: str, port: int, *, udp: bool = False, timeout: float = 2.0) -> list[str]:
    """One question over a connection of its own."""
    with Client(space, address, port, udp=udp, timeout=timeout) as client:
        return client.ask()
