"""A server's streams: they end with the server, and with the code that they fail with."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.rpc import channel, server
from pynetes.rpc.deviceplugin import api_pb2 as pb
from pynetes.rpc.deviceplugin import api_pb2_grpc as stubs

SERVICE = pb.DESCRIPTOR.services_by_name["DevicePlugin"]


class Plugin:
    """Lists one device, and then says nothing more, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails, self.ended = fails, asyncio.Event()

    async def list_and_watch(self, request: pb.Empty) -> AsyncIterator[pb.ListAndWatchResponse]:
        try:
            yield pb.ListAndWatchResponse(devices=[pb.Device(ID="one", health="Healthy")])
            if self.fails:
                raise server.Failure("RESOURCE_EXHAUSTED", "no more")
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended.set()


async def read(socket: Path, first: asyncio.Event) -> list[str]:
    """All that a stream says, until it ends."""
    opened, heard = channel.unix_channel(socket, path=16, source="test", target="plugin"), []
    try:
        async for answer in stubs.DevicePluginStub(opened).ListAndWatch(pb.Empty()):  # type: ignore[no-untyped-call]
            heard += [one.ID for one in answer.devices]
            first.set()
    finally:
        await opened.close()
    return heard


async def test_streams_end_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without an end does not hold up the server that stops: its reader hears of the end, and so does it."""
    monkeypatch.setattr(server, "GRACE", 3600.0)
    plugin, first, socket = Plugin(), asyncio.Event(), tmp_path / "plugin.sock"
    async with (
        asyncio.timeout(30),
        asyncio.TaskGroup() as group,
        server.serving(socket, {SERVICE: plugin}, path=16, target="plugin"),
    ):
        reading = group.create_task(read(socket, first))
        await first.wait()
    assert reading.result() == ["one"]
    assert plugin.ended.is_set()


async def test_a_stream_fails_with_its_code(tmp_path: Path) -> None:
    """What a stream raises is its end, with code and message."""
    socket = tmp_path / "plugin.sock"
    async with server.serving(socket, {SERVICE: Plugin(fails=True)}, path=16, target="plugin"):
        with pytest.raises(channel.RpcError) as failed:
            await read(socket, asyncio.Event())
    assert (failed.value.code().name, failed.value.details()) == ("RESOURCE_EXHAUSTED", "no more")
