"""The control side at work on the fake API, with a scripted driver behind a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

from pynetes.client.fake import FakeAPI
from pynetes.client.manager import Manager
from pynetes.component.tasks import Group
from pynetes.csi.controller import app, kinds
from pynetes.csi.controller.plugin import Plugin, connect
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource
from pynetes.rpc.csi.driver import Driver
from tests.controllers.harness import Clock
from tests.csi import scripted
from tests.csi.scripted import Scripted

#: Real seconds until the test gives up on controllers that never rest; the driver is another thread's business.
PATIENCE = 10.0


class World:
    """The API, the driver, the time."""

    def __init__(self, api: FakeAPI, clock: Clock, driver: Scripted, plugin: Plugin) -> None:
        self.api, self.clock, self.driver, self.plugin = api, clock, driver, plugin
        self.manager = Manager(api.client(component="csi-controller"), app.controllers(plugin), clock=clock)

    async def settle(self) -> None:
        """Until all queues are empty and no call to the driver is under way."""
        quiet = 0
        async with asyncio.timeout(PATIENCE):
            while quiet < 8:
                await asyncio.sleep(0.001)
                quiet = quiet + 1 if self.manager.idle else 0

    async def put(self, *objects: Object) -> None:
        """Store objects, then settle."""
        for obj in objects:
            self.api.put(deepcopy(obj))
        await self.settle()

    async def advance(self, seconds: float) -> None:
        """Let time pass, then settle."""
        self.clock.advance(seconds)
        await self.settle()

    def find(self, resource: Resource, name: str, namespace: str = "default") -> Object | None:
        """An object, or None."""
        return self.api.get(resource, Key(namespace if resource.namespaced else "", name))

    def get(self, resource: Resource, name: str, namespace: str = "default") -> Object:
        """An object that must be there."""
        found = self.find(resource, name, namespace)
        assert found is not None, f"no {resource.qualified} {name}"
        return found

    async def edit(self, resource: Resource, name: str, change: Callable[[Any], object]) -> None:
        """Change an object as a user would, then settle."""
        obj = deepcopy(self.get(resource, name))
        change(obj)
        await self.put(obj)

    async def delete(self, resource: Resource, name: str) -> None:
        """Delete as a user would, finalizers and all, then settle."""
        await self.api.client().delete(resource, Key("default" if resource.namespaced else "", name))
        await self.settle()


@asynccontextmanager
async def controlling(folder: Path, *, place: dict[str, str] | None = None) -> AsyncIterator[World]:
    """A world whose control side runs; with a place it is a local one's."""
    clock = Clock()
    api = FakeAPI(clock=clock, custom=(kinds.SNAPSHOTS, kinds.CONTENTS, kinds.CLASSES))
    async with scripted.serving(folder) as (driver, socket), Group() as group:
        client = Driver(socket, source="test")
        plugin = await connect(client)
        if place is not None:
            plugin = Plugin(client, plugin.name, plugin.services, plugin.can, place, "n1")
        world = World(api, clock, driver, plugin)
        group.start(world.manager.run())
        await world.settle()
        yield world
        group.cancel()
        await client.close()
