"""A CSI driver of the tests' own, over real gRPC: volumes are entries of a dict, and every RPC may misbehave.

    driver.answers["CreateVolume"] = [server.Failure("UNAVAILABLE", "…"), DoneThen("UNAVAILABLE"), HANG]

Each call of an RPC takes the next entry of its script; without one it does as it should.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pynetes.rpc import server
from pynetes.rpc.csi import csi_pb2 as pb

NAME = "local.csi.example"
_CSI = pb.DESCRIPTOR.services_by_name
CAPABILITIES = (
    "CREATE_DELETE_VOLUME",
    "PUBLISH_UNPUBLISH_VOLUME",
    "CREATE_DELETE_SNAPSHOT",
    "LIST_SNAPSHOTS",
    "CLONE_VOLUME",
    "EXPAND_VOLUME",
    "GET_CAPACITY",
    "MODIFY_VOLUME",
)


@dataclass(frozen=True)
class DoneThen:
    """The driver does what was asked, and then its answer is lost."""

    code: str


@dataclass(frozen=True)
class Says:
    """The driver answers this, whatever it was asked."""

    response: Any


HANG = object()


@dataclass
class Scripted:
    """Identity and Controller of the driver; what it was asked is in `calls`."""

    volumes: dict[str, pb.CreateVolumeRequest] = field(default_factory=dict)
    published: set[tuple[str, str]] = field(default_factory=set)
    snapshots: dict[str, str] = field(default_factory=dict)
    answers: dict[str, list[Any]] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    room: int = 10 << 30

    def asked(self, rpc: str) -> list[Any]:
        """The requests of one RPC."""
        return [request for name, request in self.calls if name == rpc]

    async def _script(self, rpc: str, request: Any) -> Any:
        self.calls.append((rpc, request))
        queue = self.answers.get(rpc)
        step = queue.pop(0) if queue else None
        if step is HANG:
            await asyncio.get_running_loop().create_future()
        if isinstance(step, Exception):
            raise step
        return step

    @staticmethod
    def _end(step: Any, response: Any) -> Any:
        if isinstance(step, DoneThen):
            raise server.Failure(step.code, "the answer was lost")
        return step.response if isinstance(step, Says) else response

    async def probe(self, request: Any) -> Any:
        return pb.ProbeResponse()

    async def get_plugin_info(self, request: Any) -> Any:
        return pb.GetPluginInfoResponse(name=NAME)

    async def get_plugin_capabilities(self, request: Any) -> Any:
        kind = pb.PluginCapability.Service
        services = (kind.CONTROLLER_SERVICE, kind.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        found = [pb.PluginCapability(service=kind(type=one)) for one in services]
        return pb.GetPluginCapabilitiesResponse(capabilities=found)

    async def controller_get_capabilities(self, request: Any) -> Any:
        kind = pb.ControllerServiceCapability
        found = [kind(rpc=kind.RPC(type=name)) for name in CAPABILITIES]
        return pb.ControllerGetCapabilitiesResponse(capabilities=found)

    async def create_volume(self, request: Any) -> Any:
        step = await self._script("CreateVolume", request)
        handle = f"v-{request.name}"
        self.volumes.setdefault(handle, request)
        self.sizes.setdefault(handle, request.capacity_range.required_bytes)
        made = pb.Volume(
            volume_id=handle,
            capacity_bytes=self.sizes[handle],
            accessible_topology=list(request.accessibility_requirements.preferred[:1]),
        )
        return self._end(step, pb.CreateVolumeResponse(volume=made))

    async def delete_volume(self, request: Any) -> Any:
        step = await self._script("DeleteVolume", request)
        self.volumes.pop(request.volume_id, None)
        return self._end(step, pb.DeleteVolumeResponse())

    async def controller_publish_volume(self, request: Any) -> Any:
        step = await self._script("ControllerPublishVolume", request)
        self.published.add((request.volume_id, request.node_id))
        return self._end(step, pb.ControllerPublishVolumeResponse(publish_context={"device": "/dev/x"}))

    async def controller_unpublish_volume(self, request: Any) -> Any:
        step = await self._script("ControllerUnpublishVolume", request)
        self.published.discard((request.volume_id, request.node_id))
        return self._end(step, pb.ControllerUnpublishVolumeResponse())

    async def controller_expand_volume(self, request: Any) -> Any:
        step = await self._script("ControllerExpandVolume", request)
        self.sizes[request.volume_id] = request.capacity_range.required_bytes
        response = pb.ControllerExpandVolumeResponse(
            capacity_bytes=request.capacity_range.required_bytes, node_expansion_required=True
        )
        return self._end(step, response)

    async def controller_modify_volume(self, request: Any) -> Any:
        step = await self._script("ControllerModifyVolume", request)
        return self._end(step, pb.ControllerModifyVolumeResponse())

    async def create_snapshot(self, request: Any) -> Any:
        step = await self._script("CreateSnapshot", request)
        handle = f"s-{request.name}"
        self.snapshots.setdefault(handle, request.source_volume_id)
        made = pb.Snapshot(snapshot_id=handle, size_bytes=1 << 30, ready_to_use=True)
        made.creation_time.FromSeconds(1_700_000_000)
        return self._end(step, pb.CreateSnapshotResponse(snapshot=made))

    async def delete_snapshot(self, request: Any) -> Any:
        step = await self._script("DeleteSnapshot", request)
        self.snapshots.pop(request.snapshot_id, None)
        return self._end(step, pb.DeleteSnapshotResponse())

    async def get_capacity(self, request: Any) -> Any:
        step = await self._script("GetCapacity", request)
        return self._end(step, pb.GetCapacityResponse(available_capacity=self.room))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[Scripted, Path]]:
    """The driver on a socket."""
    driver, socket = Scripted(), folder / "csi.sock"
    services = {_CSI["Identity"]: driver, _CSI["Controller"]: driver}
    async with server.serving(socket, services, path=15, target=NAME):
        yield driver, socket
