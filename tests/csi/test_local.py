"""The driver `local` beyond what the specification says: crashes, full disks, several drivers, damaged volumes."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pynetes.component import command
from pynetes.csi.local import driver as local
from pynetes.csi.local import filesystem, images, loop
from pynetes.csi.local.store import Busy, Store, Volume, volume_id
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver, DriverFailure
from tests.csi.conftest import BLOCK, MIB, MOUNT, Bench

pytestmark = pytest.mark.root


def a_volume(name: str = "one") -> Volume:
    return Volume(id=volume_id(name), name=name, size=MIB)


def test_half_made_is_nothing(disk: Path) -> None:
    """A crash before the rename leaves no volume, and what it leaves is removed at the next start."""
    store = Store(disk / "volumes")
    left = store.root / "making" / f"{volume_id('one')}.1"
    left.mkdir()
    (left / "image").write_bytes(b"half")
    assert Store(disk / "volumes").volumes() == []
    assert store.recover() == 1 and not left.exists()


def test_failure_while_making_leaves_nothing(disk: Path) -> None:
    """An error in the middle removes what was begun."""
    store = Store(disk / "volumes")
    with pytest.raises(OSError, match="torn"), store.making(a_volume()) as image:
        image.write_bytes(b"half")
        raise OSError("torn")
    assert store.volumes() == [] and not list((store.root / "making").iterdir())


def test_what_another_makes_is_left_alone(disk: Path) -> None:
    """A driver that starts does not clean up under one that works."""
    store = Store(disk / "volumes")
    other = Store(disk / "volumes")
    with other.locked(volume_id("one")), other.making(a_volume()) as image:
        image.write_bytes(b"x")
        assert store.recover() == 0
        with pytest.raises(Busy), store.locked(volume_id("one")):
            pass
    assert [one.name for one in store.volumes()] == ["one"]


def test_machine_is_the_folder(disk: Path) -> None:
    """Drivers that share a folder are of one machine; another folder is another."""
    assert Store(disk / "a").machine == Store(disk / "a").machine != Store(disk / "b").machine


@pytest.fixture
def small(disk: Path) -> Iterator[Path]:
    """A disk of 96 MiB."""
    folder = disk / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(folder)], check=True)
    yield folder
    for image in folder.glob("**/image"):
        loop.detach(image)
    subprocess.run(["umount", "-l", str(folder)], check=True)


def create(name: str, size: int, **parameters: str) -> pb.CreateVolumeRequest:
    return pb.CreateVolumeRequest(
        name=name,
        capacity_range=pb.CapacityRange(required_bytes=size),
        volume_capabilities=[BLOCK],
        parameters=parameters,
    )


async def test_full_disk(small: Path) -> None:
    """What does not fit is refused before anything is lost; thin volumes are promised no more than there is."""
    config = local.Config(socket=small / "csi.sock", volumes=small / "volumes", node="n")
    async with local.serving(config) as store:
        driver = Driver(config.socket, source="test")
        await driver.controller("CreateVolume", create("thin", 60 * MIB, thin="true"))
        for name, parameters in (("thick", {}), ("thin-too", {"thin": "true"})):
            with pytest.raises(DriverFailure, match="RESOURCE_EXHAUSTED"):
                await driver.controller("CreateVolume", create(name, 60 * MIB, **parameters))
        (only,) = store.volumes()
        grow = pb.ControllerExpandVolumeRequest(
            volume_id=only.id, capacity_range=pb.CapacityRange(required_bytes=200 * MIB)
        )
        with pytest.raises(DriverFailure, match="OUT_OF_RANGE"):
            await driver.controller("ControllerExpandVolume", grow)
        assert store.volumes() == [only] and store.image(only).stat().st_size == 60 * MIB
        (small / "others").write_bytes(b"x" * 80 * MIB)
        with pytest.raises(DriverFailure, match="RESOURCE_EXHAUSTED"):
            await driver.controller("CreateVolume", create("late", 8 * MIB))
        await driver.close()


async def test_two_drivers_share_one_superblock(disk: Path) -> None:
    """A volume that two nodes of the machine have has one device, and both see what either writes."""
    benches = []
    shared = pb.VolumeCapability(
        mount=pb.VolumeCapability.MountVolume(), access_mode={"mode": "MULTI_NODE_MULTI_WRITER"}
    )
    configs = [
        local.Config(socket=disk / node / "csi.sock", volumes=disk / "volumes", node=node) for node in ("n1", "n2")
    ]
    async with local.serving(configs[0]) as store, local.serving(configs[1]):
        for config in configs:
            client = Driver(config.socket, source="test")
            able = await client.controller_capabilities()
            benches.append(Bench(client, disk / config.node, config.node, able, await client.node_capabilities()))
        volume = await benches[0].create(cap=shared)
        targets = []
        for bench in benches:
            await bench.publish(volume, cap=shared)
            await bench.stage(volume, cap=shared)
            targets.append(await bench.bind(volume, cap=shared))
        (targets[0] / "file").write_text("seen")
        assert (targets[1] / "file").read_text() == "seen"
        await benches[0].release(volume)
        assert (targets[1] / "file").read_text() == "seen", "the device stays for the other"
        await benches[1].release(volume)
        assert loop.find(store.image(store.volumes()[0])) is None
        for bench in benches:
            await bench.driver.close()


async def test_never_formats_at_staging(bench: Bench, disk: Path) -> None:
    """A volume whose filesystem was destroyed is an error for a person, not a blank to be formatted."""
    volume = await bench.create()
    image = disk / "volumes" / "volumes" / volume.volume_id / "image"
    with image.open("r+b") as file:
        file.seek(1024)
        file.write(b"\0" * 1024)
    with pytest.raises(DriverFailure, match="has no filesystem any more"):
        await bench.stage(volume)


async def test_unclean_is_checked(bench: Bench, disk: Path) -> None:
    """A filesystem that has seen errors is repaired before it is mounted; one that was unmounted well costs nothing."""
    volume = await bench.create()
    image = disk / "volumes" / "volumes" / volume.volume_id / "image"
    assert filesystem.is_clean(image)
    await command.run(["tune2fs", "-E", "force_fsck", str(image)])
    assert not filesystem.is_clean(image)
    await bench.use(volume)
    await bench.release(volume)
    assert filesystem.is_clean(image)


async def test_missing_image_is_abnormal(bench: Bench, disk: Path) -> None:
    """The condition of a volume says what ails it."""
    volume = await bench.create()
    (disk / "volumes" / "volumes" / volume.volume_id / "image").unlink()
    request = pb.ControllerGetVolumeRequest(volume_id=volume.volume_id)
    response = await bench.driver.controller("ControllerGetVolume", request)
    assert response.status.volume_condition.abnormal


async def test_killed_while_frozen(bench: Bench, disk: Path) -> None:
    """A driver that was killed in the middle of a snapshot left the filesystem frozen; the next one lets it go on."""
    volume = await bench.create()
    target = await bench.use(volume)
    images.freeze(target)
    config = local.Config(socket=disk / "again.sock", volumes=disk / "volumes", node="node-1")
    async with local.serving(config):
        await asyncio.wait_for(asyncio.to_thread((target / "file").write_text, "free"), 10)
    await bench.release(volume)


async def test_ephemeral(bench: Bench) -> None:
    """A volume that is written in a pod is made with it and goes with it; asking twice is once."""
    target = bench.folder / "pod" / "inline"
    request = pb.NodePublishVolumeRequest(
        volume_id="csi-abc",
        target_path=str(target),
        volume_capability=MOUNT,
        volume_context={"csi.storage.k8s.io/ephemeral": "true", "size": "32Mi"},
    )
    for _ in range(2):
        await bench.driver.node("NodePublishVolume", request)
    stat = os.statvfs(target)
    assert 16 * MIB < stat.f_blocks * stat.f_frsize <= 32 * MIB
    volumes = (await bench.driver.controller("ListVolumes", pb.ListVolumesRequest())).entries
    assert len(volumes) == 1
    gone = pb.NodeUnpublishVolumeRequest(volume_id="csi-abc", target_path=str(target))
    for _ in range(2):
        await bench.driver.node("NodeUnpublishVolume", gone)
    assert not target.exists()
    assert not (await bench.driver.controller("ListVolumes", pb.ListVolumesRequest())).entries


async def test_same_request_at_once(bench: Bench) -> None:
    """Two calls for one name at the same time make one volume: the second waits its turn as ABORTED, or gets it."""
    results = await asyncio.gather(*(bench.create("twin") for _ in range(6)), return_exceptions=True)
    made = {one.volume_id for one in results if isinstance(one, pb.Volume)}
    refused = {one.code for one in results if isinstance(one, DriverFailure)}
    assert len(made) == 1 and refused <= {"ABORTED"}


async def test_unpublish_keeps_data(bench: Bench) -> None:
    """A folder with somebody's data at the target is not removed, only a mount point."""
    volume = await bench.create()
    target = bench.target(volume)
    target.mkdir(parents=True)
    (target / "precious").write_text("data")
    with pytest.raises(DriverFailure):
        await bench.unbind(volume)
    assert (target / "precious").read_text() == "data"


def test_devices_of_images(disk: Path) -> None:
    """An image has one device, whatever it was called when it was attached: a driver's pod that has ended took its
    mounts with it, and with them the path. Before a cluster is removed its images' devices are freed."""
    (disk / "real").mkdir()
    (disk / "alias").mkdir()
    image = disk / "real" / "image"
    images.allocate(image, MIB)
    subprocess.run(["mount", "--bind", str(disk / "real"), str(disk / "alias")], check=True)
    device = loop.attach(disk / "alias" / "image")
    subprocess.run(["umount", "-l", str(disk / "alias")], check=True)
    assert loop.find(image) == device and loop.attach(image) == device
    assert filesystem.users_of(device) == []
    assert loop.detach_all([image, disk / "absent"]) == 1 and loop.detach_all([image]) == 0
    assert loop.find(image) is None
