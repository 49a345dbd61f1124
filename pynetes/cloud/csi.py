"""The CSI controller service over any provider's volumes: what makes, attaches, grows, copies and removes disks.

Any control side for CSI drivers can use it, over its socket. Mounting on nodes is another service's. Sizes, names and
repeated calls are the provider's contract (pynetes/cloud/provider.py); here is what the CSI specification adds: which
errors have which codes, one operation per volume at a time, access modes, topology, and lists in pages.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import pynetes
from pynetes.cloud.provider import Absent, CloudError, Denied, Refused, Snapshot, Throttled, Volume, Volumes
from pynetes.rpc import server
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure

T = TypeVar("T")
_CSI = pb.DESCRIPTOR.services_by_name
_RPC = pb.ControllerServiceCapability.RPC
_SERVICE, _EXPANSION = pb.PluginCapability.Service, pb.PluginCapability.VolumeExpansion
_MODES = pb.VolumeCapability.AccessMode
CAPABILITIES = (
    _RPC.CREATE_DELETE_VOLUME,
    _RPC.PUBLISH_UNPUBLISH_VOLUME,
    _RPC.LIST_VOLUMES,
    _RPC.LIST_VOLUMES_PUBLISHED_NODES,
    _RPC.CREATE_DELETE_SNAPSHOT,
    _RPC.LIST_SNAPSHOTS,
    _RPC.EXPAND_VOLUME,
    _RPC.SINGLE_NODE_MULTI_WRITER,
)
#: A disk is on one machine at a time.
SINGLE = frozenset(
    (
        _MODES.SINGLE_NODE_WRITER,
        _MODES.SINGLE_NODE_READER_ONLY,
        _MODES.SINGLE_NODE_SINGLE_WRITER,
        _MODES.SINGLE_NODE_MULTI_WRITER,
    )
)
GIB = 1 << 30
#: StorageClass parameters that say what kind of disk it is, and who asks.
KIND, WHO_ASKS = "type", "csi.storage.k8s.io/"
#: Where the node finds the device: the EBS CSI driver's word.
DEVICE = "devicePath"


class Driver(NamedTuple):
    """How a provider's volumes are called in CSIDriver objects, and by which label nodes' zones."""

    name: str
    topology: str


DRIVERS = {
    "aws": Driver("ebs.csi.aws.com", "topology.ebs.csi.aws.com/zone"),
    "local": Driver("disks.local.cloud.pynetes.io", "topology.kubernetes.io/zone"),
}


class Identity:
    """Who the driver is."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get_plugin_info(self, request: pb.GetPluginInfoRequest) -> pb.GetPluginInfoResponse:
        """Name and version."""
        return pb.GetPluginInfoResponse(name=self._driver.name, vendor_version=pynetes.__version__)

    async def get_plugin_capabilities(
        self, request: pb.GetPluginCapabilitiesRequest
    ) -> pb.GetPluginCapabilitiesResponse:
        """It controls volumes that are bound to zones and grow while in use."""
        kinds = (_SERVICE.CONTROLLER_SERVICE, _SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        return pb.GetPluginCapabilitiesResponse(
            capabilities=[
                *(pb.PluginCapability(service=_SERVICE(type=kind)) for kind in kinds),
                pb.PluginCapability(volume_expansion=_EXPANSION(type=_EXPANSION.ONLINE)),
            ]
        )

    async def probe(self, request: pb.ProbeRequest) -> pb.ProbeResponse:
        """It is ready as soon as it serves."""
        response = pb.ProbeResponse()
        response.ready.value = True
        return response


@contextmanager
def failures(refusal: str = "FAILED_PRECONDITION") -> Iterator[None]:
    """A CloudError as an RPC's error; refusal is the code for what the cloud will never do."""
    try:
        yield
    except Absent as error:
        raise Failure("NOT_FOUND", str(error)) from None
    except Denied as error:
        raise Failure("PERMISSION_DENIED", str(error)) from None
    except Throttled as error:
        raise Failure("RESOURCE_EXHAUSTED", str(error)) from None
    except Refused as error:
        raise Failure(refusal, str(error)) from None
    except CloudError as error:
        raise Failure("UNAVAILABLE", str(error)) from None


def require(**members: object) -> None:
    """Every member of the request that is named must be there. Raises INVALID_ARGUMENT."""
    for name, value in members.items():
        if not value:
            raise Failure("INVALID_ARGUMENT", f"{name} is missing")


def check_modes(capabilities: Iterable[pb.VolumeCapability]) -> None:
    """Raises INVALID_ARGUMENT unless a disk can do what is asked."""
    given = list(capabilities)
    require(volume_capabilities=given)
    for one in given:
        if one.WhichOneof("access_type") is None:
            raise Failure("INVALID_ARGUMENT", "volume_capabilities: neither block nor mount is said")
        if one.access_mode.mode not in SINGLE:
            shown = _MODES.Mode.Name(one.access_mode.mode)
            raise Failure("INVALID_ARGUMENT", f"volume_capabilities: {shown} cannot be had, a disk is on one node")


def size_of(range_: pb.CapacityRange) -> int:
    """The size for a range, in whole GiB. Raises OUT_OF_RANGE or INVALID_ARGUMENT."""
    required, limit = range_.required_bytes, range_.limit_bytes
    if required < 0 or limit < 0 or (limit and required > limit):
        raise Failure("INVALID_ARGUMENT", f"capacity_range: {required} to {limit} bytes is no range")
    size = max(-(-required // GIB), 1) * GIB
    if limit and size > limit:
        raise Failure("OUT_OF_RANGE", f"capacity_range: disks come in GiB, {size} bytes are more than {limit}")
    return size


class Controller:
    """Disks of one cloud."""

    def __init__(self, volumes: Volumes, driver: Driver) -> None:
        self._volumes, self._driver = volumes, driver
        self._busy: set[str] = set()

    @asynccontextmanager
    async def _alone(self, *names: str) -> AsyncIterator[None]:
        """Raises ABORTED while another call is at work on one of these, as the specification wants it."""
        if taken := self._busy & set(names):
            raise Failure("ABORTED", f"an operation on {', '.join(taken)} is under way")
        self._busy |= set(names)
        try:
            yield
        finally:
            self._busy -= set(names)

    async def controller_get_capabilities(
        self, request: pb.ControllerGetCapabilitiesRequest
    ) -> pb.ControllerGetCapabilitiesResponse:
        """What this driver can do."""
        found = [pb.ControllerServiceCapability(rpc=_RPC(type=kind)) for kind in CAPABILITIES]
        return pb.ControllerGetCapabilitiesResponse(capabilities=found)

    async def create_volume(self, request: pb.CreateVolumeRequest) -> pb.CreateVolumeResponse:
        """A new disk in a zone that suits, or the one that was made for the same request before."""
        require(name=request.name)
        check_modes(request.volume_capabilities)
        snapshot = self._source(request)
        tags = {
            f"kubernetes.io/created-for/{name.removeprefix(WHO_ASKS)}": value
            for name, value in request.parameters.items()
            if name.startswith(WHO_ASKS)
        }
        async with self._alone(request.name):
            with failures("ALREADY_EXISTS"):
                size = max(size_of(request.capacity_range), await self._least(snapshot))
                made = await self._volumes.create(
                    request.name,
                    size=size,
                    zone=self._zone(request.accessibility_requirements),
                    snapshot=snapshot,
                    kind=request.parameters.get(KIND, ""),
                    tags=tags,
                )
        return pb.CreateVolumeResponse(volume=self._shown(made))

    @staticmethod
    def _source(request: pb.CreateVolumeRequest) -> str:
        kind = request.volume_content_source.WhichOneof("type")
        if kind == "volume":
            raise Failure("INVALID_ARGUMENT", "volume_content_source: disks are copied through snapshots")
        return request.volume_content_source.snapshot.snapshot_id if kind else ""

    async def _least(self, snapshot: str) -> int:
        """The size of a snapshot that is to be restored."""
        if not snapshot:
            return 0
        found = next((each for each in await self._volumes.snapshots() if each.id == snapshot), None)
        if found is None:
            raise Absent(f"there is no snapshot {snapshot}")
        return found.size

    def _zone(self, wanted: pb.TopologyRequirement) -> str:
        """The first zone that is preferred, or required; "" where any will do."""
        zones = (one.segments.get(self._driver.topology, "") for one in (*wanted.preferred, *wanted.requisite))
        return next(filter(None, zones), "")

    def _shown(self, volume: Volume) -> pb.Volume:
        shown = pb.Volume(
            volume_id=volume.id,
            capacity_bytes=volume.size,
            accessible_topology=[pb.Topology(segments={self._driver.topology: volume.zone})],
        )
        if volume.snapshot:
            shown.content_source.snapshot.snapshot_id = volume.snapshot
        return shown

    async def delete_volume(self, request: pb.DeleteVolumeRequest) -> pb.DeleteVolumeResponse:
        """The disk is gone, or was."""
        require(volume_id=request.volume_id)
        async with self._alone(request.volume_id):
            with failures():
                await self._volumes.delete(request.volume_id)
        return pb.DeleteVolumeResponse()

    async def controller_publish_volume(
        self, request: pb.ControllerPublishVolumeRequest
    ) -> pb.ControllerPublishVolumeResponse:
        """The disk is attached; node_id is the instance's ID."""
        require(volume_id=request.volume_id, node_id=request.node_id)
        check_modes([request.volume_capability])
        async with self._alone(request.volume_id):
            with failures():
                device = await self._volumes.attach(request.volume_id, request.node_id)
        return pb.ControllerPublishVolumeResponse(publish_context={DEVICE: device})

    async def controller_unpublish_volume(
        self, request: pb.ControllerUnpublishVolumeRequest
    ) -> pb.ControllerUnpublishVolumeResponse:
        """The disk is detached from the node, or without one from whichever has it."""
        require(volume_id=request.volume_id)
        async with self._alone(request.volume_id):
            with failures():
                for instance in [request.node_id] if request.node_id else await self._holders(request.volume_id):
                    await self._volumes.detach(request.volume_id, instance)
        return pb.ControllerUnpublishVolumeResponse()

    async def _holders(self, volume: str) -> list[str]:
        try:
            return list((await self._volumes.get(volume)).attached)
        except Absent:
            return []

    async def validate_volume_capabilities(
        self, request: pb.ValidateVolumeCapabilitiesRequest
    ) -> pb.ValidateVolumeCapabilitiesResponse:
        """Whether the disk has what is asked; why not, in the message."""
        require(volume_id=request.volume_id, volume_capabilities=list(request.volume_capabilities))
        with failures():
            await self._volumes.get(request.volume_id)
        try:
            check_modes(request.volume_capabilities)
        except Failure as failure:
            return pb.ValidateVolumeCapabilitiesResponse(message=str(failure))
        confirmed = pb.ValidateVolumeCapabilitiesResponse.Confirmed(
            volume_context=request.volume_context,
            volume_capabilities=request.volume_capabilities,
            parameters=request.parameters,
        )
        return pb.ValidateVolumeCapabilitiesResponse(confirmed=confirmed)

    async def list_volumes(self, request: pb.ListVolumesRequest) -> pb.ListVolumesResponse:
        """The cluster's disks, by ID, with who has them."""
        with failures():
            volumes = {each.id: each for each in await self._volumes.list()}
        taken, token = page(volumes, request.starting_token, request.max_entries)
        entries = [
            pb.ListVolumesResponse.Entry(
                volume=self._shown(each),
                status=pb.ListVolumesResponse.VolumeStatus(published_node_ids=sorted(each.attached)),
            )
            for each in taken
        ]
        return pb.ListVolumesResponse(entries=entries, next_token=token)

    async def controller_expand_volume(
        self, request: pb.ControllerExpandVolumeRequest
    ) -> pb.ControllerExpandVolumeResponse:
        """The disk grows, attached or not; the filesystem on it is the node's business."""
        require(volume_id=request.volume_id, capacity_range=request.HasField("capacity_range"))
        size = size_of(request.capacity_range)
        async with self._alone(request.volume_id):
            with failures():
                grown = await self._volumes.expand(request.volume_id, size)
        return pb.ControllerExpandVolumeResponse(capacity_bytes=grown, node_expansion_required=True)

    async def create_snapshot(self, request: pb.CreateSnapshotRequest) -> pb.CreateSnapshotResponse:
        """A copy as of now, or the one that was made for the same request before."""
        require(name=request.name, source_volume_id=request.source_volume_id)
        async with self._alone(request.name, request.source_volume_id):
            with failures("ALREADY_EXISTS"):
                made = await self._volumes.snapshot(request.name, request.source_volume_id)
        return pb.CreateSnapshotResponse(snapshot=_snapshot(made))

    async def delete_snapshot(self, request: pb.DeleteSnapshotRequest) -> pb.DeleteSnapshotResponse:
        """The copy is gone, or was."""
        require(snapshot_id=request.snapshot_id)
        async with self._alone(request.snapshot_id):
            with failures():
                await self._volumes.delete_snapshot(request.snapshot_id)
        return pb.DeleteSnapshotResponse()

    async def list_snapshots(self, request: pb.ListSnapshotsRequest) -> pb.ListSnapshotsResponse:
        """Copies by ID; only one, or only those of one disk, if asked."""
        with failures():
            found = {
                each.id: each
                for each in await self._volumes.snapshots()
                if request.snapshot_id in ("", each.id) and request.source_volume_id in ("", each.volume)
            }
        taken, token = page(found, request.starting_token, request.max_entries)
        entries = [pb.ListSnapshotsResponse.Entry(snapshot=_snapshot(each)) for each in taken]
        return pb.ListSnapshotsResponse(entries=entries, next_token=token)


def _snapshot(made: Snapshot) -> pb.Snapshot:
    shown = pb.Snapshot(
        snapshot_id=made.id, source_volume_id=made.volume, size_bytes=made.size, ready_to_use=made.ready
    )
    shown.creation_time.FromNanoseconds(int(made.created * 1e9))
    return shown


def page(found: Mapping[str, T], token: str, most: int) -> tuple[list[T], str]:
    """A part of a list, by key, that begins at token; and the token for the next part, "" when there is none."""
    names = sorted(found)
    if token and token not in found:
        raise Failure("ABORTED", f"starting_token {token!r} is none of this list's")
    begin = names.index(token) if token else 0
    end = begin + most if most else len(names)
    return [found[name] for name in names[begin:end]], names[end] if end < len(names) else ""


@asynccontextmanager
async def serving(volumes: Volumes, driver: Driver, socket: Path) -> AsyncIterator[None]:
    """Serve identity and controller on a Unix socket while the block runs."""
    services = {_CSI["Identity"]: Identity(driver), _CSI["Controller"]: Controller(volumes, driver)}
    async with server.serving(socket, services, path=26, target=driver.name):
        yield
