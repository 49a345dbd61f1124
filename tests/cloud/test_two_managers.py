"""Two cloud controller managers, real processes: one works, the other waits, and takes over when the first is gone."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bench.cloud_rest import Site, ended, node, site
from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes, services
from pynetes.machinery.meta import Key, Object
from pynetes.paths.scene import eventually

LEASE = Key("kube-system", "cloud-controller-manager")
WEB = Key("default", "web")
#: A lease that runs out soon, and still not for a process that merely waits for its turn on a busy machine.
TIMES = ("--leader-elect-lease-duration=6", "--leader-elect-renew-deadline=5", "--leader-elect-retry-period=0.3")
WITHIN = 60.0


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Site]:
    """One node, and no manager yet."""
    async with site(tmp_path, 1) as made:
        await made.client.create(nodes.RESOURCE, node(1))
        yield made


async def holder(place: Site) -> str:
    """Who leads, "" when nobody does."""
    lease = await place.client.find(leases.RESOURCE, LEASE)
    return str(lease["spec"].get("holderIdentity") or "") if lease else ""


async def until(holds: Callable[[], Awaitable[bool]], problem: str) -> None:
    """Wait for it."""
    await eventually(holds, problem, within=WITHIN)


@pytest.mark.slow
async def test_one_works_and_the_other_takes_over(place: Site) -> None:
    """The waiting one asks the cloud nothing. The leader stops dead in the middle; the other finishes its work; the
    first wakes, finds that it does not lead any more, and ends without undoing anything."""
    first = await place.manager(*TIMES)
    second: asyncio.subprocess.Process | None = None

    async def led() -> bool:
        return bool(await holder(place)) and place.requests().get("listLoadBalancers", 0) > 0

    async def balanced(port: int) -> bool:
        found = place.cloud.state.of("balancers").values()
        return [[each["port"] for each in one["listeners"]] for one in found] == [[port]]

    async def made() -> bool:
        return place.requests().get("ensureLoadBalancer", 0) > 0

    async def addressed() -> bool:
        found = await place.client.get(services.RESOURCE, WEB)
        return bool((found["status"].get("loadBalancer") or {}).get("ingress"))

    async def gone() -> bool:
        return not place.cloud.state.of("balancers") and await place.client.find(services.RESOURCE, WEB) is None

    try:
        await until(led, "nobody leads")
        leader = await holder(place)
        second = await place.manager(*TIMES)
        await place.client.create(services.RESOURCE, _service(), namespace="default")
        await until(made, "no balancer")
        assert await balanced(80) and place.requests()["ensureLoadBalancer"] == 1 and await holder(place) == leader

        first.send_signal(signal.SIGSTOP)
        patch = {"spec": {"ports": [{"port": 8080, "name": "http"}, {"port": 80, "$patch": "delete"}]}}
        await place.client.patch(services.RESOURCE, WEB, patch, kind="strategic")
        await until(lambda: balanced(8080), "the other did not take over")
        assert await holder(place) not in ("", leader)
        first.send_signal(signal.SIGCONT)
        assert await asyncio.wait_for(first.wait(), WITHIN) != 0
        assert await holder(place) not in ("", leader) and second.returncode is None
        assert await balanced(8080)

        await until(addressed, "no address")
        await place.client.delete(services.RESOURCE, WEB)
        await until(gone, "the balancer stays")
    finally:
        for process in filter(None, (first, second)):
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
            await ended(process)


def _service() -> Object:
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "name": "http"}]}
    return {"metadata": {"name": "web"}, "spec": spec}
