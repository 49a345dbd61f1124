"""The CSI specification's rules, call by call, on a driver that may be any: PYNETES_CSI_ENDPOINT=unix:///… names it.

What the specification demands of every RPC: required members (INVALID_ARGUMENT), what does not exist (NOT_FOUND), that
asking twice is answered as the first time, and that asking twice for different things is refused (ALREADY_EXISTS).
"""

import os
import uuid
from typing import Any

import pytest

from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.csi.driver import DriverFailure, capability
from tests.csi.conftest import BLOCK, MIB, MOUNT, Bench

pytestmark = pytest.mark.root

ABSENT = "v-absent"


async def refused(call: Any, *codes: str) -> None:
    """The call must end with one of these codes."""
    with pytest.raises(DriverFailure) as caught:
        await call
    assert caught.value.code in codes, str(caught.value)


async def test_identity(bench: Bench) -> None:
    """The name is a domain name of at most 63 characters; Probe and capabilities answer."""
    name = await bench.driver.plugin_name()
    assert 0 < len(name) <= 63 and all(part.isalnum() or "-" in part for part in name.split("."))
    assert "CONTROLLER_SERVICE" in await bench.driver.plugin_capabilities()


async def test_node_info(bench: Bench) -> None:
    """A node has an ID of at most 256 bytes and no negative number of volumes."""
    info = await bench.driver.node("NodeGetInfo", pb.NodeGetInfoRequest())
    assert 0 < len(info.node_id.encode()) <= 256 and info.max_volumes_per_node >= 0
    topological = "VOLUME_ACCESSIBILITY_CONSTRAINTS" in await bench.driver.plugin_capabilities()
    assert not topological or info.accessible_topology.segments


REQUIRED = [
    ("controller", "CreateVolume", pb.CreateVolumeRequest(volume_capabilities=[MOUNT])),
    ("controller", "CreateVolume", pb.CreateVolumeRequest(name="n")),
    ("controller", "DeleteVolume", pb.DeleteVolumeRequest()),
    ("controller", "ControllerPublishVolume", pb.ControllerPublishVolumeRequest(node_id="n", volume_capability=MOUNT)),
    (
        "controller",
        "ControllerPublishVolume",
        pb.ControllerPublishVolumeRequest(volume_id=ABSENT, volume_capability=MOUNT),
    ),
    ("controller", "ControllerPublishVolume", pb.ControllerPublishVolumeRequest(volume_id=ABSENT, node_id="n")),
    ("controller", "ControllerUnpublishVolume", pb.ControllerUnpublishVolumeRequest()),
    ("controller", "ValidateVolumeCapabilities", pb.ValidateVolumeCapabilitiesRequest(volume_capabilities=[MOUNT])),
    ("controller", "CreateSnapshot", pb.CreateSnapshotRequest(name="n")),
    ("controller", "CreateSnapshot", pb.CreateSnapshotRequest(source_volume_id=ABSENT)),
    ("controller", "DeleteSnapshot", pb.DeleteSnapshotRequest()),
    ("controller", "ControllerExpandVolume", pb.ControllerExpandVolumeRequest(capacity_range={"required_bytes": 1})),
    ("controller", "ControllerExpandVolume", pb.ControllerExpandVolumeRequest(volume_id=ABSENT)),
    ("node", "NodeStageVolume", pb.NodeStageVolumeRequest(staging_target_path="/s", volume_capability=MOUNT)),
    ("node", "NodeStageVolume", pb.NodeStageVolumeRequest(volume_id=ABSENT, volume_capability=MOUNT)),
    ("node", "NodeStageVolume", pb.NodeStageVolumeRequest(volume_id=ABSENT, staging_target_path="/s")),
    ("node", "NodeUnstageVolume", pb.NodeUnstageVolumeRequest(volume_id=ABSENT)),
    ("node", "NodeUnstageVolume", pb.NodeUnstageVolumeRequest(staging_target_path="/s")),
    ("node", "NodePublishVolume", pb.NodePublishVolumeRequest(target_path="/t", volume_capability=MOUNT)),
    ("node", "NodePublishVolume", pb.NodePublishVolumeRequest(volume_id=ABSENT, volume_capability=MOUNT)),
    ("node", "NodePublishVolume", pb.NodePublishVolumeRequest(volume_id=ABSENT, target_path="/t")),
    ("node", "NodeUnpublishVolume", pb.NodeUnpublishVolumeRequest(volume_id=ABSENT)),
    ("node", "NodeUnpublishVolume", pb.NodeUnpublishVolumeRequest(target_path="/t")),
    ("node", "NodeGetVolumeStats", pb.NodeGetVolumeStatsRequest(volume_path="/t")),
    ("node", "NodeGetVolumeStats", pb.NodeGetVolumeStatsRequest(volume_id=ABSENT)),
    ("node", "NodeExpandVolume", pb.NodeExpandVolumeRequest(volume_path="/t")),
    ("node", "NodeExpandVolume", pb.NodeExpandVolumeRequest(volume_id=ABSENT)),
]


async def test_required_members(bench: Bench) -> None:
    """A request without a required member is INVALID_ARGUMENT, for every RPC and member."""
    for service, rpc, request in REQUIRED:
        await refused(getattr(bench.driver, service)(rpc, request), "INVALID_ARGUMENT")


async def test_unknown_volumes(bench: Bench) -> None:
    """What does not exist is NOT_FOUND; what is to be gone and is, is fine."""
    driver, folder = bench.driver, str(bench.folder)
    missing = {
        "ControllerPublishVolume": pb.ControllerPublishVolumeRequest(
            volume_id=ABSENT, node_id=bench.node, volume_capability=MOUNT
        ),
        "ValidateVolumeCapabilities": pb.ValidateVolumeCapabilitiesRequest(
            volume_id=ABSENT, volume_capabilities=[MOUNT]
        ),
        "CreateSnapshot": pb.CreateSnapshotRequest(name="n", source_volume_id=ABSENT),
        "ControllerExpandVolume": pb.ControllerExpandVolumeRequest(
            volume_id=ABSENT, capacity_range={"required_bytes": MIB}
        ),
    }
    for rpc, request in missing.items():
        await refused(driver.controller(rpc, request), "NOT_FOUND")
    await driver.controller("DeleteVolume", pb.DeleteVolumeRequest(volume_id=ABSENT))
    await driver.controller("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id="s-absent"))
    stage = pb.NodeStageVolumeRequest(volume_id=ABSENT, staging_target_path=folder, volume_capability=MOUNT)
    await refused(driver.node("NodeStageVolume", stage), "NOT_FOUND")
    stats = pb.NodeGetVolumeStatsRequest(volume_id=ABSENT, volume_path=folder)
    await refused(driver.node("NodeGetVolumeStats", stats), "NOT_FOUND")
    expand = pb.NodeExpandVolumeRequest(volume_id=ABSENT, volume_path=folder)
    await refused(driver.node("NodeExpandVolume", expand), "NOT_FOUND")


@pytest.mark.parametrize("identity", ["../../etc", "/etc/passwd", ".", "..", "a/b"])
async def test_ids_are_no_paths(bench: Bench, identity: str) -> None:
    """An ID that reads like a path finds nothing and removes nothing."""
    await bench.driver.controller("DeleteVolume", pb.DeleteVolumeRequest(volume_id=identity))
    request = pb.ValidateVolumeCapabilitiesRequest(volume_id=identity, volume_capabilities=[MOUNT])
    await refused(bench.driver.controller("ValidateVolumeCapabilities", request), "NOT_FOUND")


async def test_create_is_idempotent(bench: Bench) -> None:
    """The same name and request is the same volume; another size is ALREADY_EXISTS."""
    name = f"same-{uuid.uuid4()}"
    first, second = await bench.create(name), await bench.create(name)
    assert first.volume_id == second.volume_id and first.capacity_bytes == second.capacity_bytes >= 32 * MIB
    await refused(bench.create(name, size=64 * MIB), "ALREADY_EXISTS")
    await refused(bench.create(name, cap=BLOCK), "ALREADY_EXISTS")
    await bench.delete(first)
    await bench.delete(first)


async def test_create_refuses_nonsense(bench: Bench) -> None:
    """Ranges that are none, filesystems and parameters that nobody knows, and sources that are not there."""
    create, made = bench.driver.controller, {"name": "nonsense", "volume_capabilities": [MOUNT]}
    upside_down = pb.CapacityRange(required_bytes=64 * MIB, limit_bytes=32 * MIB)
    await refused(
        create("CreateVolume", pb.CreateVolumeRequest(**made, capacity_range=upside_down)),
        "INVALID_ARGUMENT",
        "OUT_OF_RANGE",
    )
    strange = capability(["ReadWriteOnce"], fs_type="strangefs")
    await refused(bench.create(cap=strange), "INVALID_ARGUMENT")
    no_mode = pb.VolumeCapability(mount=pb.VolumeCapability.MountVolume())
    await refused(bench.create(cap=no_mode), "INVALID_ARGUMENT")
    source = pb.VolumeContentSource(snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id="s-absent"))
    await refused(create("CreateVolume", pb.CreateVolumeRequest(**made, volume_content_source=source)), "NOT_FOUND")
    source = pb.VolumeContentSource(volume=pb.VolumeContentSource.VolumeSource(volume_id=ABSENT))
    await refused(create("CreateVolume", pb.CreateVolumeRequest(**made, volume_content_source=source)), "NOT_FOUND")
    await refused(bench.create(size=1 << 60), "OUT_OF_RANGE", "RESOURCE_EXHAUSTED")


async def test_topology(bench: Bench) -> None:
    """A volume is accessible from the node, and is not made where only another place would do."""
    volume = await bench.create()
    info = await bench.driver.node("NodeGetInfo", pb.NodeGetInfoRequest())
    here = dict(info.accessible_topology.segments)
    assert any(dict(one.segments).items() <= here.items() for one in volume.accessible_topology)
    elsewhere = pb.TopologyRequirement(requisite=[pb.Topology(segments=dict.fromkeys(here, "elsewhere"))])
    request = pb.CreateVolumeRequest(
        name="elsewhere", volume_capabilities=[MOUNT], accessibility_requirements=elsewhere
    )
    await refused(bench.driver.controller("CreateVolume", request), "RESOURCE_EXHAUSTED")
    await bench.delete(volume)


async def test_controller_publish(bench: Bench) -> None:
    """Publishing twice is once; a second node is refused for one writer, an unknown node is NOT_FOUND."""
    volume = await bench.create()
    await bench.publish(volume)
    await bench.publish(volume)
    await refused(bench.publish(volume, readonly=True), "ALREADY_EXISTS")
    request = pb.ControllerPublishVolumeRequest(
        volume_id=volume.volume_id, node_id="no-such-node", volume_capability=MOUNT
    )
    await refused(bench.driver.controller("ControllerPublishVolume", request), "NOT_FOUND", "FAILED_PRECONDITION")
    await refused(bench.delete(volume), "FAILED_PRECONDITION")
    await bench.unpublish(volume)
    await bench.unpublish(volume)
    await bench.delete(volume)


async def test_life_of_a_mounted_volume(bench: Bench) -> None:
    """Stage and publish twice each; data is there for the next pod; everything back twice each; then it can go."""
    volume = await bench.create()
    await bench.publish(volume)
    await refused(bench.bind(volume), "FAILED_PRECONDITION")
    for _ in range(2):
        await bench.stage(volume)
    for _ in range(2):
        target = await bench.bind(volume)
    (target / "file").write_text("kept")
    second = await bench.bind(volume, "other", readonly=True)
    assert (second / "file").read_text() == "kept"
    with pytest.raises(OSError, match="Read-only"):
        (second / "file").write_text("lost")
    for pod in ("pod", "pod", "other"):
        await bench.unbind(volume, pod)
    assert not target.exists()
    for _ in range(2):
        await bench.unstage(volume)
    await bench.unpublish(volume)
    assert (await bench.use(volume) / "file").read_text() == "kept"
    await bench.release(volume)
    await bench.delete(volume)


async def test_size_is_a_limit(bench: Bench) -> None:
    """More than the volume's size does not fit in it; its own statistics say so."""
    volume = await bench.create(size=32 * MIB)
    target = await bench.use(volume)
    with pytest.raises(OSError, match="No space left"):
        (target / "big").write_bytes(b"x" * 40 * MIB)
    request = pb.NodeGetVolumeStatsRequest(volume_id=volume.volume_id, volume_path=str(target))
    response = await bench.driver.node("NodeGetVolumeStats", request)
    usage = {pb.VolumeUsage.Unit.Name(one.unit): one for one in response.usage}
    assert 0 < usage["BYTES"].used <= usage["BYTES"].total <= volume.capacity_bytes
    assert usage["INODES"].total > 0
    await bench.release(volume)
    await bench.delete(volume)


async def test_life_of_a_device(bench: Bench) -> None:
    """A block volume is a device of the size that was asked for, and keeps what is written to it."""
    volume = await bench.create(cap=BLOCK)
    for expected in (b"\0" * 5, b"bytes"):
        target = await bench.use(volume, cap=BLOCK)
        assert target.is_block_device()
        with target.open("r+b", buffering=0) as device:
            assert device.seek(0, os.SEEK_END) == volume.capacity_bytes
            device.seek(0)
            assert device.read(5) == expected
            device.seek(0)
            device.write(b"bytes")
        stats = pb.NodeGetVolumeStatsRequest(volume_id=volume.volume_id, volume_path=str(target))
        response = await bench.driver.node("NodeGetVolumeStats", stats)
        assert response.usage[0].total == volume.capacity_bytes
        await bench.release(volume)
    await bench.delete(volume)


async def test_kinds_do_not_mix(bench: Bench) -> None:
    """A filesystem is not staged as a device, nor the other way round."""
    volume, device = await bench.create(), await bench.create(cap=BLOCK)
    await refused(bench.stage(volume, cap=BLOCK), "INVALID_ARGUMENT")
    await refused(bench.stage(device, cap=MOUNT), "INVALID_ARGUMENT")
    await bench.delete(volume)
    await bench.delete(device)


async def test_one_pod_only(bench: Bench) -> None:
    """SINGLE_NODE_SINGLE_WRITER: a second target is FAILED_PRECONDITION, the same one again is fine."""
    only = capability(["ReadWriteOncePod"], fine=True)
    volume = await bench.create(cap=only)
    await bench.use(volume, cap=only)
    await bench.bind(volume, cap=only)
    await refused(bench.bind(volume, "second", cap=only), "FAILED_PRECONDITION")
    await bench.release(volume)
    await bench.delete(volume)


@pytest.mark.parametrize("cap", [MOUNT, BLOCK], ids=["mount", "block"])
async def test_expand_in_use(bench: Bench, cap: pb.VolumeCapability) -> None:
    """A volume grows while a pod has it, twice is once, and it never shrinks."""
    volume = await bench.create(cap=cap)
    target = await bench.use(volume, cap=cap)
    range_ = pb.CapacityRange(required_bytes=64 * MIB)
    for _ in range(2):
        request = pb.ControllerExpandVolumeRequest(volume_id=volume.volume_id, capacity_range=range_)
        response = await bench.driver.controller("ControllerExpandVolume", request)
        assert response.capacity_bytes >= 64 * MIB
        if response.node_expansion_required:
            expand = pb.NodeExpandVolumeRequest(
                volume_id=volume.volume_id, volume_path=str(target), capacity_range=range_, volume_capability=cap
            )
            if "ONLINE" in await bench.driver.plugin_capabilities() or cap is BLOCK:
                await bench.driver.node("NodeExpandVolume", expand)
            else:
                await refused(bench.driver.node("NodeExpandVolume", expand), "FAILED_PRECONDITION", "OK")
                await bench.release(volume)
                await bench.use(volume, cap=cap)
                await bench.driver.node("NodeExpandVolume", expand)
                break
    if cap is MOUNT:
        stat = os.statvfs(target)
        assert stat.f_blocks * stat.f_frsize > 48 * MIB
    else:
        with target.open("rb") as device:
            assert device.seek(0, os.SEEK_END) == response.capacity_bytes
    smaller = pb.CapacityRange(required_bytes=MIB, limit_bytes=16 * MIB)
    request = pb.ControllerExpandVolumeRequest(volume_id=volume.volume_id, capacity_range=smaller)
    await refused(bench.driver.controller("ControllerExpandVolume", request), "OUT_OF_RANGE")
    await bench.release(volume)
    await bench.delete(volume)


async def test_expand_not_in_use(bench: Bench) -> None:
    """A volume that grew without a pod has its new size when the next one comes."""
    volume = await bench.create()
    request = pb.ControllerExpandVolumeRequest(
        volume_id=volume.volume_id, capacity_range=pb.CapacityRange(required_bytes=64 * MIB)
    )
    await bench.driver.controller("ControllerExpandVolume", request)
    stat = os.statvfs(await bench.use(volume))
    assert stat.f_blocks * stat.f_frsize > 48 * MIB
    await bench.release(volume)
    await bench.delete(volume)


async def _snapshot(bench: Bench, volume: pb.Volume, name: str) -> pb.Snapshot:
    request = pb.CreateSnapshotRequest(source_volume_id=volume.volume_id, name=name)
    snapshot: pb.Snapshot = (await bench.driver.controller("CreateSnapshot", request)).snapshot
    return snapshot


async def _from(bench: Bench, source: pb.VolumeContentSource, size: int = 32 * MIB) -> pb.Volume:
    request = pb.CreateVolumeRequest(
        name=f"copy-{uuid.uuid4()}",
        capacity_range=pb.CapacityRange(required_bytes=size),
        volume_capabilities=[MOUNT],
        volume_content_source=source,
    )
    volume: pb.Volume = (await bench.driver.controller("CreateVolume", request)).volume
    return volume


async def test_snapshot_and_restore(bench: Bench) -> None:
    """A snapshot of a volume in use has what was written until then; what is made of it may be larger, not smaller."""
    volume = await bench.create()
    target = await bench.use(volume)
    (target / "file").write_text("before")
    name = f"snapshot-{uuid.uuid4()}"
    first, second = await _snapshot(bench, volume, name), await _snapshot(bench, volume, name)
    assert first == second and first.ready_to_use and first.size_bytes >= 32 * MIB
    assert first.source_volume_id == volume.volume_id and first.creation_time.seconds > 0
    (target / "file").write_text("after")
    other = await bench.create()
    await refused(_snapshot(bench, other, name), "ALREADY_EXISTS")
    source = pb.VolumeContentSource(snapshot=pb.VolumeContentSource.SnapshotSource(snapshot_id=first.snapshot_id))
    await refused(_from(bench, source, 16 * MIB), "OUT_OF_RANGE")
    copy = await _from(bench, source, 64 * MIB)
    assert copy.content_source == source
    restored = await bench.use(copy)
    assert (restored / "file").read_text() == "before" and (target / "file").read_text() == "after"
    stat = os.statvfs(restored)
    assert stat.f_blocks * stat.f_frsize > 48 * MIB
    for one in (volume, copy):
        await bench.release(one)
    for _ in range(2):
        await bench.driver.controller("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id=first.snapshot_id))
    for one in (volume, copy, other):
        await bench.delete(one)


async def test_clone(bench: Bench) -> None:
    """A clone of a volume in use is a volume of its own."""
    volume = await bench.create()
    target = await bench.use(volume)
    (target / "file").write_text("first")
    source = pb.VolumeContentSource(volume=pb.VolumeContentSource.VolumeSource(volume_id=volume.volume_id))
    clone = await _from(bench, source)
    (target / "file").write_text("second")
    assert (await bench.use(clone) / "file").read_text() == "first"
    await bench.release(volume)
    await bench.delete(volume)
    await bench.release(clone)
    await bench.delete(clone)


async def test_lists(bench: Bench) -> None:
    """Lists come in pages that make up the whole; a token that is none is ABORTED."""
    volumes = [await bench.create() for _ in range(3)]
    snapshots = [await _snapshot(bench, one, f"s-{uuid.uuid4()}") for one in volumes]
    for rpc, request, ids in (
        ("ListVolumes", pb.ListVolumesRequest, {one.volume_id for one in volumes}),
        ("ListSnapshots", pb.ListSnapshotsRequest, {one.snapshot_id for one in snapshots}),
    ):
        found, token = [], ""
        while True:
            response = await bench.driver.controller(rpc, request(max_entries=2, starting_token=token))
            assert len(response.entries) <= 2
            found += [getattr(one, "volume" if rpc == "ListVolumes" else "snapshot") for one in response.entries]
            if not (token := response.next_token):
                break
        seen = [getattr(one, "volume_id", "") or getattr(one, "snapshot_id", "") for one in found]
        assert len(seen) == len(set(seen)) and ids <= set(seen)
        await refused(bench.driver.controller(rpc, request(starting_token="nonsense")), "ABORTED")
    only = pb.ListSnapshotsRequest(source_volume_id=volumes[0].volume_id)
    entries = (await bench.driver.controller("ListSnapshots", only)).entries
    assert [one.snapshot.snapshot_id for one in entries] == [snapshots[0].snapshot_id]
    absent = await bench.driver.controller("ListSnapshots", pb.ListSnapshotsRequest(snapshot_id="s-absent"))
    assert not absent.entries
    for one in snapshots:
        await bench.driver.controller("DeleteSnapshot", pb.DeleteSnapshotRequest(snapshot_id=one.snapshot_id))
    for volume in volumes:
        await bench.delete(volume)


async def test_validate(bench: Bench) -> None:
    """What a volume has is confirmed; what it has not is explained and not confirmed."""
    volume = await bench.create()
    request = pb.ValidateVolumeCapabilitiesRequest(volume_id=volume.volume_id, volume_capabilities=[MOUNT])
    response = await bench.driver.controller("ValidateVolumeCapabilities", request)
    assert list(response.confirmed.volume_capabilities) == [MOUNT]
    request = pb.ValidateVolumeCapabilitiesRequest(volume_id=volume.volume_id, volume_capabilities=[BLOCK])
    response = await bench.driver.controller("ValidateVolumeCapabilities", request)
    assert not response.HasField("confirmed") and response.message
    await bench.delete(volume)


async def test_capacity(bench: Bench) -> None:
    """There is some, less of it once a volume is there, and none of it elsewhere."""
    before = (await bench.driver.controller("GetCapacity", pb.GetCapacityRequest())).available_capacity
    volume = await bench.create(size=512 * MIB)
    after = (await bench.driver.controller("GetCapacity", pb.GetCapacityRequest())).available_capacity
    assert after > 0 and before - after > 256 * MIB
    info = await bench.driver.node("NodeGetInfo", pb.NodeGetInfoRequest())
    other = pb.Topology(segments=dict.fromkeys(info.accessible_topology.segments, "elsewhere"))
    request = pb.GetCapacityRequest(accessible_topology=other)
    assert (await bench.driver.controller("GetCapacity", request)).available_capacity == 0
    await bench.delete(volume)


async def test_modify(bench: Bench) -> None:
    """Attributes that nobody knows are INVALID_ARGUMENT."""
    volume = await bench.create()
    request = pb.ControllerModifyVolumeRequest(volume_id=volume.volume_id, mutable_parameters={"strange": "1"})
    await refused(bench.driver.controller("ControllerModifyVolume", request), "INVALID_ARGUMENT")
    await bench.delete(volume)
