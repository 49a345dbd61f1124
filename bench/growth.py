"""The API server as its objects become more: 1,000, 10,000 and 50,000 pods on an etcd with mutual TLS.

What concerns one object must not cost more where there are many; what concerns all of them may grow as they do.
"""

import shutil
import tempfile
from pathlib import Path

import uvloop

from bench.apiserver import LOADS, TOKEN, Started, answering, flags, free_port, prepare, started, watches
from bench.figures import Figure

SIZES = (1_000, 10_000, 50_000)
SECONDS = 4.0
TITLES = {
    "gets": "GETs of a pod",
    "creates": "creates of a pod",
    "patches": "status patches of a pod",
    "lists": "LISTs of all pods",
    "zipped": "LISTs of all pods with gzip",
}
#: Loads of one object, and what share of their rate with few objects has to be left with many. Half would be growth;
#: what machines differ by between two minutes is less.
SINGLE, LEFT = ("gets", "creates", "patches"), 0.6


async def _at(server: Started) -> dict[str, float]:
    """The rates of all loads, of the fan-out, and the memory."""
    rates = {name: (await load(server.target, SECONDS)).rate for name, load in LOADS.items()}
    return {**rates, "watches": await watches(server.target), "resident": server.resident}


def _shown(size: int, found: dict[str, float]) -> list[Figure]:
    return [
        *(Figure(name=f"{size:,} pods: {title}", value=found[name], unit="/s") for name, title in TITLES.items()),
        Figure(name=f"{size:,} pods: events to 1,000 watchers of one object", value=found["watches"], unit="/s"),
        Figure(name=f"{size:,} pods: resident afterwards", value=found["resident"], unit="MB"),
    ]


async def _measure(folder: Path) -> list[Figure]:
    # Only here: it belongs to the tests.
    from tests.contract.etcd_server import EtcdServer

    etcd = EtcdServer(folder)
    await etcd.start()
    found: dict[int, dict[str, float]] = {}
    port, there = free_port(), 0
    try:
        with started(*flags(folder, etcd.endpoint, port), url=f"https://127.0.0.1:{port}", token=TOKEN) as server:
            await answering(server.target)
            for size in SIZES:
                await prepare(server.target, size - there)
                there = size
                found[size] = await _at(server)
    finally:
        await etcd.kill()
    few, many = found[SIZES[0]], found[SIZES[-1]]
    kept = [
        Figure(
            name=f"{TITLES[name]}: rate with {SIZES[-1]:,} beside {SIZES[0]:,} pods",
            value=many[name] / few[name],
            unit="",
            limit=LEFT,
            at_most=False,
        )
        for name in SINGLE
    ]
    return [*(figure for size in SIZES for figure in _shown(size, found[size])), *kept]


def measure() -> list[Figure]:
    """All figures; none without etcd."""
    if shutil.which("etcd") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder)))


MEASURE = measure
