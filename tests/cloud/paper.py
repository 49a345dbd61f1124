"""A cloud in memory for the controllers' tests: it counts calls, and fails, lies and is slow as a test says."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from pynetes.cloud import controllers
from pynetes.cloud.inventory import Machines
from pynetes.cloud.provider import Address, Balancer, CloudError, Ensured, Instance, Provider, Route
from pynetes.component.tasks import Group
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import Clock, World


def instance(name: str, **changes: object) -> Instance:
    """A running one."""
    made = Instance(
        id=f"i-{name}",
        provider_id=f"paper:///z1/i-{name}",
        name=name,
        type="p1",
        zone="z1",
        region="z",
        addresses=(Address("InternalIP", "10.0.0.1"), Address("ExternalIP", "192.0.2.1")),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Ticking(Clock):
    """Stands still but for a microsecond at each look, so that events get names of their own."""

    def __init__(self) -> None:
        super().__init__()
        self._looks = 0

    def now(self) -> datetime:
        self._looks += 1
        return super().now() + timedelta(microseconds=self._looks)


class Cloud:
    """All parts at once."""

    def __init__(self) -> None:
        self.machines: dict[str, Instance] = {}
        self.balancers: dict[str, Balancer] = {}
        self.routes: dict[str, Route] = {}
        self.calls: list[str] = []
        #: Raised by the next calls of this name, one each.
        self.failing: dict[str, list[CloudError]] = {}
        #: While set, balancers are made only once it is.
        self.gate: asyncio.Event | None = None

    def provider(self) -> Provider:
        return Provider(name="paper", instances=_Instances(self), balancers=_Balancers(self), routes=_Routes(self))

    def add(self, name: str, **changes: object) -> None:
        self.machines[name] = instance(name, **changes)

    def note(self, call: str) -> None:
        self.calls.append(call)
        failures = self.failing.get(call.partition(" ")[0])
        if failures:
            raise failures.pop(0)

    def count(self, call: str) -> int:
        return sum(each.partition(" ")[0] == call for each in self.calls)


class _Instances:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def list(self) -> Sequence[Instance]:
        self._cloud.note("instances")
        return list(self._cloud.machines.values())


class _Balancers:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def names(self) -> Mapping[str, Key]:
        self._cloud.note("names")
        return {name: each.service for name, each in self._cloud.balancers.items()}

    async def ensure(self, wanted: Balancer) -> Ensured:
        self._cloud.note(f"ensure {wanted.name}")
        if self._cloud.gate:
            await self._cloud.gate.wait()
        changed = self._cloud.balancers.get(wanted.name) != wanted
        self._cloud.balancers[wanted.name] = wanted
        return Ensured(({"ip": "198.51.100.7", "ipMode": "VIP"},), ("changed",) if changed else ())

    async def delete(self, name: str) -> bool:
        self._cloud.note(f"delete {name}")
        return self._cloud.balancers.pop(name, None) is not None


class _Routes:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def list(self, machines: Sequence[Instance]) -> Sequence[Route]:
        self._cloud.note("routes")
        return list(self._cloud.routes.values())

    async def create(self, route: Route, machines: Sequence[Instance]) -> None:
        self._cloud.note(f"create-route {route.cidr}")
        self._cloud.routes[route.cidr] = route

    async def delete(self, route: Route) -> None:
        self._cloud.note(f"delete-route {route.cidr}")
        self._cloud.routes.pop(route.cidr, None)


@asynccontextmanager
async def running(cloud: Cloud, *, before: Sequence[Object] = ()) -> AsyncIterator[World]:
    """The controllers over this cloud, in a world that has some objects already."""
    provider, clock = cloud.provider(), Ticking()
    config = controllers.Config(
        provider=provider, machines=Machines(provider, clock), cluster_cidrs=("10.244.0.0/16",), clock=clock
    )
    made = World(controllers.load(config), clock=clock)
    for obj in before:
        made.api.put(obj)
    async with Group() as group:
        group.start(made.manager.run())
        await made.settle()
        yield made
        group.cancel()


def node(name: str, *, new: bool = False, ready: bool = True, cidr: str = "") -> Object:
    """A node as its kubelet made it: new means that its cloud has not seen it."""
    taint = {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"}
    spec: Object = {"taints": [taint]} if new else {"providerID": f"paper:///z1/i-{name}"}
    spec |= {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {}},
        "spec": spec,
        "status": {
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": name}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        },
    }


def service(name: str = "web", **spec: object) -> Object:
    """A Service of type LoadBalancer."""
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": ports, **spec},
    }
