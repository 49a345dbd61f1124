"""Serves the device plugin interface for device files, and registers with the kubelet whenever one starts.

A device is healthy while its file is there: udev and drivers make and remove it, and inotify tells. A device that may
be shared is listed several times, as ID-0, ID-1, …
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from pynetes.component import inotify, logs
from pynetes.component.remedy import RemedyError
from pynetes.component.tasks import Group
from pynetes.devices.config import Config
from pynetes.rpc import channel, server
from pynetes.rpc.deviceplugin import api_pb2 as pb
from pynetes.rpc.deviceplugin import api_pb2_grpc as stubs

log = logging.getLogger(__name__)

VERSION, KUBELET = "v1beta1", "kubelet.sock"
RETRY = 1.0


class Plugin:
    """The service DevicePlugin."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._changed = asyncio.Event()
        #: Every file that was ever there, by ID: one that vanished is unhealthy, not unknown.
        self._files: dict[str, Path] = {}

    def look(self) -> None:
        """Look for device files; those who follow the list hear of a change."""
        for path in matching(self._config.device):
            for share in range(self._config.shares):
                number = f"-{share}" if self._config.shares > 1 else ""
                self._files.setdefault(f"{path.name}{number}", path)
        self._changed.set()
        self._changed = asyncio.Event()

    async def get_device_plugin_options(self, request: pb.Empty) -> pb.DevicePluginOptions:
        """Neither preparation nor preferences."""
        return pb.DevicePluginOptions()

    async def list_and_watch(self, request: pb.Empty) -> AsyncIterator[pb.ListAndWatchResponse]:
        """The devices, whenever they change."""
        told: list[tuple[str, bool]] | None = None
        while True:
            changed, now = self._changed, [(name, path.exists()) for name, path in sorted(self._files.items())]
            if now != told:
                told = now
                devices = [pb.Device(ID=name, health="Healthy" if there else "Unhealthy") for name, there in now]
                yield pb.ListAndWatchResponse(devices=devices)
            await changed.wait()

    async def allocate(self, request: pb.AllocateRequest) -> pb.AllocateResponse:
        """The device files under their own names, and which they are in a variable."""
        return pb.AllocateResponse(container_responses=[self._one(one) for one in request.container_requests])

    def _one(self, request: pb.ContainerAllocateRequest) -> pb.ContainerAllocateResponse:
        unknown = [name for name in request.devices_ids if name not in self._files]
        if unknown:
            raise server.Failure("NOT_FOUND", f"no such device: {', '.join(unknown)}")
        paths = sorted({str(self._files[name]) for name in request.devices_ids})
        permissions = self._config.permissions
        variable = self._config.resource.upper().translate({ord(sign): "_" for sign in "./-"})
        return pb.ContainerAllocateResponse(
            devices=[pb.DeviceSpec(container_path=one, host_path=one, permissions=permissions) for one in paths],
            envs={variable: ",".join(paths)},
        )

    async def follow(self) -> None:
        """Follow the folders of the devices until cancelled."""
        async with Group() as group:
            for folder in sorted({Path(pattern).parent for pattern in self._config.device}):
                group.start(self._folder(folder))
            await asyncio.get_running_loop().create_future()

    async def _folder(self, folder: Path) -> None:
        async for _ in inotify.changes(folder):
            self.look()


async def run(config: Config) -> None:
    """Serve until cancelled. Raises RemedyError where there is no such device."""
    plugin = Plugin(config)
    plugin.look()
    if not list(matching(config.device)):
        raise RemedyError(f"there is no {' or '.join(config.device)} on this machine", "name others with --device")
    folder = Path(config.folder)
    socket = folder / f"{config.resource.replace('/', '_')}.sock"
    service = pb.DESCRIPTOR.services_by_name["DevicePlugin"]
    async with Group() as group:
        group.start(plugin.follow())
        serving: asyncio.Task[None] | None = None
        async for change in inotify.changes(folder):
            if change.name != KUBELET:
                continue
            # A kubelet that starts removes the sockets of plugins: each has to serve and register anew.
            if serving is not None:
                serving.cancel()
                await asyncio.wait([serving])
            serving = group.start(_serve(config, socket, {service: plugin})) if change.present else None


async def _serve(config: Config, socket: Path, services: Mapping[Any, object]) -> None:
    """For one kubelet, until cancelled."""
    async with server.serving(socket, services, path=16, target="device plugin"):
        await _register(config, socket)
        await asyncio.get_running_loop().create_future()


async def _register(config: Config, socket: Path) -> None:
    """Register, however long the kubelet takes to answer."""
    while True:
        connection = channel.unix_channel(
            socket.parent / KUBELET, path=16, source=f"device plugin {config.resource}", target="kubelet"
        )
        try:
            stub = stubs.RegistrationStub(connection)  # type: ignore[no-untyped-call] # generated
            request = pb.RegisterRequest(version=VERSION, endpoint=socket.name, resource_name=config.resource)
            await stub.Register(request, timeout=10.0)
            log.info(logs.fact("registered", resource=config.resource))
            return
        except channel.RpcError as error:
            log.warning(logs.fact("not registered", resource=config.resource, error=error.details()))
        finally:
            await connection.close()
        await asyncio.sleep(RETRY)


def matching(patterns: tuple[str, ...]) -> Iterator[Path]:
    """The files of these names or patterns."""
    for pattern in patterns:
        path = Path(pattern)
        yield from sorted(path.parent.glob(path.name))
