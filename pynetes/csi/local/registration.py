"""Tells a kubelet of the driver: a second socket, in the folder that the kubelet watches, names the first."""

import logging

from pynetes.component import logs
from pynetes.csi.local import NAME
from pynetes.rpc.pluginregistration import api_pb2 as pb

_LOG = logging.getLogger(__name__)


class Registration:
    """The Registration service; endpoint is the driver's socket, as the kubelet sees it, name what it is called."""

    def __init__(self, endpoint: str, name: str = NAME) -> None:
        self._endpoint, self._name = endpoint, name

    async def get_info(self, request: pb.InfoRequest) -> pb.PluginInfo:
        """Who is at the other socket."""
        return pb.PluginInfo(type="CSIPlugin", name=self._name, endpoint=self._endpoint, supported_versions=["1.0.0"])

    async def notify_registration_status(self, request: pb.RegistrationStatus) -> pb.RegistrationStatusResponse:
        """The kubelet took the driver, or says why not."""
        if request.plugin_registered:
            _LOG.info(logs.fact("registered with the kubelet", driver=self._name))
        else:
            _LOG.error(logs.fact("the kubelet refused the driver", driver=self._name, error=request.error))
        return pb.RegistrationStatusResponse()
