"""A CSI driver that keeps no data: it registers, notes what it is asked, and fails or hangs as a test wants.

Published volumes are folders, or with `real` bind mounts of a folder each, so that a test without root can use it too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pynetes.kubelet.volumes import mounts
from pynetes.rpc import server
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.pluginregistration import api_pb2 as registration

NAME = "fake.csi.test"
NODE_RPC = pb.NodeServiceCapability.RPC


class FakeDriver:
    """Identity, Node and Registration of one driver."""

    def __init__(self, folder: Path, *, real: bool = False) -> None:
        self.socket = folder / f"{NAME}-reg.sock"
        self.data, self._real = folder / "data", real
        #: Calls as "Verb volume".
        self.calls: list[str] = []
        self.requests: list[Any] = []
        #: Verb → what happens: a gRPC code to fail with (once), or "hang" until `go` is set.
        self.trouble: dict[str, str] = {}
        self.go = asyncio.Event()
        self.registered: list[str] = []
        #: Whether the kubelet hears that its verdict has come; else not until `go` is set.
        self.answers = True
        self.capabilities = [NODE_RPC.STAGE_UNSTAGE_VOLUME, NODE_RPC.EXPAND_VOLUME, NODE_RPC.GET_VOLUME_STATS]
        self.topology = {"topology.fake/zone": "z1"}
        self.node_id = "id-of-n1"
        #: Bytes in all, used and available.
        self.sizes = (1000, 300, 700)
        #: What ails the volumes; "" for nothing, None where the driver does not say.
        self.ailment: str | None = None

    async def _note(self, verb: str, request: Any) -> None:
        self.calls.append(f"{verb} {request.volume_id}")
        self.requests.append(request)
        trouble = self.trouble.get(verb)
        if trouble == "hang":
            await self.go.wait()
        elif trouble:
            del self.trouble[verb]
            raise server.Failure(trouble, f"{verb} was told to fail")

    async def get_info(self, request: Any) -> registration.PluginInfo:
        return registration.PluginInfo(type="CSIPlugin", name=NAME, endpoint="", supported_versions=["1.0.0"])

    async def notify_registration_status(self, request: Any) -> registration.RegistrationStatusResponse:
        self.registered.append(request.error or "yes")
        if not self.answers:
            await self.go.wait()
        return registration.RegistrationStatusResponse()

    async def node_get_info(self, request: Any) -> pb.NodeGetInfoResponse:
        topology = pb.Topology(segments=self.topology)
        return pb.NodeGetInfoResponse(node_id=self.node_id, max_volumes_per_node=7, accessible_topology=topology)

    async def node_get_capabilities(self, request: Any) -> pb.NodeGetCapabilitiesResponse:
        capabilities = [pb.NodeServiceCapability(rpc=NODE_RPC(type=one)) for one in self.capabilities]
        return pb.NodeGetCapabilitiesResponse(capabilities=capabilities)

    async def node_stage_volume(self, request: Any) -> pb.NodeStageVolumeResponse:
        await self._note("Stage", request)
        return pb.NodeStageVolumeResponse()

    async def node_publish_volume(self, request: Any) -> pb.NodePublishVolumeResponse:
        await self._note("Publish", request)
        target = Path(request.target_path)
        target.mkdir(exist_ok=True)
        if self._real and not mounts.is_mount(target):
            volume = self.data / request.volume_id
            volume.mkdir(parents=True, exist_ok=True)
            mounts.bind_path(volume, target)
        return pb.NodePublishVolumeResponse()

    async def node_unpublish_volume(self, request: Any) -> pb.NodeUnpublishVolumeResponse:
        await self._note("Unpublish", request)
        target = Path(request.target_path)
        if self._real:
            mounts.unmount(target)
        if target.exists():
            target.rmdir()
        return pb.NodeUnpublishVolumeResponse()

    async def node_unstage_volume(self, request: Any) -> pb.NodeUnstageVolumeResponse:
        await self._note("Unstage", request)
        return pb.NodeUnstageVolumeResponse()

    async def node_expand_volume(self, request: Any) -> pb.NodeExpandVolumeResponse:
        await self._note("Expand", request)
        return pb.NodeExpandVolumeResponse(capacity_bytes=request.capacity_range.required_bytes)

    async def node_get_volume_stats(self, request: Any) -> pb.NodeGetVolumeStatsResponse:
        await self._note("Stats", request)
        total, used, available = self.sizes
        sizes = pb.VolumeUsage(unit=pb.VolumeUsage.BYTES, total=total, used=used, available=available)
        inodes = pb.VolumeUsage(unit=pb.VolumeUsage.INODES, total=10, used=3, available=7)
        answer = pb.NodeGetVolumeStatsResponse(usage=[sizes, inodes])
        if self.ailment is not None:
            answer.volume_condition.CopyFrom(pb.VolumeCondition(abnormal=bool(self.ailment), message=self.ailment))
        return answer

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeDriver"]:
        """Serve until the block ends."""
        services = {
            pb.DESCRIPTOR.services_by_name["Node"]: self,
            registration.DESCRIPTOR.services_by_name["Registration"]: self,
        }
        async with server.serving(self.socket, services, path=0, target="fake driver"):
            yield self
