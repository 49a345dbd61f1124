"""How soon the ingress controller renders many Ingresses and applies changes, and whether changes fail requests.

A real nginx beside a controller over an API in memory, all on this machine together with the clients and the backends.
"""

import asyncio
import time

from bench.figures import Figure
from tests.ingress.conftest import Edge, running

INGRESSES = 1000
ENDPOINTS = 5
RATE = 500
CHANGES = 100
SECONDS = 10
CLIENTS = 25


async def _fill(edge: Edge) -> None:
    for number in range(INGRESSES):
        addresses = [(f"10.{number // 250}.{number % 250}.{last + 1}", 80) for last in range(ENDPOINTS)]
        edge.service(f"s{number}", addresses)
        edge.ingress(f"i{number}", (f"h{number}.test", "/", "Prefix", f"s{number}"))
    await edge.settled()


async def _rendered(edge: Edge) -> float:
    """Everything computed and sent anew, as after a start."""
    edge.controller.nginx.forget()
    began = time.monotonic()
    await edge.controller.everything()
    return time.monotonic() - began


async def _until_ok(edge: Edge, host: str, server: str) -> float:
    began = time.monotonic()
    while (await edge.get(host)).server != server:  # noqa: ASYNC110 (the change happens in nginx)
        await asyncio.sleep(0.001)
    return time.monotonic() - began


async def _added(edge: Edge, name: str) -> float:
    edge.ingress(name, (f"{name}.test", "/", "Prefix", "one"))
    return await _until_ok(edge, f"{name}.test", "one")


async def _moved(edge: Edge) -> float:
    """One Service goes from one server to another; how long until requests do."""
    ports = {name: await edge.echo(name) for name in ("left", "right")}
    edge.service("moving", [("127.0.0.1", ports["left"])])
    edge.ingress("moving", ("moving.test", "/", "Prefix", "moving"))
    await edge.settled()
    took = []
    for target in ("right", "left", "right", "left", "right"):
        edge.endpoints("moving", [("127.0.0.1", ports[target])])
        took.append(await _until_ok(edge, "moving.test", target))
    return sorted(took)[len(took) // 2]


class _Backend(asyncio.Protocol):
    """Answers whatever comes at next to no cost, as it shares the processors with what is measured."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self._transport, asyncio.Transport)
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * data.count(b"\r\n\r\n"))


async def _client(port: int, began: float, number: int, statuses: list[bytes]) -> None:
    """Asks at its share of the rate, always on the same connection; a connection that is closed is a failure."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for turn in range(RATE * SECONDS // CLIENTS):
            at = began + (turn * CLIENTS + number) / RATE
            await asyncio.sleep(max(0.0, at - time.monotonic()))
            writer.write(b"GET / HTTP/1.1\r\nHost: busy.test\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            await reader.readexactly(int(length or 0))
            statuses.append(head.split()[1])
    except (OSError, EOFError):
        statuses.append(b"closed")
    finally:
        writer.close()


async def _load(edge: Edge) -> tuple[float, int]:
    """Requests at a fixed rate while things change; the rate reached, and how many were not answered 200."""
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(_Backend, "127.0.0.1", 0) for _ in range(4)]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    edge.service("busy", [("127.0.0.1", port) for port in ports])
    edge.ingress("busy", ("busy.test", "/", "Prefix", "busy"))
    await edge.settled()
    statuses: list[bytes] = []
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(_client(edge.http, began, number, statuses))
        for number in range(CHANGES):
            await asyncio.sleep(max(0.0, began + number * SECONDS / CHANGES - time.monotonic()))
            kept = [port for index, port in enumerate(ports) if index != number % 4]
            edge.endpoints("busy", [("127.0.0.1", port) for port in kept])
            if number % 2:
                edge.ingress(f"load-{number}", (f"load-{number}.test", "/", "Prefix", "one"))
    took = time.monotonic() - began
    for server in servers:
        server.close()
    return len(statuses) / took, sum(status != b"200" for status in statuses)


async def _measure() -> list[Figure]:
    async with running(worker_processes=2) as edge:
        await edge.server("one")
        await _fill(edge)
        rate, failed = await _load(edge)
        rendered = await _rendered(edge)
        added = sorted([await _added(edge, f"added-{number}") for number in range(5)])[2]
        moved = await _moved(edge)
    return [
        Figure(name="1,000 Ingresses with 5,000 endpoints rendered", value=rendered, unit="s", limit=2),
        Figure(name="an added path answers, beside 1,000 others", value=added, unit="s", limit=1),
        Figure(name="an endpoint change is applied", value=moved * 1000, unit="ms", limit=100),
        Figure(name=f"load during {CHANGES} changes", value=rate, unit="/s", limit=RATE * 0.98, at_most=False),
        Figure(name="requests of it that failed, or connections closed", value=failed, unit="", limit=0),
    ]


def measure() -> list[Figure]:
    """The figures."""
    return asyncio.run(_measure())


MEASURE = measure
