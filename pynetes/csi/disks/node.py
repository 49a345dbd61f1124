"""The Node service: a disk that was attached to this instance reaches the instance's pods.

Which device it is stands in the publish context, under the name that the controller gave it. A disk that is blank gets
its filesystem when it is first staged; one that holds anything else is never made anew. What is true is read from the
kernel every time, never remembered.
"""

import asyncio
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from pynetes.csi import publishing
from pynetes.csi.local import filesystem, loop, requests
from pynetes.csi.local.requests import require
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure

_RPC = pb.NodeServiceCapability.RPC
CAPABILITIES = (_RPC.STAGE_UNSTAGE_VOLUME, _RPC.GET_VOLUME_STATS, _RPC.EXPAND_VOLUME, _RPC.SINGLE_NODE_MULTI_WRITER)
#: The publish context's word for the device, as the EBS CSI driver has it.
DEVICE = "devicePath"
#: Where udev shows NVMe disks by their serial number: EBS volumes have other names there than they were attached by.
BY_ID = Path("/dev/disk/by-id")
#: A disk whose beginning is zeros was never written.
BEGINNING = 1 << 20


class Instance(NamedTuple):
    """The machine, as its cloud calls it, and where it is."""

    id: str
    topology: Mapping[str, str]


def device_of(volume: str, context: Mapping[str, str], *, by_id: Path = BY_ID) -> Path:
    """The block device of a volume. Raises NOT_FOUND while it is not there."""
    told = context.get(DEVICE, "")
    require(publish_context=told)
    serial = volume.replace("-", "")
    for path in (by_id / f"nvme-Amazon_Elastic_Block_Store_{serial}", Path(told)):
        if path.exists() and stat.S_ISBLK(path.stat().st_mode):
            return path.resolve()
    raise Failure("NOT_FOUND", f"the volume {volume} is not at {told}, where it was attached")


def is_blank(device: Path) -> bool:
    """Whether the disk's beginning was never written."""
    with device.open("rb") as file:
        return not any(file.read(BEGINNING))


class Node:
    """See the module. most: how many volumes the instance may have, 0 is any number."""

    def __init__(self, instance: Instance, *, most: int = 0) -> None:
        self._instance, self._most = instance, most
        self._busy: set[str] = set()

    @asynccontextmanager
    async def _alone(self, volume: str) -> AsyncIterator[None]:
        """Raises ABORTED while another call is at work on the volume."""
        if volume in self._busy:
            raise Failure("ABORTED", f"an operation on {volume} is under way")
        self._busy.add(volume)
        try:
            yield
        finally:
            self._busy.discard(volume)

    async def node_get_capabilities(self, request: pb.NodeGetCapabilitiesRequest) -> pb.NodeGetCapabilitiesResponse:
        """What this driver can do on a node."""
        found = [pb.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES]
        return pb.NodeGetCapabilitiesResponse(capabilities=found)

    async def node_get_info(self, request: pb.NodeGetInfoRequest) -> pb.NodeGetInfoResponse:
        """The instance's ID, by which disks are attached to it, and its zone."""
        return pb.NodeGetInfoResponse(
            node_id=self._instance.id,
            max_volumes_per_node=self._most,
            accessible_topology=pb.Topology(segments=self._instance.topology),
        )

    async def node_stage_volume(self, request: pb.NodeStageVolumeRequest) -> pb.NodeStageVolumeResponse:
        """Mount the disk's filesystem, made first on a blank disk, and grown to the disk's size."""
        require(
            volume_id=request.volume_id,
            staging_target_path=request.staging_target_path,
            volume_capability=request.HasField("volume_capability"),
        )
        requests.check_capabilities([request.volume_capability])
        async with self._alone(request.volume_id):
            device = device_of(request.volume_id, request.publish_context)
            if request.volume_capability.HasField("mount"):
                await self._mount(device, Path(request.staging_target_path), request.volume_capability)
        return pb.NodeStageVolumeResponse()

    async def _mount(self, device: Path, target: Path, capability: pb.VolumeCapability) -> None:
        mounted = filesystem.mounted_at(target)
        if mounted is not None:
            if not publishing.is_on(mounted, device):
                raise Failure("FAILED_PRECONDITION", f"{target} has another volume mounted: {mounted.source}")
            return
        fs_type = capability.mount.fs_type or "ext4"
        options = list(capability.mount.mount_flags)
        if capability.access_mode.mode in requests.READ_ONLY_MODES:
            options.append("ro")
        if not filesystem.mounts_of(device):
            await self._prepare(device, fs_type)
        target.mkdir(parents=True, exist_ok=True)
        await filesystem.mount(device, target, fs_type, options)

    async def _prepare(self, device: Path, fs_type: str) -> None:
        if not await asyncio.to_thread(filesystem.superblock_bytes, device):
            if not await asyncio.to_thread(is_blank, device):
                raise Failure("INTERNAL", f"{device} holds something that is no filesystem of ours; it stays as it is")
            await filesystem.make(device, fs_type)
            return
        grows = filesystem.superblock_bytes(device) + requests.GRAIN <= loop.size(device)
        if grows or not filesystem.is_clean(device):
            await filesystem.check(device, thoroughly=grows)
        if grows:
            await filesystem.grow(device)

    async def node_unstage_volume(self, request: pb.NodeUnstageVolumeRequest) -> pb.NodeUnstageVolumeResponse:
        """Unmount; the device is the cloud's to take."""
        require(volume_id=request.volume_id, staging_target_path=request.staging_target_path)
        async with self._alone(request.volume_id):
            await filesystem.unmount(Path(request.staging_target_path))
        return pb.NodeUnstageVolumeResponse()

    async def node_publish_volume(self, request: pb.NodePublishVolumeRequest) -> pb.NodePublishVolumeResponse:
        """Bind a staged volume to where a pod will see it."""
        require(
            volume_id=request.volume_id,
            target_path=request.target_path,
            volume_capability=request.HasField("volume_capability"),
        )
        requests.check_capabilities([request.volume_capability])
        if not request.staging_target_path:
            raise Failure("FAILED_PRECONDITION", "staging_target_path is missing: volumes are staged first")
        async with self._alone(request.volume_id):
            device = device_of(request.volume_id, request.publish_context)
            block = request.volume_capability.HasField("block")
            staged = filesystem.mounted_at(Path(request.staging_target_path))
            if not block and (staged is None or not publishing.is_on(staged, device)):
                raise Failure("FAILED_PRECONDITION", f"volume {request.volume_id} is not staged")
            source = device if block else Path(request.staging_target_path)
            await publishing.bind(source, device, Path(request.target_path), request)
        return pb.NodePublishVolumeResponse()

    async def node_unpublish_volume(self, request: pb.NodeUnpublishVolumeRequest) -> pb.NodeUnpublishVolumeResponse:
        """The pod has it no more."""
        require(volume_id=request.volume_id, target_path=request.target_path)
        async with self._alone(request.volume_id):
            await filesystem.unmount(Path(request.target_path))
            await asyncio.to_thread(publishing.remove, Path(request.target_path))
        return pb.NodeUnpublishVolumeResponse()

    async def node_get_volume_stats(self, request: pb.NodeGetVolumeStatsRequest) -> pb.NodeGetVolumeStatsResponse:
        """Bytes and inodes of the volume at a path; of a device its bytes."""
        require(volume_id=request.volume_id, volume_path=request.volume_path)
        path = Path(request.volume_path)
        device = _device_at(path)
        if device is not None:
            size = await asyncio.to_thread(loop.size, device)
            return pb.NodeGetVolumeStatsResponse(usage=[pb.VolumeUsage(unit=pb.VolumeUsage.Unit.BYTES, total=size)])
        if filesystem.mounted_at(path) is None:
            raise Failure("NOT_FOUND", f"volume {request.volume_id} is not at {path}")
        return pb.NodeGetVolumeStatsResponse(usage=await publishing.usage(path))

    async def node_expand_volume(self, request: pb.NodeExpandVolumeRequest) -> pb.NodeExpandVolumeResponse:
        """The filesystem takes up what the cloud has added to its disk, with the pod at work."""
        require(volume_id=request.volume_id, volume_path=request.volume_path)
        path = Path(request.volume_path)
        async with self._alone(request.volume_id):
            device = _device_at(path)
            if device is not None:
                return pb.NodeExpandVolumeResponse(capacity_bytes=await asyncio.to_thread(loop.size, device))
            mounted = filesystem.mounted_at(path)
            if mounted is None:
                raise Failure("NOT_FOUND", f"volume {request.volume_id} is not at {path}")
            device = Path(mounted.source)
            size = await asyncio.to_thread(loop.size, device)
            if filesystem.superblock_bytes(device) + requests.GRAIN <= size:
                if not filesystem.can_grow_mounted():
                    detail = "without CAP_SYS_RESOURCE it grows when the next pod mounts it"
                    raise Failure("FAILED_PRECONDITION", f"volume {request.volume_id} is in use, and {detail}")
                await filesystem.grow(device)
        return pb.NodeExpandVolumeResponse(capacity_bytes=size)


def _device_at(path: Path) -> Path | None:
    """The device that a path is, or leads to; None for a folder. Raises NOT_FOUND when there is nothing."""
    if not path.exists():
        raise Failure("NOT_FOUND", f"there is nothing at {path}")
    return path.resolve() if stat.S_ISBLK(path.stat().st_mode) else None
