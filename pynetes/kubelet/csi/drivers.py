"""The CSI drivers that have registered on this node."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from pynetes.kubelet import rootdir
from pynetes.kubelet.csi.nodeinfo import NodeInfo
from pynetes.kubelet.plugins.registry import Plugin, Refused
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver

STAGE, EXPAND, STATS, MOUNT_GROUP, FINE_MODES = (
    "STAGE_UNSTAGE_VOLUME",
    "EXPAND_VOLUME",
    "GET_VOLUME_STATS",
    "VOLUME_MOUNT_GROUP",
    "SINGLE_NODE_MULTI_WRITER",
)


@dataclass(frozen=True, kw_only=True)
class Registered:
    """A driver in use: its client, the node's ID in its words, and what its node service can do."""

    driver: Driver
    node_id: str
    capabilities: frozenset[str]
    socket: str
    #: Where the driver says that it serves: tells which name of the kubelet's root it knows.
    endpoint: str

    @property
    def name(self) -> str:
        """The driver's name."""
        return self.driver.name


class Drivers:
    """Drivers by name; the handler of plugins of type CSIPlugin."""

    def __init__(self, info: NodeInfo, root: Path, *, timeout: float) -> None:
        self._info, self._root, self._timeout = info, root, timeout
        self._drivers: dict[str, Registered] = {}
        self._changed = asyncio.Event()

    async def register(self, plugin: Plugin) -> None:
        """Ask the driver about this node, publish the answer, and use the driver from now on."""
        if not any(version.removeprefix("v").startswith("1.") for version in plugin.versions):
            raise Refused(f"driver {plugin.name} speaks CSI {', '.join(plugin.versions) or '?'}, the kubelet 1.x")
        driver = Driver(
            rootdir.real(plugin.endpoint, self._root), name=plugin.name, source="kubelet", timeout=self._timeout
        )
        try:
            info = await driver.node("NodeGetInfo", pb.NodeGetInfoRequest())
            if not info.node_id:
                raise Refused(f"driver {plugin.name} gives no node ID")
            capabilities = await driver.node_capabilities()
            await self._info.publish(plugin.name, info)
        except BaseException:
            await driver.close()
            raise
        before = self._drivers.get(plugin.name)
        self._drivers[plugin.name] = Registered(
            driver=driver,
            node_id=info.node_id,
            capabilities=capabilities,
            socket=plugin.socket,
            endpoint=plugin.endpoint,
        )
        self._changed.set()
        self._changed = asyncio.Event()
        if before is not None:
            await before.driver.close()

    async def deregister(self, plugin: Plugin) -> None:
        """Forget the driver, unless another socket serves it meanwhile."""
        known = self._drivers.get(plugin.name)
        if known is not None and known.socket != plugin.socket:
            return
        if known is not None:
            del self._drivers[plugin.name]
            await known.driver.close()
        # Though it was never used: it may have ended while it was being published.
        await self._info.withdraw(plugin.name)

    def get(self, name: str) -> Registered:
        """A driver. Raises VolumeFailure while it has not registered."""
        found = self._drivers.get(name)
        if found is None:
            raise VolumeFailure(f"driver name {name} not found in the list of registered CSI drivers")
        return found

    async def wait(self, name: str, seconds: float) -> Registered:
        """A driver, which may take a moment to register: right after a start of the kubelet. Raises VolumeFailure."""
        try:
            async with asyncio.timeout(seconds):
                while name not in self._drivers:
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self.get(name)

    async def change(self) -> None:
        """Until another driver has registered."""
        await self._changed.wait()

    async def close(self) -> None:
        """Close all channels."""
        for one in self._drivers.values():
            await one.driver.close()
