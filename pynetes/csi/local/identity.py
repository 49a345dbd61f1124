"""The Identity service: who the driver is."""

import pynetes
from pynetes.csi.local import NAME, filesystem
from pynetes.rpc.csi import csi_pb2 as pb

_SERVICE, _EXPANSION = pb.PluginCapability.Service, pb.PluginCapability.VolumeExpansion


class Identity:
    """See the module."""

    async def get_plugin_info(self, request: pb.GetPluginInfoRequest) -> pb.GetPluginInfoResponse:
        """Name and version."""
        return pb.GetPluginInfoResponse(name=NAME, vendor_version=pynetes.__version__)

    async def get_plugin_capabilities(
        self, request: pb.GetPluginCapabilitiesRequest
    ) -> pb.GetPluginCapabilitiesResponse:
        """Which services it has."""
        services = (_SERVICE.CONTROLLER_SERVICE, _SERVICE.VOLUME_ACCESSIBILITY_CONSTRAINTS)
        expansion = _EXPANSION.ONLINE if filesystem.can_grow_mounted() else _EXPANSION.OFFLINE
        return pb.GetPluginCapabilitiesResponse(
            capabilities=[
                *(pb.PluginCapability(service=_SERVICE(type=kind)) for kind in services),
                pb.PluginCapability(volume_expansion=_EXPANSION(type=expansion)),
            ]
        )

    async def probe(self, request: pb.ProbeRequest) -> pb.ProbeResponse:
        """It is ready as soon as it serves."""
        response = pb.ProbeResponse()
        response.ready.value = True
        return response
