"""The control side as a component: wait for the driver, win the election, run the controllers."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pynetes.client.controller import Controller
from pynetes.client.leaderelection import LeaderElector
from pynetes.client.manager import Manager
from pynetes.client.rest import Client
from pynetes.component import logs
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.health import Checks
from pynetes.csi.controller.attacher import Attacher
from pynetes.csi.controller.capacity import Capacity
from pynetes.csi.controller.plugin import Plugin, connect
from pynetes.csi.controller.provisioner import Provisioner
from pynetes.csi.controller.resizer import Resizer
from pynetes.csi.controller.snapshotter import Snapshotter
from pynetes.rpc.csi.driver import Driver

#: Seconds until a driver that does not answer ends the component, whose supervisor tries again.
DRIVER_DEADLINE = 60.0
_LOG = logging.getLogger(__name__)


def controllers(plugin: Plugin) -> tuple[Controller, ...]:
    """What the driver's abilities call for."""
    made: list[Controller] = []
    if "CREATE_DELETE_VOLUME" in plugin.can:
        made += Provisioner(plugin).controllers()
    if "GET_CAPACITY" in plugin.can:
        made += Capacity(plugin).controllers()
    if "CREATE_DELETE_SNAPSHOT" in plugin.can:
        made += Snapshotter(plugin).controllers()
    made += Resizer(plugin).controllers()
    made += Attacher(plugin).controllers()
    return tuple(made)


def lease_name(plugin: Plugin) -> str:
    """One instance per driver works; of a local driver one per place."""
    place = "-".join(value[:12].lower() for _, value in sorted((plugin.place or {}).items()))
    return f"csi-{plugin.finalizer}{f'-{place}' if place else ''}"


@asynccontextmanager
async def connected(socket: str | Path, *, local: bool, node: str) -> AsyncIterator[Plugin]:
    """The driver at a socket, once it is ready."""
    driver = Driver(socket, source="csi-controller")
    try:
        await driver.wait_ready(deadline=DRIVER_DEADLINE)
        yield await connect(driver, local=local, node=node)
    finally:
        await driver.close()


async def run(plugin: Plugin, client: Client, *, elect: bool, checks: Checks, clock: Clock | None = None) -> None:
    """Control until cancelled."""
    clock = clock or SystemClock()
    manager = Manager(client, controllers(plugin), clock=clock)
    elector = LeaderElector(client, lease_name(plugin), clock=clock)
    checks.ready("caches", lambda: manager.unsynced() if elector.leading or not elect else None)
    _LOG.info(logs.fact("controlling", driver=plugin.name, can=" ".join(sorted(plugin.can)), place=plugin.place or ""))
    await (elector.run(manager.run) if elect else manager.run())
