"""Two API servers on one store give no port and no address away twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pynetes.apiserver.app import build, running
from pynetes.apiserver.config import Config
from pynetes.machinery.meta import Object
from pynetes.storage.memory import MemoryBackend
from tests.apiserver.harness import API

SERVICES = "/api/v1/namespaces/default/services"


@pytest.fixture
async def pair() -> AsyncIterator[tuple[API, API]]:
    """With ten node ports between them."""
    backend, config = MemoryBackend(), Config(service_node_port_range="30000-30009")
    async with (
        running(build(config, backend), listen=False) as one,
        running(build(config, backend), listen=False) as two,
    ):
        yield API(one), API(two)


def service(name: str, **port: int) -> Object:
    ports = [{"port": 80, **port}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"type": "NodePort", "ports": ports},
    }


async def test_a_port_that_many_ask_for_is_had_by_one(pair: tuple[API, API]) -> None:
    """Whichever server each asks; when it is deleted, another can have it at once."""
    asked = [pair[number % 2].post(SERVICES, service(f"s{number}", nodePort=30005)) for number in range(8)]
    answers = await asyncio.gather(*asked)
    assert sorted(each.status for each in answers) == [201, *[422] * 7]
    (winner,) = (each.body["metadata"]["name"] for each in answers if each.status == 201)
    assert (await pair[0].delete(f"{SERVICES}/{winner}")).status == 200
    assert (await pair[1].post(SERVICES, service("next", nodePort=30005))).status == 201


async def test_all_ports_are_given_and_none_twice(pair: tuple[API, API]) -> None:
    """Ten Services for ten ports, at once; the eleventh is told that there is none."""
    asked = [pair[number % 2].post(SERVICES, service(f"s{number}")) for number in range(10)]
    answers = await asyncio.gather(*asked)
    assert [each.status for each in answers] == [201] * 10
    specs = [each.body["spec"] for each in answers]
    assert sorted(spec["ports"][0]["nodePort"] for spec in specs) == list(range(30000, 30010))
    assert len({spec["clusterIP"] for spec in specs}) == 10
    late = await pair[0].post(SERVICES, service("late"))
    assert late.status == 500
    assert "range is full" in late.body["message"]


async def test_a_dry_run_keeps_no_port(pair: tuple[API, API]) -> None:
    """Neither here nor at the other server."""
    tried = await pair[0].post(f"{SERVICES}?dryRun=All", service("tried", nodePort=30003))
    assert tried.status == 201
    assert (await pair[0].post(SERVICES, service("other", nodePort=30003))).status == 201
