"""The node side of a cloud's disks: what it makes of a device that was attached, and what it never does."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from pynetes.csi.disks import driver
from pynetes.csi.disks.node import Instance, device_of
from pynetes.csi.local import filesystem, loop
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver, DriverFailure, capability
from pynetes.rpc.server import Failure

MIB = 1 << 20
NAME, VOLUME = "disks.example.com", "vol-1"
MOUNT, BLOCK = capability(["ReadWriteOnce"], fs_type="ext4"), capability(["ReadWriteOnce"], block=True)


def test_a_disk_that_is_not_there_yet_is_asked_for_again(tmp_path: Path) -> None:
    """NOT_FOUND, which the kubelet tries again; a plain file is no device; without a context nothing is guessed."""
    (tmp_path / "file").touch()
    for told in (tmp_path / "absent", tmp_path / "file"):
        with pytest.raises(Failure, match="is not at") as caught:
            device_of(VOLUME, {"devicePath": str(told)}, by_id=tmp_path)
        assert caught.value.code.name == "NOT_FOUND"
    with pytest.raises(Failure, match="publish_context is missing"):
        device_of(VOLUME, {}, by_id=tmp_path)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The name under which a cloud attached a blank disk of 32 MiB."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(32 * MIB)
    device = loop.attach(image)
    link = tmp_path / "by-id"
    link.symlink_to(device)
    yield link
    loop.detach(image)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Driver]:
    """The driver's part on a node."""
    async with driver.serving(NAME, Instance("i-1", {"zone": "a"}), kubelet=tmp_path / "kubelet") as socket:
        client = Driver(socket, source="test")
        yield client
        await client.close()


def staging(tmp_path: Path, disk: Path, how: pb.VolumeCapability = MOUNT) -> pb.NodeStageVolumeRequest:
    """The kubelet's request."""
    return pb.NodeStageVolumeRequest(
        volume_id=VOLUME,
        staging_target_path=str(tmp_path / "staged"),
        volume_capability=how,
        publish_context={"devicePath": str(disk)},
    )


def publishing(tmp_path: Path, disk: Path, how: pb.VolumeCapability = MOUNT) -> pb.NodePublishVolumeRequest:
    """The kubelet's request."""
    return pb.NodePublishVolumeRequest(
        volume_id=VOLUME,
        staging_target_path=str(tmp_path / "staged"),
        target_path=str(tmp_path / "pod" / "mount"),
        volume_capability=how,
        publish_context={"devicePath": str(disk)},
    )


async def gone(node: Driver, tmp_path: Path) -> None:
    """Unpublish and unstage, each twice."""
    for _ in range(2):
        target = str(tmp_path / "pod" / "mount")
        await node.node("NodeUnpublishVolume", pb.NodeUnpublishVolumeRequest(volume_id=VOLUME, target_path=target))
    for _ in range(2):
        staged = str(tmp_path / "staged")
        await node.node("NodeUnstageVolume", pb.NodeUnstageVolumeRequest(volume_id=VOLUME, staging_target_path=staged))


@pytest.mark.root
async def test_a_blank_disk_is_made_once_keeps_what_is_written_and_grows(
    tmp_path: Path, disk: Path, node: Driver
) -> None:
    """Its filesystem is made when it is first staged, and never again; each call can come twice."""
    info = await node.node("NodeGetInfo", pb.NodeGetInfoRequest())
    assert info.node_id == "i-1" and dict(info.accessible_topology.segments) == {"zone": "a"}
    mount = tmp_path / "pod" / "mount"
    for text in ("", "kept"):
        for _ in range(2):
            await node.node("NodeStageVolume", staging(tmp_path, disk))
        for _ in range(2):
            await node.node("NodePublishVolume", publishing(tmp_path, disk))
        written = mount / "file"
        assert (written.read_text() if written.exists() else "") == text
        written.write_text("kept")
        stats = pb.NodeGetVolumeStatsRequest(volume_id=VOLUME, volume_path=str(mount))
        before = (await node.node("NodeGetVolumeStats", stats)).usage[0].total
        if text:
            with (tmp_path / "disk.img").open("r+b") as file:
                file.truncate(64 * MIB)
            loop.grow(disk.resolve())
            expand = pb.NodeExpandVolumeRequest(volume_id=VOLUME, volume_path=str(mount))
            if filesystem.can_grow_mounted():
                assert (await node.node("NodeExpandVolume", expand)).capacity_bytes == 64 * MIB
                assert (await node.node("NodeGetVolumeStats", stats)).usage[0].total > before
        await gone(node, tmp_path)
    assert not filesystem.mounts_of(disk.resolve()) and not mount.exists()


@pytest.mark.root
async def test_what_is_on_a_disk_is_never_made_anew(tmp_path: Path, disk: Path, node: Driver) -> None:
    """Something that is no filesystem of ours stays as it is."""
    disk.resolve().write_bytes(b"somebody's data" + bytes(MIB))
    with pytest.raises(DriverFailure, match="it stays as it is"):
        await node.node("NodeStageVolume", staging(tmp_path, disk))
    assert disk.resolve().open("rb").read(15) == b"somebody's data"


@pytest.mark.root
async def test_a_pod_gets_the_device_itself(tmp_path: Path, disk: Path, node: Driver) -> None:
    """volumeMode Block; a volume that was not staged is not published."""
    with pytest.raises(DriverFailure, match="is not staged"):
        await node.node("NodePublishVolume", publishing(tmp_path, disk))
    await node.node("NodeStageVolume", staging(tmp_path, disk, BLOCK))
    await node.node("NodePublishVolume", publishing(tmp_path, disk, BLOCK))
    target = tmp_path / "pod" / "mount"
    assert target.stat().st_rdev == disk.resolve().stat().st_rdev
    stats = pb.NodeGetVolumeStatsRequest(volume_id=VOLUME, volume_path=str(target))
    assert (await node.node("NodeGetVolumeStats", stats)).usage[0].total == 32 * MIB
    await gone(node, tmp_path)
