"""When Gateways are told: not before nginx serves them. Without nginx."""

import asyncio
from collections.abc import Iterable, Mapping

from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.apis.core import namespaces, secrets, services
from pynetes.apis.discovery import endpointslices
from pynetes.apis.networking import ingressclasses, ingresses
from pynetes.client.fake import FakeAPI
from pynetes.client.informer import InformerFactory
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group
from pynetes.ingress.controller import Controller
from pynetes.ingress.gateway import kinds
from pynetes.ingress.ingresses import Cluster
from pynetes.ingress.nginx.configuration import Settings
from pynetes.ingress.nginx.server import Nginx
from pynetes.machinery.meta import Key
from tests.ingress.gateway_world import World

WATCHED = (
    customresourcedefinitions.RESOURCE, namespaces.RESOURCE, secrets.RESOURCE, services.RESOURCE,
    endpointslices.RESOURCE, ingressclasses.RESOURCE, ingresses.RESOURCE, *kinds.ALL,
)  # fmt: skip


class SlowNginx(Nginx):
    """Takes over settings when it is let."""

    def __init__(self) -> None:
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def apply(self, settings: Settings) -> bool:
        """Wait."""
        self.asked.set()
        await self.let.wait()
        return True

    async def feed(self, tables: Mapping[str, bytes], changed: Iterable[str]) -> int:
        """All of them."""
        return len(list(changed))

    def forget(self) -> None:
        """There is nothing."""


async def test_gateways_are_told_when_nginx_serves_them() -> None:
    """While nginx still takes over a port, what is told is what it served before."""
    world, api, nginx = World(), FakeAPI(custom=kinds.ALL), SlowNginx()
    for resource, obj in (
        (kinds.GATEWAY_CLASSES, world.classes[0]),
        *((kinds.GATEWAYS, each) for each in world.gateways.values()),
    ):
        api.put({"apiVersion": resource.api_version, **obj})
    async with Group() as group:
        informers = InformerFactory(api.client(), clock=SystemClock(), group=group)
        cluster = Cluster(lambda _: None, lambda _: None)
        controller = Controller(informers, nginx, Settings(listeners=()), cluster, certificate=None)
        for resource in WATCHED:
            await informers.informer(resource).wait_synced()
        controller.follow()
        controller.follow_gateways()
        taking = group.start(controller.take_over())
        await nginx.asked.wait()
        assert not controller.served.known
        nginx.let.set()
        await taking
        assert controller.served.ports.keys() == {(Key("default", "gw"), 80)}
