"""The CSI controller service over a cloud's disks, through its socket, with the client that Pynetes has for drivers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pynetes.cloud import csi
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import Driver, DriverFailure, capability
from tests.cloud import clouds
from tests.cloud.clouds import Site

GIB = 1 << 30
MOUNT = capability(["ReadWriteOnce"], fs_type="ext4")


@pytest.fixture(params=["local", "aws"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A fresh cloud."""
    if request.param == "local":
        async with clouds.local(tmp_path) as local:
            yield local
        return
    from tests.cloud import aws

    async with aws.aws(request.getfixturevalue("moto_server")) as amazon:
        yield amazon


@pytest.fixture
async def driver(site: Site, tmp_path: Path) -> AsyncIterator[Driver]:
    """A client of the service."""
    assert site.provider.volumes is not None
    socket = tmp_path / "csi.sock"
    async with csi.serving(site.provider.volumes, csi.DRIVERS[site.provider.name], socket):
        client = Driver(socket, source="test")
        yield client
        await client.close()


async def refused(call: Any, code: str) -> None:
    with pytest.raises(DriverFailure) as caught:
        await call
    assert caught.value.code == code, str(caught.value)


async def volume(driver: Driver, site: Site, name: str, size: int = GIB, **more: Any) -> pb.Volume:
    zone = next(each.zone for each in await site.provider.instances.list() if each.name == site.nodes[0])
    where = pb.Topology(segments={csi.DRIVERS[site.provider.name].topology: zone})
    request = pb.CreateVolumeRequest(
        name=name,
        capacity_range=pb.CapacityRange(required_bytes=size),
        volume_capabilities=[MOUNT],
        accessibility_requirements=pb.TopologyRequirement(requisite=[where], preferred=[where]),
        parameters={"csi.storage.k8s.io/pvc/name": "data"},
        **more,
    )
    made: pb.Volume = (await driver.controller("CreateVolume", request)).volume
    return made


async def test_the_whole_life_of_a_disk(driver: Driver, site: Site) -> None:
    """Create, attach, expand, snapshot, restore, detach, delete; each twice with the same answer."""
    assert await driver.plugin_name() == csi.DRIVERS[site.provider.name].name
    made = await volume(driver, site, "pvc-1", GIB // 2)
    assert made.capacity_bytes == GIB and await volume(driver, site, "pvc-1") == made
    await refused(volume(driver, site, "pvc-1", 5 * GIB), "ALREADY_EXISTS")
    one, other = [await site.instance_id(node) for node in site.nodes[:2]]
    attach = pb.ControllerPublishVolumeRequest(volume_id=made.volume_id, node_id=one, volume_capability=MOUNT)
    first = await driver.controller("ControllerPublishVolume", attach)
    assert first.publish_context[csi.DEVICE].startswith("/dev/")
    assert await driver.controller("ControllerPublishVolume", attach) == first
    elsewhere = pb.ControllerPublishVolumeRequest(volume_id=made.volume_id, node_id=other, volume_capability=MOUNT)
    await refused(driver.controller("ControllerPublishVolume", elsewhere), "FAILED_PRECONDITION")
    delete = pb.DeleteVolumeRequest(volume_id=made.volume_id)
    await refused(driver.controller("DeleteVolume", delete), "FAILED_PRECONDITION")
    grow = pb.ControllerExpandVolumeRequest(
        volume_id=made.volume_id, capacity_range=pb.CapacityRange(required_bytes=3 * GIB)
    )
    assert (await driver.controller("ControllerExpandVolume", grow)).capacity_bytes == 3 * GIB
    copy = pb.CreateSnapshotRequest(name="snap-1", source_volume_id=made.volume_id)
    snapshot = (await driver.controller("CreateSnapshot", copy)).snapshot
    assert (await driver.controller("CreateSnapshot", copy)).snapshot.snapshot_id == snapshot.snapshot_id
    source = pb.VolumeContentSource(snapshot={"snapshot_id": snapshot.snapshot_id})
    restored = await volume(driver, site, "pvc-2", volume_content_source=source)
    assert restored.capacity_bytes >= snapshot.size_bytes
    listed = await driver.controller("ListVolumes", pb.ListVolumesRequest())
    assert {each.volume.volume_id: list(each.status.published_node_ids) for each in listed.entries} == {
        made.volume_id: [one],
        restored.volume_id: [],
    }
    part = await driver.controller("ListVolumes", pb.ListVolumesRequest(max_entries=1))
    rest = await driver.controller("ListVolumes", pb.ListVolumesRequest(starting_token=part.next_token))
    assert len(part.entries) == len(rest.entries) == 1 and part.entries != rest.entries
    for _ in range(2):
        detach = pb.ControllerUnpublishVolumeRequest(volume_id=made.volume_id)
        await driver.controller("ControllerUnpublishVolume", detach)
        await driver.controller("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id=snapshot.snapshot_id))
    for each in (made, restored, made):
        await driver.controller("DeleteVolume", pb.DeleteVolumeRequest(volume_id=each.volume_id))
    assert not (await driver.controller("ListVolumes", pb.ListVolumesRequest())).entries


async def test_what_the_specification_demands_of_requests(driver: Driver, site: Site) -> None:
    """Missing members, unknown disks, and modes that a disk cannot have."""
    many = capability(["ReadWriteMany"], fs_type="ext4")
    await refused(
        driver.controller("CreateVolume", pb.CreateVolumeRequest(volume_capabilities=[MOUNT])), "INVALID_ARGUMENT"
    )
    await refused(driver.controller("CreateVolume", pb.CreateVolumeRequest(name="n")), "INVALID_ARGUMENT")
    shared = pb.CreateVolumeRequest(name="n", volume_capabilities=[many])
    await refused(driver.controller("CreateVolume", shared), "INVALID_ARGUMENT")
    absent = "vol-0123456789abcdef0"
    attach = pb.ControllerPublishVolumeRequest(volume_id=absent, node_id="i-1", volume_capability=MOUNT)
    await refused(driver.controller("ControllerPublishVolume", attach), "NOT_FOUND")
    await driver.controller("DeleteVolume", pb.DeleteVolumeRequest(volume_id=absent))
    asked = pb.ValidateVolumeCapabilitiesRequest(volume_id=absent, volume_capabilities=[MOUNT])
    await refused(driver.controller("ValidateVolumeCapabilities", asked), "NOT_FOUND")
    made = await volume(driver, site, "pvc-1")
    asked = pb.ValidateVolumeCapabilitiesRequest(volume_id=made.volume_id, volume_capabilities=[many])
    assert not (await driver.controller("ValidateVolumeCapabilities", asked)).HasField("confirmed")
