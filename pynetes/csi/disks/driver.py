"""The driver's part on a node: identity and node service on its socket, and the word to the kubelet."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pynetes
from pynetes.component import logs
from pynetes.csi.disks.node import Instance, Node
from pynetes.csi.local.registration import Registration
from pynetes.rpc import server
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.pluginregistration import api_pb2

_LOG = logging.getLogger(__name__)
_CSI = pb.DESCRIPTOR.services_by_name
_REGISTRATION = api_pb2.DESCRIPTOR.services_by_name["Registration"]
_SERVICE = pb.PluginCapability.Service


class Identity:
    """Who the driver is; its controller is elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name

    async def get_plugin_info(self, request: pb.GetPluginInfoRequest) -> pb.GetPluginInfoResponse:
        """Name and version."""
        return pb.GetPluginInfoResponse(name=self._name, vendor_version=pynetes.__version__)

    async def get_plugin_capabilities(
        self, request: pb.GetPluginCapabilitiesRequest
    ) -> pb.GetPluginCapabilitiesResponse:
        """Its volumes are bound to zones."""
        kinds = (_SERVICE.CONTROLLER_SERVICE, _SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        return pb.GetPluginCapabilitiesResponse(
            capabilities=[pb.PluginCapability(service=_SERVICE(type=kind)) for kind in kinds]
        )

    async def probe(self, request: pb.ProbeRequest) -> pb.ProbeResponse:
        """It is ready as soon as it serves."""
        response = pb.ProbeResponse()
        response.ready.value = True
        return response


@asynccontextmanager
async def serving(name: str, instance: Instance, *, kubelet: Path, most: int = 0) -> AsyncIterator[Path]:
    """Serve below the kubelet's folder while the block runs; gives the driver's socket."""
    socket = kubelet / "plugins" / name / "csi.sock"
    services = {_CSI["Identity"]: Identity(name), _CSI["Node"]: Node(instance, most=most)}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server.serving(socket, services, path=15, target=name))
        registry = kubelet / "plugins_registry" / f"{name}-reg.sock"
        registration = {_REGISTRATION: Registration(str(socket), name)}
        await stack.enter_async_context(server.serving(registry, registration, path=15, target=name))
        _LOG.info(logs.fact("serving", driver=name, instance=instance.id, socket=socket))
        yield socket
