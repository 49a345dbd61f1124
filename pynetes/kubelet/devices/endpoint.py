"""A device plugin as the kubelet uses it: one connection, its list of devices followed until it ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from google.protobuf.message import Message

from pynetes.kubelet.devices.pool import Device
from pynetes.rpc import channel
from pynetes.rpc.deviceplugin import api_pb2 as pb
from pynetes.rpc.deviceplugin import api_pb2_grpc as stubs

HEALTHY = "Healthy"
TIMEOUT = 30.0


class PluginFailure(Exception):
    """The plugin refused, failed or did not answer."""


class Endpoint:
    """A plugin's socket. Made inside the running event loop; close it in the end."""

    def __init__(self, socket: str, resource: str, options: pb.DevicePluginOptions | None = None) -> None:
        self.resource, self.options = resource, options or pb.DevicePluginOptions()
        self._channel = channel.unix_channel(socket, path=16, source="kubelet", target=f"device plugin {resource}")
        self._stub: Any = stubs.DevicePluginStub(self._channel)  # type: ignore[no-untyped-call] # generated

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def ask_options(self) -> None:
        """Ask the plugin which optional calls it wants. Raises PluginFailure."""
        self.options = await self._call(self._stub.GetDevicePluginOptions, pb.Empty())

    async def devices(self) -> AsyncIterator[list[Device]]:
        """The plugin's list, whenever it changes, until the plugin ends. Raises PluginFailure."""
        try:
            async for answer in self._stub.ListAndWatch(pb.Empty(), wait_for_ready=False):
                yield [_device(one) for one in answer.devices]
        except channel.RpcError as error:
            raise PluginFailure(error.details() or error.code().name) from error

    async def prefer(self, available: Sequence[str], must: Sequence[str], size: int) -> list[str]:
        """Which devices the plugin would rather give away together. Raises PluginFailure."""
        request = pb.PreferredAllocationRequest(
            container_requests=[
                pb.ContainerPreferredAllocationRequest(
                    available_deviceIDs=available, must_include_deviceIDs=must, allocation_size=size
                )
            ]
        )
        answer = await self._call(self._stub.GetPreferredAllocation, request)
        return list(answer.container_responses[0].deviceIDs) if answer.container_responses else []

    async def allocate(self, ids: Sequence[str]) -> pb.ContainerAllocateResponse:
        """What a container needs to use the devices. Raises PluginFailure."""
        request = pb.AllocateRequest(container_requests=[pb.ContainerAllocateRequest(devices_ids=ids)])
        answer: pb.AllocateResponse = await self._call(self._stub.Allocate, request)
        if len(answer.container_responses) != 1:
            raise PluginFailure(f"the plugin answered for {len(answer.container_responses)} containers instead of 1")
        return answer.container_responses[0]

    async def pre_start(self, ids: Sequence[str]) -> None:
        """Have the plugin prepare the devices for a container that is about to start. Raises PluginFailure."""
        await self._call(self._stub.PreStartContainer, pb.PreStartContainerRequest(devices_ids=ids))

    async def _call(self, method: Any, request: Message) -> Any:
        try:
            return await method(request, timeout=TIMEOUT)
        except asyncio.CancelledError as cancelled:
            if not channel.was_closed():
                raise
            raise PluginFailure(f"{self.resource}: the connection was closed") from cancelled
        except channel.RpcError as error:
            raise PluginFailure(f"{self.resource}: {error.details() or error.code().name}") from error


def _device(one: pb.Device) -> Device:
    return Device(one.ID, one.health == HEALTHY, tuple(node.ID for node in one.topology.nodes))
