"""A driver to try: ours on a folder of the test's own, or whichever PYNETES_CSI_ENDPOINT names."""

import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pynetes.csi.local import driver as local
from pynetes.csi.local import filesystem, loop
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver, capability

MIB = 1 << 20
MOUNT = capability(["ReadWriteOnce"], fs_type="ext4")
BLOCK = capability(["ReadWriteOnce"], block=True)


@dataclass
class Bench:
    """A driver under test, where it may mount, and what it can do."""

    driver: Driver
    folder: Path
    node: str
    controller: frozenset[str]
    on_node: frozenset[str]
    made: list[str] = field(default_factory=list)

    async def create(self, name: str = "", *, size: int = 32 * MIB, cap: pb.VolumeCapability = MOUNT) -> pb.Volume:
        """A volume."""
        request = pb.CreateVolumeRequest(
            name=name or f"test-{uuid.uuid4()}",
            capacity_range=pb.CapacityRange(required_bytes=size),
            volume_capabilities=[cap],
        )
        volume: pb.Volume = (await self.driver.controller("CreateVolume", request)).volume
        self.made.append(volume.volume_id)
        return volume

    async def publish(self, volume: pb.Volume, *, cap: pb.VolumeCapability = MOUNT, readonly: bool = False) -> None:
        """Let the node use a volume."""
        if "PUBLISH_UNPUBLISH_VOLUME" in self.controller:
            request = pb.ControllerPublishVolumeRequest(
                volume_id=volume.volume_id, node_id=self.node, volume_capability=cap, readonly=readonly
            )
            await self.driver.controller("ControllerPublishVolume", request)

    def staging(self, volume: pb.Volume) -> Path:
        """Where a volume is staged; exists."""
        path = self.folder / "staging" / volume.volume_id
        path.mkdir(parents=True, exist_ok=True)
        return path

    def target(self, volume: pb.Volume, pod: str = "pod") -> Path:
        """Where a pod sees a volume; its parent exists."""
        path = self.folder / pod / volume.volume_id
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    async def stage(self, volume: pb.Volume, *, cap: pb.VolumeCapability = MOUNT) -> None:
        """NodeStageVolume."""
        request = pb.NodeStageVolumeRequest(
            volume_id=volume.volume_id,
            staging_target_path=str(self.staging(volume)),
            volume_capability=cap,
            volume_context=volume.volume_context,
        )
        await self.driver.node("NodeStageVolume", request)

    async def bind(
        self, volume: pb.Volume, pod: str = "pod", *, cap: pb.VolumeCapability = MOUNT, readonly: bool = False
    ) -> Path:
        """NodePublishVolume."""
        target = self.target(volume, pod)
        request = pb.NodePublishVolumeRequest(
            volume_id=volume.volume_id,
            staging_target_path=str(self.staging(volume)),
            target_path=str(target),
            volume_capability=cap,
            readonly=readonly,
            volume_context=volume.volume_context,
        )
        await self.driver.node("NodePublishVolume", request)
        return target

    async def unbind(self, volume: pb.Volume, pod: str = "pod") -> None:
        """NodeUnpublishVolume."""
        request = pb.NodeUnpublishVolumeRequest(volume_id=volume.volume_id, target_path=str(self.target(volume, pod)))
        await self.driver.node("NodeUnpublishVolume", request)

    async def unstage(self, volume: pb.Volume) -> None:
        """NodeUnstageVolume."""
        request = pb.NodeUnstageVolumeRequest(volume_id=volume.volume_id, staging_target_path=str(self.staging(volume)))
        await self.driver.node("NodeUnstageVolume", request)

    async def unpublish(self, volume: pb.Volume) -> None:
        """ControllerUnpublishVolume."""
        if "PUBLISH_UNPUBLISH_VOLUME" in self.controller:
            request = pb.ControllerUnpublishVolumeRequest(volume_id=volume.volume_id, node_id=self.node)
            await self.driver.controller("ControllerUnpublishVolume", request)

    async def use(self, volume: pb.Volume, *, cap: pb.VolumeCapability = MOUNT) -> Path:
        """All steps until a pod has a volume."""
        await self.publish(volume, cap=cap)
        await self.stage(volume, cap=cap)
        return await self.bind(volume, cap=cap)

    async def release(self, volume: pb.Volume) -> None:
        """All steps back."""
        await self.unbind(volume)
        await self.unstage(volume)
        await self.unpublish(volume)

    async def delete(self, volume: pb.Volume) -> None:
        """DeleteVolume."""
        await self.driver.controller("DeleteVolume", pb.DeleteVolumeRequest(volume_id=volume.volume_id))


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on the real disk; whatever a test leaves mounted or attached below it is removed."""
    folder = Path(tempfile.mkdtemp(prefix="pynetes-csi-", dir="/var/tmp"))
    yield folder
    for mount in reversed([one for one in filesystem.mounts() if one.target.startswith(f"{folder}/")]):
        os.system(f"umount -l '{mount.target}'")
    for image in folder.glob("**/image"):
        loop.detach(image)
    shutil.rmtree(folder)


@pytest.fixture
async def bench(disk: Path) -> AsyncIterator[Bench]:
    """The driver under test."""
    endpoint = os.environ.get("PYNETES_CSI_ENDPOINT", "")
    if endpoint:
        async for made in _bench(endpoint, disk):
            yield made
        return
    config = local.Config(socket=disk / "csi.sock", volumes=disk / "volumes", node="node-1")
    async with local.serving(config):
        async for made in _bench(str(config.socket), disk):
            yield made


async def _bench(endpoint: str, folder: Path) -> AsyncIterator[Bench]:
    client = Driver(endpoint, source="test")
    await client.wait_ready(deadline=5.0)
    info = await client.node("NodeGetInfo", pb.NodeGetInfoRequest())
    yield Bench(client, folder, info.node_id, await client.controller_capabilities(), await client.node_capabilities())
    await client.close()
