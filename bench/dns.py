"""Questions a second that the DNS server answers over UDP, and how long one takes, beside a bare echo of datagrams.

The server and the echo run in a process of their own, one after the other, on the same loop; the client keeps a number
of questions in flight over one socket each. What counts is the share of what asyncio's datagrams allow at all.
"""

import asyncio
import multiprocessing
import socket
import time
from multiprocessing.connection import Connection

import dnslib
import uvloop

from bench.figures import Figure
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group, forever
from pynetes.dns import server
from pynetes.dns.answers import Answers
from pynetes.dns.forward import Forwarder
from pynetes.dns.tracker import Tracker

SERVICES = 5000
SECONDS = 3.0
IN_FLIGHT = 32


class Echo(asyncio.DatagramProtocol):
    """What no server can be faster than."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


async def _echo(out: Connection) -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    out.send(transport.get_extra_info("sockname")[1])
    await forever()


async def _dns(out: Connection) -> None:
    answers = Answers("cluster.local")
    tracker = Tracker(answers)
    for number in range(SERVICES):
        ip = f"10.96.{number // 250}.{number % 250 + 1}"
        tracker.service(
            {
                "metadata": {"namespace": "default", "name": f"service-{number}"},
                "spec": {"clusterIP": ip, "clusterIPs": [ip], "ports": [{"name": "http", "port": 80}]},
            }
        )
    async with Group() as group:
        dns = server.Server(answers, Forwarder((), clock=SystemClock()), group)
        async with server.listen(dns, "127.0.0.1", 0) as port:
            out.send(port)
            await forever()


def _run(what: str, out: Connection) -> None:
    uvloop.run(_dns(out) if what == "dns" else _echo(out))


def _questions() -> list[bytes]:
    names = [f"service-{number}.default.svc.cluster.local" for number in range(0, SERVICES, 50)]
    names += [f"example{number}.com.default.svc.cluster.local" for number in range(20)]
    return [bytes(dnslib.DNSRecord.question(name).pack()) for name in names]


def measure(what: str) -> tuple[float, float, float]:
    """Answers a second with many in flight; and p50 and p99 in microseconds with one at a time."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_run, args=(what, far), daemon=True)
    process.start()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", near.recv()))
            client.settimeout(5)
            return _rate(client), *_latency(client)
    finally:
        process.terminate()
        process.join()


def _rate(client: socket.socket) -> float:
    questions, count, end = _questions(), 0, time.perf_counter() + SECONDS
    for number in range(IN_FLIGHT):
        client.send(questions[number])
    while time.perf_counter() < end:
        client.recv(4096)
        client.send(questions[count % len(questions)])
        count += 1
    for _ in range(IN_FLIGHT):
        client.recv(4096)
    return count / SECONDS


def _latency(client: socket.socket) -> tuple[float, float]:
    questions, took = _questions(), []
    for number in range(5000):
        start = time.perf_counter()
        client.send(questions[number % len(questions)])
        client.recv(4096)
        took.append(time.perf_counter() - start)
    took.sort()
    return took[len(took) // 2] * 1e6, took[len(took) * 99 // 100] * 1e6


def figures() -> list[Figure]:
    """The figures of `make bench`."""
    limit, ours = measure("echo"), measure("dns")
    return [
        Figure(name="datagrams a bare echo returns", value=limit[0], unit="/s"),
        Figure(name="questions answered", value=ours[0], unit="/s"),
        Figure(name="share of the bare echo", value=ours[0] / limit[0], unit="", limit=0.4, at_most=False),
        Figure(name="one question, p50", value=ours[1], unit="µs"),
        Figure(name="one question, p99", value=ours[2], unit="µs", limit=2000),
    ]


MEASURE = figures
