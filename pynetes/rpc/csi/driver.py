"""A client of one CSI driver: the seam between the kubelet or the volumes' control side and any driver.

Every call has a deadline, for a driver that hangs must not hang its caller; every failure is a DriverFailure, which
says whether the driver may still be at work (the specification's "uncertain" outcome) or has certainly ended.
"""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from pynetes.component.metrics import REGISTRY
from pynetes.rpc import channel
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi import csi_pb2_grpc as stubs

#: Seconds a call may take; upstream's kubelet gives two minutes, its sidecars ten seconds with retries.
TIMEOUT = 120.0
#: Errors after which the driver may still finish what was asked; all others are final.
UNCERTAIN = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"})
#: CSI access modes by Kubernetes' word. With SINGLE_NODE_MULTI_WRITER a driver takes the finer pair of the second map.
ACCESS_MODES = {
    "ReadWriteOnce": "SINGLE_NODE_WRITER",
    "ReadOnlyMany": "MULTI_NODE_READER_ONLY",
    "ReadWriteMany": "MULTI_NODE_MULTI_WRITER",
    "ReadWriteOncePod": "SINGLE_NODE_WRITER",
}
FINE_ACCESS_MODES = {
    **ACCESS_MODES,
    "ReadWriteOnce": "SINGLE_NODE_MULTI_WRITER",
    "ReadWriteOncePod": "SINGLE_NODE_SINGLE_WRITER",
}
#: Which access mode counts when a volume has several: the widest one.
WIDTH = ("ReadWriteMany", "ReadOnlyMany", "ReadWriteOnce", "ReadWriteOncePod")

SECONDS = REGISTRY.histogram(
    "csi_operations_seconds",
    "Container Storage Interface operation duration with gRPC error code status total",
    "driver_name",
    "method_name",
    "grpc_status_code",
)


class DriverFailure(Exception):
    """The driver refused, failed or did not answer; `code` is gRPC's name of the failure."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code, self.message = code, message

    @property
    def uncertain(self) -> bool:
        """The operation may have happened, or may still happen."""
        return self.code in UNCERTAIN

    @property
    def absent(self) -> bool:
        """What was asked for does not exist."""
        return self.code == "NOT_FOUND"


class Driver:
    """A client of one driver's socket. Made inside the running event loop; close it in the end."""

    def __init__(self, socket: str | Path, *, name: str = "", source: str, timeout: float = TIMEOUT) -> None:
        self.name, self._timeout, self._closed = name, timeout, False
        self._channel = channel.unix_channel(socket, path=15, source=source, target=f"CSI driver {name}".strip())
        self._identity = stubs.IdentityStub(self._channel)
        self._controller = stubs.ControllerStub(self._channel)
        self._node = stubs.NodeStub(self._channel)

    async def close(self) -> None:
        """Close the channel; calls that wait for an answer fail as CANCELLED."""
        self._closed = True
        await self._channel.close()

    async def identity(self, rpc: str, request: Message, *, timeout: float | None = None) -> Any:
        """Call an RPC of Identity, as identity("Probe", pb.ProbeRequest()). Raises DriverFailure."""
        return await self._call(self._identity, rpc, request, timeout)

    async def controller(self, rpc: str, request: Message, *, timeout: float | None = None) -> Any:
        """Call an RPC of Controller. Raises DriverFailure."""
        return await self._call(self._controller, rpc, request, timeout)

    async def node(self, rpc: str, request: Message, *, timeout: float | None = None) -> Any:
        """Call an RPC of Node. Raises DriverFailure."""
        return await self._call(self._node, rpc, request, timeout)

    async def plugin_name(self) -> str:
        """The driver's name, as it says it."""
        self.name = str((await self.identity("GetPluginInfo", pb.GetPluginInfoRequest())).name)
        return self.name

    async def plugin_capabilities(self) -> frozenset[str]:
        """CONTROLLER_SERVICE, VOLUME_ACCESSIBILITY_CONSTRAINTS, …, and expansion as ONLINE or OFFLINE."""
        response = await self.identity("GetPluginCapabilities", pb.GetPluginCapabilitiesRequest())
        service, expansion = pb.PluginCapability.Service.Type, pb.PluginCapability.VolumeExpansion.Type
        return frozenset(
            _name(service, one.service.type) if one.HasField("service") else _name(expansion, one.volume_expansion.type)
            for one in response.capabilities
        )

    async def controller_capabilities(self) -> frozenset[str]:
        """The names of ControllerServiceCapability.RPC.Type that the driver has."""
        response = await self.controller("ControllerGetCapabilities", pb.ControllerGetCapabilitiesRequest())
        return _rpcs(pb.ControllerServiceCapability.RPC.Type, response.capabilities)

    async def node_capabilities(self) -> frozenset[str]:
        """The names of NodeServiceCapability.RPC.Type that the driver has."""
        response = await self.node("NodeGetCapabilities", pb.NodeGetCapabilitiesRequest())
        return _rpcs(pb.NodeServiceCapability.RPC.Type, response.capabilities)

    async def wait_ready(self, *, deadline: float) -> None:
        """Wait until the driver serves and says that it is ready. Raises DriverFailure after `deadline` seconds."""
        ends = time.monotonic() + deadline
        while True:
            try:
                response = await self.identity("Probe", pb.ProbeRequest(), timeout=5.0)
                if not response.HasField("ready") or response.ready.value:
                    return
                failure = DriverFailure("UNAVAILABLE", "the driver is not ready")
            except DriverFailure as error:
                failure = error
            if time.monotonic() >= ends:
                raise failure
            await asyncio.sleep(0.1)

    async def _call(self, stub: Any, rpc: str, request: Message, timeout: float | None) -> Any:
        if self._closed:
            raise DriverFailure("UNAVAILABLE", f"driver {self.name} is no longer registered")
        started, code = time.monotonic(), "OK"
        try:
            return await getattr(stub, rpc)(request, timeout=self._timeout if timeout is None else timeout)
        except asyncio.CancelledError as error:
            if not channel.was_closed():
                raise
            code = "CANCELLED"
            raise DriverFailure(code, f"the connection to driver {self.name} was closed") from error
        except channel.RpcError as error:
            code = error.code().name
            raise DriverFailure(code, error.details() or "") from error
        finally:
            SECONDS.observe(time.monotonic() - started, self.name, rpc, code)


def _rpcs(types: Any, capabilities: Iterable[Any]) -> frozenset[str]:
    return frozenset(_name(types, one.rpc.type) for one in capabilities if one.HasField("rpc"))


def _name(types: Any, number: int) -> str:
    """An enum's name; a driver newer than this interface may send numbers that have none."""
    return str(types.Name(number)) if number in types.values() else str(number)


def capability(
    modes: Iterable[str],
    *,
    block: bool = False,
    fs_type: str = "",
    mount_flags: Iterable[str] = (),
    fine: bool = False,
    mount_group: str = "",
) -> pb.VolumeCapability:
    """A volume's capability from Kubernetes' access modes; `fine` where the driver has SINGLE_NODE_MULTI_WRITER."""
    wanted = frozenset(modes)
    widest = next((mode for mode in WIDTH if mode in wanted), "ReadWriteOnce")
    name = (FINE_ACCESS_MODES if fine else ACCESS_MODES)[widest]
    mode = pb.VolumeCapability.AccessMode(mode=name)
    if block:
        return pb.VolumeCapability(block=pb.VolumeCapability.BlockVolume(), access_mode=mode)
    mount = pb.VolumeCapability.MountVolume(
        fs_type=fs_type, mount_flags=tuple(mount_flags), volume_mount_group=mount_group
    )
    return pb.VolumeCapability(mount=mount, access_mode=mode)
