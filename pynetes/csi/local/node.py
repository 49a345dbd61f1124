"""The Node service: volumes of this machine reach the pods of one of its nodes.

Staging mounts a volume once per node; publishing binds that to a pod. What is true is read from the kernel's list of
mounts every time, never remembered: a driver that was killed in the middle goes on where the kernel is.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from pynetes.csi import publishing
from pynetes.csi.local import TOPOLOGY_KEY, filesystem, loop, requests
from pynetes.csi.local.controller import Controller, condition, tune
from pynetes.csi.local.requests import alone, found_volume, require
from pynetes.csi.local.store import Store, Volume, volume_id
from pynetes.machinery import quantity
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure

_RPC = pb.NodeServiceCapability.RPC
CAPABILITIES = (
    _RPC.STAGE_UNSTAGE_VOLUME,
    _RPC.GET_VOLUME_STATS,
    _RPC.EXPAND_VOLUME,
    _RPC.VOLUME_CONDITION,
    _RPC.SINGLE_NODE_MULTI_WRITER,
)
#: Set by the kubelet for a volume that is written in the pod itself.
EPHEMERAL = "csi.storage.k8s.io/ephemeral"


class Node:
    """See the module. `name` is the node's, most how many volumes it may have (0: any number)."""

    def __init__(self, store: Store, controller: Controller, *, name: str, most: int = 0) -> None:
        self._store, self._controller, self._name, self._most = store, controller, name, most

    async def node_get_capabilities(self, request: pb.NodeGetCapabilitiesRequest) -> pb.NodeGetCapabilitiesResponse:
        """What this driver can do on a node."""
        found = [pb.NodeServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES]
        return pb.NodeGetCapabilitiesResponse(capabilities=found)

    async def node_get_info(self, request: pb.NodeGetInfoRequest) -> pb.NodeGetInfoResponse:
        """The node's ID, and the machine that it is a part of."""
        return pb.NodeGetInfoResponse(
            node_id=self._name,
            max_volumes_per_node=self._most,
            accessible_topology=pb.Topology(segments={TOPOLOGY_KEY: self._store.machine}),
        )

    async def node_stage_volume(self, request: pb.NodeStageVolumeRequest) -> pb.NodeStageVolumeResponse:
        """Give the volume its device, and mount its filesystem where it is asked for."""
        require(
            volume_id=request.volume_id,
            staging_target_path=request.staging_target_path,
            volume_capability=request.HasField("volume_capability"),
        )
        requests.check_capabilities([request.volume_capability])
        async with alone(self._store, request.volume_id):
            volume = found_volume(self._store, request.volume_id)
            _check_kind(volume, request.volume_capability)
            device = await asyncio.to_thread(loop.attach, self._store.image(volume))
            tune(device, volume.mutable)
            if not volume.block:
                await self._mount(volume, device, Path(request.staging_target_path), request.volume_capability)
        return pb.NodeStageVolumeResponse()

    async def _mount(self, volume: Volume, device: Path, target: Path, capability: pb.VolumeCapability) -> None:
        options = list(capability.mount.mount_flags)
        if capability.access_mode.mode in requests.READ_ONLY_MODES:
            options.append("ro")
        mounted = filesystem.mounted_at(target)
        if mounted is not None:
            if not publishing.is_on(mounted, device):
                raise Failure("FAILED_PRECONDITION", f"{target} has another volume mounted: {mounted.source}")
            if ("ro" in mounted.options.split(",")) != ("ro" in options):
                raise Failure("ALREADY_EXISTS", f"{target} is staged with another access mode")
            return
        if not filesystem.mounts_of(device):
            await self._prepare(volume, device)
        target.mkdir(parents=True, exist_ok=True)
        await filesystem.mount(device, target, volume.fs_type, options)

    async def _prepare(self, volume: Volume, device: Path) -> None:
        """A filesystem that nobody uses: whole, and as large as its device."""
        if loop.size(device) < volume.size:
            await asyncio.to_thread(loop.grow, device)
        if not filesystem.superblock_bytes(device):
            # The filesystem was made with the volume: this one has been destroyed, and is not ours to make anew.
            raise Failure("INTERNAL", f"volume {volume.id} has no filesystem any more")
        grows = filesystem.superblock_bytes(device) + requests.GRAIN <= loop.size(device)
        if grows or not filesystem.is_clean(device):
            await filesystem.check(device, thoroughly=grows)
        if grows:
            await filesystem.grow(device)

    async def node_unstage_volume(self, request: pb.NodeUnstageVolumeRequest) -> pb.NodeUnstageVolumeResponse:
        """Unmount; the device goes with its last user."""
        require(volume_id=request.volume_id, staging_target_path=request.staging_target_path)
        async with alone(self._store, request.volume_id):
            await filesystem.unmount(Path(request.staging_target_path))
            volume = self._store.volume(request.volume_id)
            if volume is not None:
                await asyncio.to_thread(self._release, volume)
        return pb.NodeUnstageVolumeResponse()

    def _release(self, volume: Volume) -> None:
        image = self._store.image(volume)
        device = loop.find(image)
        if device is not None and not filesystem.users_of(device):
            loop.detach(image)

    async def node_publish_volume(self, request: pb.NodePublishVolumeRequest) -> pb.NodePublishVolumeResponse:
        """Bind a staged volume to where a pod will see it."""
        require(
            volume_id=request.volume_id,
            target_path=request.target_path,
            volume_capability=request.HasField("volume_capability"),
        )
        requests.check_capabilities([request.volume_capability])
        if request.volume_context.get(EPHEMERAL) == "true":
            await self._publish_ephemeral(request)
            return pb.NodePublishVolumeResponse()
        if not request.staging_target_path:
            raise Failure("FAILED_PRECONDITION", "staging_target_path is missing: volumes are staged first")
        async with alone(self._store, request.volume_id):
            volume = found_volume(self._store, request.volume_id)
            _check_kind(volume, request.volume_capability)
            device = loop.find(self._store.image(volume))
            staged = filesystem.mounted_at(Path(request.staging_target_path))
            if device is None or (not volume.block and (staged is None or not publishing.is_on(staged, device))):
                raise Failure("FAILED_PRECONDITION", f"volume {volume.id} is not staged")
            source = device if volume.block else Path(request.staging_target_path)
            await publishing.bind(source, device, Path(request.target_path), request)
        return pb.NodePublishVolumeResponse()

    async def _publish_ephemeral(self, request: pb.NodePublishVolumeRequest) -> None:
        """A volume that lives and dies with its pod: made, mounted and published in one."""
        if request.volume_capability.HasField("block"):
            raise Failure("INVALID_ARGUMENT", "volume_capability: a volume written in a pod is a filesystem")
        size = requests.size_of(pb.CapacityRange(required_bytes=_size(request.volume_context)))
        identity, target = volume_id(request.volume_id), Path(request.target_path)
        async with alone(self._store, identity):
            volume = self._store.volume(identity)
            if volume is None:
                fs_type = request.volume_capability.mount.fs_type or "ext4"
                volume = Volume(id=identity, name=request.volume_id, size=size, fs_type=fs_type, ephemeral=True)
                await self._controller.make(volume, None)
            device = await asyncio.to_thread(loop.attach, self._store.image(volume))
            mounted = filesystem.mounted_at(target)
            if mounted is not None:
                if not publishing.is_on(mounted, device):
                    raise Failure("ALREADY_EXISTS", f"{target} has something else mounted: {mounted.source}")
                return
            options = [*request.volume_capability.mount.mount_flags, *(["ro"] if request.readonly else [])]
            await self._prepare(volume, device)
            target.mkdir(parents=True, exist_ok=True)
            await filesystem.mount(device, target, volume.fs_type, options)

    async def node_unpublish_volume(self, request: pb.NodeUnpublishVolumeRequest) -> pb.NodeUnpublishVolumeResponse:
        """The pod has it no more; a volume that was the pod's own is gone."""
        require(volume_id=request.volume_id, target_path=request.target_path)
        target, own = Path(request.target_path), volume_id(request.volume_id)
        async with alone(self._store, request.volume_id, own):
            await filesystem.unmount(target)
            await asyncio.to_thread(publishing.remove, target)
            volume = self._store.volume(own)
            if volume is not None and volume.ephemeral:
                await asyncio.to_thread(self._controller.discard, volume)
        return pb.NodeUnpublishVolumeResponse()

    async def node_get_volume_stats(self, request: pb.NodeGetVolumeStatsRequest) -> pb.NodeGetVolumeStatsResponse:
        """Bytes and inodes of the volume at a path, and whether it is well."""
        require(volume_id=request.volume_id, volume_path=request.volume_path)
        volume = self._store.volume(request.volume_id) or self._store.volume(volume_id(request.volume_id))
        path = Path(request.volume_path)
        if volume is None or not path.exists():
            raise Failure("NOT_FOUND", f"volume {request.volume_id} is not at {path}")
        units = pb.VolumeUsage.Unit
        well = condition(self._store, volume)
        if volume.block:
            usage = [pb.VolumeUsage(unit=units.BYTES, total=volume.size)]
            return pb.NodeGetVolumeStatsResponse(usage=usage, volume_condition=well)
        device, mounted = loop.find(self._store.image(volume)), filesystem.mounted_at(path)
        if device is None or mounted is None or not publishing.is_on(mounted, device):
            raise Failure("NOT_FOUND", f"volume {request.volume_id} is not at {path}")
        return pb.NodeGetVolumeStatsResponse(usage=await publishing.usage(path), volume_condition=well)

    async def node_expand_volume(self, request: pb.NodeExpandVolumeRequest) -> pb.NodeExpandVolumeResponse:
        """Device and filesystem follow the image, with the pod at work."""
        require(volume_id=request.volume_id, volume_path=request.volume_path)
        async with alone(self._store, request.volume_id):
            volume = found_volume(self._store, request.volume_id)
            device = loop.find(self._store.image(volume))
            # A device may be reached through a link of the kubelet's, which is no mount.
            if device is None or not (volume.block or filesystem.mounted_at(Path(request.volume_path))):
                raise Failure("NOT_FOUND", f"volume {volume.id} is not at {request.volume_path}")
            if request.capacity_range.required_bytes > volume.size:
                raise Failure("OUT_OF_RANGE", f"volume {volume.id} has {volume.size} bytes on the disk")
            await asyncio.to_thread(loop.grow, device)
            if not volume.block and filesystem.superblock_bytes(device) + requests.GRAIN <= volume.size:
                if filesystem.mounts_of(device) and not filesystem.can_grow_mounted():
                    detail = "without CAP_SYS_RESOURCE it grows when the next pod mounts it"
                    raise Failure("FAILED_PRECONDITION", f"volume {volume.id} is in use, and {detail}")
                await filesystem.grow(device)
        return pb.NodeExpandVolumeResponse(capacity_bytes=volume.size)


def _check_kind(volume: Volume, capability: pb.VolumeCapability) -> None:
    if volume.block != capability.HasField("block"):
        raise Failure("INVALID_ARGUMENT", f"volume_capability: volume {volume.id} is of the other kind")
    if capability.mount.fs_type not in ("", volume.fs_type):
        raise Failure("INVALID_ARGUMENT", f"volume_capability: volume {volume.id} has {volume.fs_type}")


def _size(context: Mapping[str, str]) -> int:
    text = context.get("size", "")
    try:
        return quantity.parse(text).value() if text else 0
    except ValueError:
        raise Failure("INVALID_ARGUMENT", f"volume_context: size {text!r} is no quantity such as 1Gi") from None
