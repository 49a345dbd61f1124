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


async def _load(edge: Edge) -> tuple[float, int]:
    """Requests at a fixed rate while things change; the rate reached, and how many were not answered 200."""
    ports = [await edge.echo(f"e{number}") for number in range(4)]
    edge.service("busy", [("127.0.0.1", port) for port in ports])
    edge.ingress("busy", ("busy.test", "/", "Prefix", "busy"))
    await edge.settled()
    statuses: list[int] = []

    async def one() -> None:
        try:
            statuses.append((await edge.get("busy.test")).status)
        except OSError:
            statuses.append(0)

    async def change(number: int) -> None:
        kept = [port for index, port in enumerate(ports) if index != number % 4]
        edge.endpoints("busy", [("127.0.0.1", port) for port in kept])
        if number % 2:
            edge.ingress(f"load-{number}", (f"load-{number}.test", "/", "Prefix", "one"))

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(RATE * SECONDS):
            await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
            group.create_task(one())
            if number % (RATE * SECONDS // CHANGES) == 0:
                group.create_task(change(number * CHANGES // (RATE * SECONDS)))
    took = time.monotonic() - began
    return len(statuses) / took, sum(status != 200 for status in statuses)


async def _measure() -> list[Figure]:
    async with running(worker_processes=2) as edge:
        await edge.server("one")
        rate, failed = await _load(edge)
        await _fill(edge)
        rendered = await _rendered(edge)
        added = sorted([await _added(edge, f"added-{number}") for number in range(5)])[2]
        moved = await _moved(edge)
    return [
        Figure(name="1,000 Ingresses with 5,000 endpoints rendered", value=rendered, unit="s", limit=2),
        Figure(name="an added path answers, beside 1,000 others", value=added, unit="s", limit=1),
        Figure(name="an endpoint change is applied", value=moved * 1000, unit="ms", limit=100),
        Figure(name=f"requests failed at {rate:.0f}/s during {CHANGES} changes", value=failed, unit="", limit=0),
    ]


def measure() -> list[Figure]:
    """The figures."""
    return asyncio.run(_measure())


MEASURE = measure
