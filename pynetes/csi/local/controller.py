"""The Controller service: volumes and snapshots of this machine come, grow and go.

All of it works on files; only the freezing for a snapshot looks at mounts. Whoever asks twice gets the same answer.
"""

import asyncio
import errno
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pynetes.component.command import CommandError
from pynetes.csi.local import TOPOLOGY_KEY, filesystem, images, loop, requests
from pynetes.csi.local.requests import alone, found_snapshot, found_volume, require
from pynetes.csi.local.store import Busy, Snapshot, Store, Volume, snapshot_id, volume_id
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure

_RPC = pb.ControllerServiceCapability.RPC
CAPABILITIES = (
    _RPC.CREATE_DELETE_VOLUME,
    _RPC.PUBLISH_UNPUBLISH_VOLUME,
    _RPC.LIST_VOLUMES,
    _RPC.LIST_VOLUMES_PUBLISHED_NODES,
    _RPC.GET_CAPACITY,
    _RPC.CREATE_DELETE_SNAPSHOT,
    _RPC.LIST_SNAPSHOTS,
    _RPC.CLONE_VOLUME,
    _RPC.PUBLISH_READONLY,
    _RPC.EXPAND_VOLUME,
    _RPC.VOLUME_CONDITION,
    _RPC.GET_VOLUME,
    _RPC.SINGLE_NODE_MULTI_WRITER,
    _RPC.MODIFY_VOLUME,
    _RPC.GET_SNAPSHOT,
)
#: Parameters of a StorageClass that this driver knows; those of the csi.storage.k8s.io/ prefix say who asks.
PARAMETERS = frozenset({"thin"})
#: Parameters of a VolumeAttributesClass.
MUTABLE = frozenset({"readAheadKiB"})
_WHO_ASKS = "csi.storage.k8s.io/"


class Controller:
    """See the module."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._shares = images.can_share(store.root / "making")

    async def controller_get_capabilities(
        self, request: pb.ControllerGetCapabilitiesRequest
    ) -> pb.ControllerGetCapabilitiesResponse:
        """What this driver can do."""
        found = [pb.ControllerServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES]
        return pb.ControllerGetCapabilitiesResponse(capabilities=found)

    # Volumes.

    async def create_volume(self, request: pb.CreateVolumeRequest) -> pb.CreateVolumeResponse:
        """A new volume, or the one that was made for the same request before."""
        require(name=request.name)
        block = requests.check_capabilities(request.volume_capabilities)
        parameters = _known_parameters(request.parameters)
        mutable = known_mutable(request.mutable_parameters)
        source = self._source(request.volume_content_source)
        if source is not None and source.block != block:
            raise Failure("INVALID_ARGUMENT", "volume_content_source: a device and a filesystem do not become another")
        size = requests.size_of(request.capacity_range, least=source.size if source else 0, block=block)
        self._check_topology(request.accessibility_requirements)
        fs_type = requests.fs_type_of(request.volume_capabilities) or (source.fs_type if source else "ext4")
        wanted = Volume(
            id=volume_id(request.name),
            name=request.name,
            size=size,
            block=block,
            fs_type="" if block else fs_type,
            thin=parameters.get("thin") == "true",
            source_snapshot=source.id if isinstance(source, Snapshot) else "",
            source_volume=source.id if isinstance(source, Volume) else "",
            parameters=parameters,
            mutable=mutable,
        )
        async with alone(self._store, wanted.id, *([source.id] if source else ())):
            found = self._store.volume(wanted.id)
            if found is None:
                await self.make(wanted, source)
            else:
                self._same(found, wanted, request.capacity_range)
            return pb.CreateVolumeResponse(volume=self._shown(found or wanted))

    async def make(self, volume: Volume, source: Volume | Snapshot | None) -> None:
        """Make a volume whose lock is held. Raises RESOURCE_EXHAUSTED when the disk has no room for it."""
        try:
            with self._store.making(volume) as image:
                await asyncio.to_thread(self._place, volume, source, image)
                if source is None and not volume.block:
                    await filesystem.make(image, volume.fs_type)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise Failure("RESOURCE_EXHAUSTED", f"no room for {volume.size} bytes on the disk") from None
            raise

    def _place(self, volume: Volume, source: Volume | Snapshot | None, image: Path) -> None:
        with self._store.placing():
            available = self._store.available()
            if volume.size > available:
                raise Failure("RESOURCE_EXHAUSTED", f"{volume.size} bytes wanted, {available} left on the disk")
            if source is None:
                images.allocate(image, volume.size, thin=volume.thin)
        if source is not None:
            self._copy(source, image)
            images.allocate(image, volume.size, thin=volume.thin)

    def _copy(self, source: Volume | Snapshot, image: Path) -> None:
        """Copy an image at one moment of its life: a mounted filesystem stands still meanwhile."""
        origin = self._store.image(source)
        device = loop.find(origin) if isinstance(source, Volume) else None
        if device is None:
            images.copy(origin, image)
            return
        mounted = [Path(one.target) for one in filesystem.mounts_of(device)]
        if not mounted:
            if not self._shares and source.block:
                detail = "in use as a device on a disk that cannot copy at once; stop its pods for the time of the copy"
                raise Failure("FAILED_PRECONDITION", f"volume {source.id} is {detail}")
            images.copy(origin, image)
            return
        images.freeze(mounted[0])
        try:
            images.copy(origin, image)
        finally:
            images.freeze(mounted[0], thaw=True)

    def thaw(self) -> None:
        """Let go what a driver that was killed during a copy has frozen."""
        for volume in self._store.volumes():
            device = loop.find(self._store.image(volume))
            if device is None:
                continue
            for one in filesystem.mounts_of(device)[:1]:
                # Not frozen is the usual case, and an error; locked: another driver is copying it.
                with suppress(OSError, Busy), self._store.locked(volume.id):
                    images.freeze(Path(one.target), thaw=True)

    def _source(self, given: pb.VolumeContentSource) -> Volume | Snapshot | None:
        match given.WhichOneof("type"):
            case "snapshot":
                return found_snapshot(self._store, given.snapshot.snapshot_id)
            case "volume":
                return found_volume(self._store, given.volume.volume_id)
        return None

    def _check_topology(self, wanted: pb.TopologyRequirement) -> None:
        if wanted.requisite and not any(self._is_here(one) for one in wanted.requisite):
            raise Failure("RESOURCE_EXHAUSTED", "accessibility_requirements: none of them is this machine")

    def _is_here(self, topology: pb.Topology) -> bool:
        return topology.segments.get(TOPOLOGY_KEY, self._store.machine) == self._store.machine

    def _same(self, found: Volume, wanted: Volume, range_: pb.CapacityRange) -> None:
        """Raises ALREADY_EXISTS if the volume of this name is another than is wanted."""
        fits = range_.required_bytes <= found.size and (not range_.limit_bytes or found.size <= range_.limit_bytes)
        members = ("block", "fs_type", "thin", "source_snapshot", "source_volume", "parameters")
        differs = [name for name in members if getattr(found, name) != getattr(wanted, name)]
        if not fits:
            differs.append("size")
        if differs:
            raise Failure("ALREADY_EXISTS", f"volume {found.name!r} exists with another {', '.join(differs)}")

    def _shown(self, volume: Volume) -> pb.Volume:
        shown = pb.Volume(
            volume_id=volume.id,
            capacity_bytes=volume.size,
            accessible_topology=[pb.Topology(segments={TOPOLOGY_KEY: self._store.machine})],
        )
        if volume.source_snapshot:
            shown.content_source.snapshot.snapshot_id = volume.source_snapshot
        elif volume.source_volume:
            shown.content_source.volume.volume_id = volume.source_volume
        return shown

    async def delete_volume(self, request: pb.DeleteVolumeRequest) -> pb.DeleteVolumeResponse:
        """The volume is gone, or was. Raises FAILED_PRECONDITION while it is in use."""
        require(volume_id=request.volume_id)
        async with alone(self._store, request.volume_id):
            volume = self._store.volume(request.volume_id)
            if volume is not None:
                if volume.published:
                    nodes = ", ".join(sorted(volume.published))
                    raise Failure("FAILED_PRECONDITION", f"volume {volume.id} is published to {nodes}")
                await asyncio.to_thread(self.discard, volume)
        return pb.DeleteVolumeResponse()

    def discard(self, volume: Volume) -> None:
        """Remove a volume whose lock is held. Raises FAILED_PRECONDITION while something has it mounted."""
        image = self._store.image(volume)
        if (device := loop.find(image)) is not None:
            if used := filesystem.users_of(device):
                raise Failure("FAILED_PRECONDITION", f"volume {volume.id} is still used at {used[0]}")
            loop.detach(image)
        self._store.remove(volume)

    async def controller_publish_volume(
        self, request: pb.ControllerPublishVolumeRequest
    ) -> pb.ControllerPublishVolumeResponse:
        """The node may use the volume from now on."""
        require(volume_id=request.volume_id, node_id=request.node_id)
        requests.check_capabilities([request.volume_capability])
        async with alone(self._store, request.volume_id):
            volume = found_volume(self._store, request.volume_id)
            if not self._store.has_node(request.node_id):
                raise Failure("NOT_FOUND", f"node {request.node_id} is none of this machine")
            if volume.block != request.volume_capability.HasField("block"):
                raise Failure("INVALID_ARGUMENT", "volume_capability: the volume is of the other kind")
            if volume.published.get(request.node_id, request.readonly) != request.readonly:
                raise Failure("ALREADY_EXISTS", f"volume {volume.id} is published to {request.node_id} differently")
            others = set(volume.published) - {request.node_id}
            if others and request.volume_capability.access_mode.mode not in requests.MULTI_NODE_MODES:
                raise Failure("FAILED_PRECONDITION", f"volume {volume.id} is published to {', '.join(sorted(others))}")
            if request.node_id not in volume.published:
                published = {**volume.published, request.node_id: request.readonly}
                self._store.change(volume, published=published)
        return pb.ControllerPublishVolumeResponse()

    async def controller_unpublish_volume(
        self, request: pb.ControllerUnpublishVolumeRequest
    ) -> pb.ControllerUnpublishVolumeResponse:
        """The node, or without one every node, must not use the volume any more."""
        require(volume_id=request.volume_id)
        async with alone(self._store, request.volume_id):
            volume = self._store.volume(request.volume_id)
            if volume is not None:
                left = {name: how for name, how in volume.published.items() if request.node_id not in ("", name)}
                if left != volume.published:
                    self._store.change(volume, published=left)
        return pb.ControllerUnpublishVolumeResponse()

    async def validate_volume_capabilities(
        self, request: pb.ValidateVolumeCapabilitiesRequest
    ) -> pb.ValidateVolumeCapabilitiesResponse:
        """Whether a volume has what is asked; why not, in the message."""
        volume = found_volume(self._store, request.volume_id)
        require(volume_capabilities=list(request.volume_capabilities))
        for one in request.volume_capabilities:
            problem = requests.capability_problem(one)
            if not problem and one.HasField("block") != volume.block:
                problem = "the volume is of the other kind"
            if not problem and one.mount.fs_type not in ("", volume.fs_type):
                problem = f"the volume has {volume.fs_type}"
            if problem:
                return pb.ValidateVolumeCapabilitiesResponse(message=problem)
        confirmed = pb.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
        )
        return pb.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    async def list_volumes(self, request: pb.ListVolumesRequest) -> pb.ListVolumesResponse:
        """All volumes, by ID."""
        volumes = {one.id: one for one in self._store.volumes()}
        taken, token = requests.page(sorted(volumes), request.starting_token, request.max_entries)
        entries = [
            pb.ListVolumesResponse.Entry(
                volume=self._shown(volumes[identity]),
                status=pb.ListVolumesResponse.VolumeStatus(
                    published_node_ids=sorted(volumes[identity].published),
                    volume_condition=condition(self._store, volumes[identity]),
                ),
            )
            for identity in taken
        ]
        return pb.ListVolumesResponse(entries=entries, next_token=token)

    async def controller_get_volume(self, request: pb.ControllerGetVolumeRequest) -> pb.ControllerGetVolumeResponse:
        """One volume, where it is published, and whether it is well."""
        volume = found_volume(self._store, request.volume_id)
        status = pb.ControllerGetVolumeResponse.VolumeStatus(
            published_node_ids=sorted(volume.published), volume_condition=condition(self._store, volume)
        )
        return pb.ControllerGetVolumeResponse(volume=self._shown(volume), status=status)

    async def get_capacity(self, request: pb.GetCapacityRequest) -> pb.GetCapacityResponse:
        """What is left on this machine; nothing of any other."""
        if any(requests.capability_problem(one) for one in request.volume_capabilities):
            return pb.GetCapacityResponse(available_capacity=0)
        here = self._is_here(request.accessible_topology)
        available = await asyncio.to_thread(self._store.available) if here else 0
        response = pb.GetCapacityResponse(available_capacity=available)
        response.maximum_volume_size.value = available
        response.minimum_volume_size.value = requests.SMALLEST
        return response

    async def controller_expand_volume(
        self, request: pb.ControllerExpandVolumeRequest
    ) -> pb.ControllerExpandVolumeResponse:
        """The image grows; the node lets device and filesystem follow."""
        require(volume_id=request.volume_id, capacity_range=request.HasField("capacity_range"))
        async with alone(self._store, request.volume_id):
            volume = found_volume(self._store, request.volume_id)
            range_ = request.capacity_range
            if range_.limit_bytes and volume.size > range_.limit_bytes:
                raise Failure("OUT_OF_RANGE", f"volume {volume.id} has {volume.size} bytes, it cannot shrink")
            size = max(volume.size, requests.size_of(range_, block=volume.block) if range_.required_bytes else 0)
            if size > volume.size:
                await asyncio.to_thread(self._grow, volume, size)
        return pb.ControllerExpandVolumeResponse(capacity_bytes=size, node_expansion_required=True)

    def _grow(self, volume: Volume, size: int) -> None:
        with self._store.placing():
            available = self._store.available()
            if size - volume.size > available:
                text = f"{size - volume.size} bytes more wanted, {available} left on the disk"
                raise Failure("OUT_OF_RANGE", text)
            images.allocate(self._store.image(volume), size, thin=volume.thin)
            self._store.change(volume, size=size)

    async def controller_modify_volume(
        self, request: pb.ControllerModifyVolumeRequest
    ) -> pb.ControllerModifyVolumeResponse:
        """Take over the parameters of a VolumeAttributesClass, at once where the volume is in use."""
        require(volume_id=request.volume_id)
        async with alone(self._store, request.volume_id):
            volume = found_volume(self._store, request.volume_id)
            mutable = known_mutable(request.mutable_parameters)
            changed = self._store.change(volume, mutable={**volume.mutable, **mutable})
            if (device := loop.find(self._store.image(volume))) is not None:
                tune(device, changed.mutable)
        return pb.ControllerModifyVolumeResponse()

    # Snapshots.

    async def create_snapshot(self, request: pb.CreateSnapshotRequest) -> pb.CreateSnapshotResponse:
        """A copy of a volume as it is now, or the one that was made for the same request before."""
        require(name=request.name, source_volume_id=request.source_volume_id)
        identity = snapshot_id(request.name)
        async with alone(self._store, identity, request.source_volume_id):
            found = self._store.snapshot(identity)
            if found is None:
                found = await self._snapshot(identity, request)
            elif found.volume != request.source_volume_id:
                raise Failure("ALREADY_EXISTS", f"snapshot {request.name!r} exists of another volume")
            return pb.CreateSnapshotResponse(snapshot=_shown_snapshot(found))

    async def _snapshot(self, identity: str, request: pb.CreateSnapshotRequest) -> Snapshot:
        volume = found_volume(self._store, request.source_volume_id)
        made = Snapshot(
            id=identity,
            name=request.name,
            size=volume.size,
            volume=volume.id,
            created=time.time_ns(),
            block=volume.block,
            fs_type=volume.fs_type,
        )
        try:
            with self._store.making(made) as image:
                await asyncio.to_thread(self._copy, volume, image)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Failure("RESOURCE_EXHAUSTED", "no room for a snapshot on the disk") from None
            raise
        return made

    async def delete_snapshot(self, request: pb.DeleteSnapshotRequest) -> pb.DeleteSnapshotResponse:
        """The snapshot is gone, or was. Volumes made from it are copies and stay."""
        require(snapshot_id=request.snapshot_id)
        async with alone(self._store, request.snapshot_id):
            if (found := self._store.snapshot(request.snapshot_id)) is not None:
                await asyncio.to_thread(self._store.remove, found)
        return pb.DeleteSnapshotResponse()

    async def list_snapshots(self, request: pb.ListSnapshotsRequest) -> pb.ListSnapshotsResponse:
        """Snapshots by ID; only one, or only those of one volume, if asked."""
        snapshots = {
            one.id: one
            for one in self._store.snapshots()
            if request.snapshot_id in ("", one.id) and request.source_volume_id in ("", one.volume)
        }
        taken, token = requests.page(sorted(snapshots), request.starting_token, request.max_entries)
        entries = [pb.ListSnapshotsResponse.Entry(snapshot=_shown_snapshot(snapshots[one])) for one in taken]
        return pb.ListSnapshotsResponse(entries=entries, next_token=token)

    async def get_snapshot(self, request: pb.GetSnapshotRequest) -> pb.GetSnapshotResponse:
        """One snapshot."""
        return pb.GetSnapshotResponse(snapshot=_shown_snapshot(found_snapshot(self._store, request.snapshot_id)))


def condition(store: Store, volume: Volume) -> pb.VolumeCondition:
    """Whether a volume is well, and what ails it."""
    try:
        size = store.image(volume).stat().st_size
    except OSError:
        return pb.VolumeCondition(abnormal=True, message="its image is gone")
    if size < volume.size:
        return pb.VolumeCondition(abnormal=True, message=f"its image has {size} of {volume.size} bytes")
    return pb.VolumeCondition(abnormal=False, message="well")


def tune(device: Path, mutable: dict[str, str]) -> None:
    """Let a device behave as its class of attributes says."""
    if (value := mutable.get("readAheadKiB")) is not None:
        with suppress(OSError, CommandError):
            (Path("/sys/block") / device.name / "queue/read_ahead_kb").write_text(value)


def known_mutable(given: Mapping[str, str]) -> dict[str, str]:
    """The parameters of a VolumeAttributesClass. Raises INVALID_ARGUMENT for others."""
    parameters = dict(given)
    if unknown := sorted(set(parameters) - MUTABLE):
        raise Failure("INVALID_ARGUMENT", f"mutable_parameters: {unknown[0]!r} is none of {', '.join(sorted(MUTABLE))}")
    value = parameters.get("readAheadKiB", "0")
    if not value.isdecimal() or int(value) > 1 << 20:
        raise Failure("INVALID_ARGUMENT", f"mutable_parameters: readAheadKiB {value!r} is no number up to 1048576")
    return parameters


def _known_parameters(given: Mapping[str, str]) -> dict[str, str]:
    parameters = {name: value for name, value in dict(given).items() if not name.startswith(_WHO_ASKS)}
    if unknown := sorted(set(parameters) - PARAMETERS):
        raise Failure("INVALID_ARGUMENT", f"parameters: {unknown[0]!r} is none of {', '.join(sorted(PARAMETERS))}")
    if parameters.get("thin", "false") not in ("true", "false"):
        raise Failure("INVALID_ARGUMENT", f"parameters: thin is true or false, not {parameters['thin']!r}")
    return parameters


def _shown_snapshot(snapshot: Snapshot) -> pb.Snapshot:
    shown = pb.Snapshot(
        snapshot_id=snapshot.id, source_volume_id=snapshot.volume, size_bytes=snapshot.size, ready_to_use=True
    )
    shown.creation_time.FromNanoseconds(snapshot.created)
    return shown
