"""The seam to CSI drivers: a service written as plain methods, and a client that tells certain from uncertain ends."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.component.tracing import RECORDER
from pynetes.rpc import server
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver, DriverFailure, capability

SERVICES = pb.DESCRIPTOR.services_by_name


class Identity:
    """A driver that becomes ready at the second question."""

    def __init__(self) -> None:
        self.asked = 0

    async def probe(self, request: pb.ProbeRequest) -> pb.ProbeResponse:
        self.asked += 1
        response = pb.ProbeResponse()
        response.ready.value = self.asked > 1
        return response

    async def get_plugin_info(self, request: pb.GetPluginInfoRequest) -> pb.GetPluginInfoResponse:
        return pb.GetPluginInfoResponse(name="scripted.example")


class Node:
    """A node service with one good, one refusing, one hanging and one broken call."""

    async def node_get_capabilities(self, request: pb.NodeGetCapabilitiesRequest) -> pb.NodeGetCapabilitiesResponse:
        kinds = (pb.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME, 99)
        return pb.NodeGetCapabilitiesResponse(
            capabilities=[pb.NodeServiceCapability(rpc=pb.NodeServiceCapability.RPC(type=kind)) for kind in kinds]
        )

    async def node_stage_volume(self, request: pb.NodeStageVolumeRequest) -> pb.NodeStageVolumeResponse:
        raise server.Failure("NOT_FOUND", f"no volume {request.volume_id}")

    async def node_publish_volume(self, request: pb.NodePublishVolumeRequest) -> pb.NodePublishVolumeResponse:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def node_unstage_volume(self, request: pb.NodeUnstageVolumeRequest) -> pb.NodeUnstageVolumeResponse:
        raise OSError("disk on fire")


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Driver]:
    """A client of the scripted driver, on a socket where a killed predecessor left its file."""
    socket = tmp_path / "plugins" / "csi.sock"
    socket.parent.mkdir()
    socket.touch()
    services = {SERVICES["Identity"]: Identity(), SERVICES["Node"]: Node()}
    async with server.serving(socket, services, path=15, target="scripted"):
        client = Driver(socket, source="test")
        yield client
        await client.close()
    assert not socket.exists()


async def test_identity(driver: Driver) -> None:
    """The name is the driver's own, and waiting ends when it says that it is ready."""
    await driver.wait_ready(deadline=5.0)
    assert await driver.plugin_name() == "scripted.example"


async def test_unknown_capabilities(driver: Driver) -> None:
    """A capability that is newer than we are is passed on by its number, not an error."""
    assert await driver.node_capabilities() == {"STAGE_UNSTAGE_VOLUME", "99"}


async def test_refusal_is_certain(driver: Driver) -> None:
    """A driver's refusal keeps its code and message, and is final; the call is recorded with its volume."""
    with pytest.raises(DriverFailure, match="NOT_FOUND: no volume v1") as caught:
        await driver.node("NodeStageVolume", pb.NodeStageVolumeRequest(volume_id="v1"))
    assert caught.value.absent and not caught.value.uncertain
    assert any(one.path == 15 and one.object == "volumes v1" for one in RECORDER.ring)


async def test_hanging_driver_is_uncertain(driver: Driver) -> None:
    """A driver that hangs costs its deadline, and nobody knows whether it did what was asked."""
    with pytest.raises(DriverFailure) as caught:
        await driver.node("NodePublishVolume", pb.NodePublishVolumeRequest(volume_id="v1"), timeout=0.05)
    assert caught.value.code == "DEADLINE_EXCEEDED" and caught.value.uncertain


async def test_bug_in_driver(driver: Driver) -> None:
    """An exception in a service is INTERNAL with its message, not a lost connection."""
    with pytest.raises(DriverFailure, match="INTERNAL: OSError: disk on fire"):
        await driver.node("NodeUnstageVolume", pb.NodeUnstageVolumeRequest(volume_id="v1"))


async def test_unimplemented(driver: Driver) -> None:
    """What a service has not is UNIMPLEMENTED."""
    with pytest.raises(DriverFailure, match="UNIMPLEMENTED"):
        await driver.node("NodeGetInfo", pb.NodeGetInfoRequest())


async def test_long_path(tmp_path: Path) -> None:
    """A socket whose path is longer than the kernel takes is served and reached all the same."""
    socket = tmp_path / ("a" * 60) / ("b" * 60) / "csi.sock"
    async with server.serving(socket, {SERVICES["Identity"]: Identity()}, path=15, target="scripted"):
        client = Driver(socket, source="test")
        assert await client.plugin_name() == "scripted.example"
        await client.close()


async def test_nobody_there(tmp_path: Path) -> None:
    """A driver that is not there is UNAVAILABLE."""
    client = Driver(tmp_path / "absent.sock", source="test")
    with pytest.raises(DriverFailure, match="UNAVAILABLE"):
        await client.wait_ready(deadline=0.0)
    await client.close()


@pytest.mark.parametrize(
    ("modes", "fine", "expected"),
    [
        (["ReadWriteOnce"], False, "SINGLE_NODE_WRITER"),
        (["ReadWriteOnce", "ReadWriteMany"], False, "MULTI_NODE_MULTI_WRITER"),
        (["ReadOnlyMany"], True, "MULTI_NODE_READER_ONLY"),
        (["ReadWriteOncePod"], False, "SINGLE_NODE_WRITER"),
        (["ReadWriteOncePod"], True, "SINGLE_NODE_SINGLE_WRITER"),
        (["ReadWriteOnce"], True, "SINGLE_NODE_MULTI_WRITER"),
    ],
)
def test_access_modes(modes: list[str], fine: bool, expected: str) -> None:
    """The widest access mode counts, and the finer ones go to drivers that know them."""
    mode = capability(modes, fine=fine).access_mode.mode
    assert pb.VolumeCapability.AccessMode.Mode.Name(mode) == expected


def test_block_and_mount() -> None:
    """A capability is either of a device or of a filesystem."""
    assert capability(["ReadWriteOnce"], block=True).WhichOneof("access_type") == "block"
    made = capability(["ReadWriteOnce"], fs_type="ext4", mount_flags=["noatime"])
    assert (made.mount.fs_type, list(made.mount.mount_flags)) == ("ext4", ["noatime"])
