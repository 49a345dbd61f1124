"""The control side against a driver that does as it should, and against one that does not."""

from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as pvs
from pynetes.apis.storage import csistoragecapacities, volumeattachments
from pynetes.csi.controller import kinds, plugin
from pynetes.machinery.meta import Object
from pynetes.rpc.csi import csi_pb2 as pb
from pynetes.rpc.server import Failure
from tests.controllers.volumes import bound, claim, storage_class
from tests.csi.scripted import HANG, NAME, DoneThen, Says
from tests.csi.world import World, controlling

KEY = "topology.example/rack"
ASKED = {"volume.kubernetes.io/storage-provisioner": NAME}
PV = "pvc-uid-of-data"


def asked(name: str = "data", *, node: str = "", **spec: Any) -> Object:
    """A claim that the binder has handed over."""
    made = claim(name, **spec)
    made["metadata"]["annotations"] = ASKED | ({"volume.kubernetes.io/selected-node": node} if node else {})
    return made


def place(name: str, rack: str) -> tuple[Object, Object]:
    """A node in a rack, with the driver on it."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {KEY: rack}}, "spec": {}}
    drivers = [{"name": NAME, "nodeID": f"id-of-{name}", "topologyKeys": [KEY]}]
    csi = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": name},
        "spec": {"drivers": drivers},
    }
    return node, csi


def released(name: str = PV) -> Object:
    """A volume of the driver whose claim is gone."""
    _, its = bound(volume_name=name)
    its["spec"] |= {"persistentVolumeReclaimPolicy": "Delete"}
    its["spec"]["csi"]["driver"] = NAME
    its["metadata"]["annotations"] = {"pv.kubernetes.io/provisioned-by": NAME}
    its["metadata"]["finalizers"] = ["external-provisioner.volume.kubernetes.io/finalizer"]
    its["status"] = {"phase": "Released"}
    return its


def attachment(node: str = "n1") -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttachment",
        "metadata": {"name": "a"},
        "spec": {"attacher": NAME, "nodeName": node, "source": {"persistentVolumeName": "pv"}},
    }


async def test_provisions(tmp_path: Path) -> None:
    """A claim becomes a CreateVolume and a PersistentVolume that is the claim's, where the driver says it is."""
    async with controlling(tmp_path) as world:
        class_ = storage_class(parameters={"csi.storage.k8s.io/fstype": "ext4", "tier": "fast"})
        await world.put(*place("n1", "a"), *place("n2", "b"), class_, asked(node="n2", size="3Gi"))
        (request,) = world.driver.asked("CreateVolume")
        assert request.name == PV and request.capacity_range.required_bytes == 3 << 30
        assert dict(request.parameters) == {"tier": "fast"}
        assert request.volume_capabilities[0].mount.fs_type == "ext4"
        assert [dict(one.segments) for one in request.accessibility_requirements.preferred] == [{KEY: "b"}, {KEY: "a"}]
        made = world.get(pvs.RESOURCE, PV)
        assert made["spec"]["csi"] == {"driver": NAME, "volumeHandle": f"v-{PV}", "fsType": "ext4"}
        assert made["spec"]["claimRef"]["uid"] == "uid-of-data" and made["spec"]["capacity"] == {"storage": "3Gi"}
        assert made["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] == NAME
        assert plugin.places_of(made) == [{KEY: "b"}]


async def test_waits_for_the_node(tmp_path: Path) -> None:
    """Where the class waits for the first consumer, nothing is made before its node is chosen."""
    async with controlling(tmp_path) as world:
        await world.put(*place("n1", "a"), storage_class(late=True), asked())
        assert not world.driver.calls or not world.driver.asked("CreateVolume")


async def test_others_claims(tmp_path: Path) -> None:
    """A claim for another driver is not touched."""
    async with controlling(tmp_path) as world:
        other = claim()
        other["metadata"]["annotations"] = {"volume.kubernetes.io/storage-provisioner": "other"}
        await world.put(storage_class(provisioner="other"), other)
        assert not world.driver.asked("CreateVolume")


@pytest.mark.parametrize(
    "trouble",
    [
        Failure("UNAVAILABLE", "restarting"),
        DoneThen("UNAVAILABLE"),
        Failure("INTERNAL", "disk on fire"),
        Says(pb.CreateVolumeResponse()),
    ],
    ids=["unavailable", "answer-lost", "internal", "no-id"],
)
async def test_trouble_ends_in_one_volume(tmp_path: Path, trouble: Any) -> None:
    """Whatever the driver does at first, in the end there is one volume, and the claim was told what was wrong."""
    async with controlling(tmp_path) as world:
        world.driver.answers["CreateVolume"] = [trouble, trouble]
        await world.put(storage_class(), asked())
        assert world.find(pvs.RESOURCE, PV) is None
        for _ in range(4):
            await world.advance(10)
        assert list(world.driver.volumes) == [f"v-{PV}"]
        assert len(world.api.listed(pvs.RESOURCE)) == 1


async def test_driver_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that never returns ends at its deadline, and holds up no other claim meanwhile."""
    monkeypatch.setattr("pynetes.csi.controller.provisioner.TIMEOUT", 0.2)
    async with controlling(tmp_path) as world:
        world.driver.answers["CreateVolume"] = [HANG]
        await world.put(storage_class(), asked("first"), asked("second"))
        await world.advance(10)
        await world.advance(10)
        assert len(world.api.listed(pvs.RESOURCE)) == 2


async def test_too_small(tmp_path: Path) -> None:
    """A driver that makes less than was asked has its volume taken away again, and nothing is bound to it."""
    async with controlling(tmp_path) as world:
        small = pb.CreateVolumeResponse(volume=pb.Volume(volume_id="v-small", capacity_bytes=1))
        world.driver.answers["CreateVolume"] = [Says(small)]
        await world.put(storage_class(), asked())
        assert [one.volume_id for one in world.driver.asked("DeleteVolume")] == ["v-small"]
        assert world.api.listed(pvs.RESOURCE) == []


async def test_claim_gone_while_driver_works(tmp_path: Path) -> None:
    """A volume whose claim went while nobody knew whether it was made is deleted and not forgotten."""
    async with controlling(tmp_path) as world:
        world.driver.answers["CreateVolume"] = [DoneThen("DEADLINE_EXCEEDED")]
        await world.put(storage_class(), asked())
        assert world.driver.volumes
        world.api.remove(world.get(claims.RESOURCE, "data"))
        await world.advance(10)
        assert not world.driver.volumes and not world.api.listed(pvs.RESOURCE)


async def test_no_room_at_the_node(tmp_path: Path) -> None:
    """RESOURCE_EXHAUSTED gives the choice of the node back to the scheduler."""
    async with controlling(tmp_path) as world:
        world.driver.answers["CreateVolume"] = [Failure("RESOURCE_EXHAUSTED", "full")]
        await world.put(*place("n1", "a"), storage_class(late=True), asked(node="n1"))
        marks = world.get(claims.RESOURCE, "data")["metadata"]["annotations"]
        assert "volume.kubernetes.io/selected-node" not in marks


async def test_local_instances_divide_the_claims(tmp_path: Path) -> None:
    """A local instance makes volumes for its own place only, and takes a claim without a node by writing its own."""
    async with controlling(tmp_path, place={KEY: "a"}) as world:
        await world.put(*place("n1", "a"), *place("n2", "b"), storage_class())
        await world.put(asked("far", node="n2"), asked("near", node="n1"), asked("free"))
        assert {one.name for one in world.driver.asked("CreateVolume")} == {"pvc-uid-of-near", "pvc-uid-of-free"}
        (first, *_) = world.driver.asked("CreateVolume")
        assert [dict(one.segments) for one in first.accessibility_requirements.requisite] == [{KEY: "a"}]


async def test_deletes_released(tmp_path: Path) -> None:
    """A released volume with policy Delete goes, in the driver first; twice failing is only later."""
    async with controlling(tmp_path) as world:
        world.driver.answers["DeleteVolume"] = [Failure("FAILED_PRECONDITION", "in use"), DoneThen("UNAVAILABLE")]
        await world.put(released())
        assert world.find(pvs.RESOURCE, PV) is not None
        for _ in range(3):
            await world.advance(10)
        assert world.find(pvs.RESOURCE, PV) is None
        assert len(world.driver.asked("DeleteVolume")) == 3


async def test_deletes_nothing_attached(tmp_path: Path) -> None:
    """A volume that is attached somewhere is not deleted until it is not."""
    async with controlling(tmp_path) as world:
        its = released("pv")
        there = attachment()
        there["spec"]["attacher"] = "somebody-else"
        await world.put(there, its)
        assert not world.driver.asked("DeleteVolume")
        world.api.remove(world.get(volumeattachments.RESOURCE, "a"))
        await world.settle()
        assert world.driver.asked("DeleteVolume") and world.find(pvs.RESOURCE, "pv") is None


async def test_wrong_order(tmp_path: Path) -> None:
    """A bound volume that is deleted stays, with its data, until its claim is gone too."""
    async with controlling(tmp_path) as world:
        mine, its = bound(volume_name=PV)
        its = {**released(), "status": {"phase": "Bound"}}
        await world.put(mine, its)
        await world.delete(pvs.RESOURCE, PV)
        assert not world.driver.asked("DeleteVolume")
        world.api.remove(world.get(claims.RESOURCE, "data"))
        await world.edit(pvs.RESOURCE, PV, lambda obj: obj["status"].update(phase="Released"))
        assert world.driver.asked("DeleteVolume") and world.find(pvs.RESOURCE, PV) is None


async def test_retained_volumes_are_kept(tmp_path: Path) -> None:
    """Retain deletes nothing, and takes our finalizer away."""
    async with controlling(tmp_path) as world:
        its = released()
        its["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
        await world.put(its)
        assert not world.driver.asked("DeleteVolume")
        assert world.get(pvs.RESOURCE, PV)["metadata"]["finalizers"] == []


async def _attached(world: World) -> None:
    mine, its = bound()
    its["spec"]["csi"]["driver"] = NAME
    await world.put(*place("n1", "a"), mine, its, attachment())


async def test_attaches_and_detaches(tmp_path: Path) -> None:
    """An attachment is carried out with the driver's own node ID, held by finalizers, and let go in the end."""
    async with controlling(tmp_path) as world:
        # Twice, for the finalizer that it writes in between wakes it once more.
        world.driver.answers["ControllerPublishVolume"] = [DoneThen("UNAVAILABLE")] * 2
        await _attached(world)
        failed = world.get(volumeattachments.RESOURCE, "a")
        assert "UNAVAILABLE" in failed["status"]["attachError"]["message"] and not failed["status"]["attached"]
        await world.advance(10)
        done = world.get(volumeattachments.RESOURCE, "a")
        assert done["status"]["attached"] and done["status"]["attachmentMetadata"] == {"device": "/dev/x"}
        assert not done["status"].get("attachError")
        assert world.driver.published == {("handle-of-pv", "id-of-n1")}
        assert "external-attacher/local-csi-example" in world.get(pvs.RESOURCE, "pv")["metadata"]["finalizers"]
        await world.delete(volumeattachments.RESOURCE, "a")
        assert world.find(volumeattachments.RESOURCE, "a") is None and not world.driver.published


async def test_detaches_from_a_node_that_is_gone(tmp_path: Path) -> None:
    """What was written when it was attached is enough to detach: neither node nor CSINode is needed."""
    async with controlling(tmp_path) as world:
        await _attached(world)
        for obj in place("n1", "a"):
            world.api.remove(obj)
        world.driver.answers["ControllerUnpublishVolume"] = [Failure("INTERNAL", "no"), Failure("NOT_FOUND", "gone")]
        await world.delete(volumeattachments.RESOURCE, "a")
        assert "INTERNAL" in world.get(volumeattachments.RESOURCE, "a")["status"]["detachError"]["message"]
        await world.advance(10)
        assert world.find(volumeattachments.RESOURCE, "a") is None
        assert [one.node_id for one in world.driver.asked("ControllerUnpublishVolume")] == ["id-of-n1"] * 2


async def _growing(world: World) -> None:
    mine, its = bound()
    its["spec"]["csi"]["driver"] = NAME
    mine["spec"]["resources"]["requests"]["storage"] = "2Gi"
    await world.put(its, mine)


async def test_grows(tmp_path: Path) -> None:
    """The volume grows, the claim waits for its node; nothing is asked twice."""
    async with controlling(tmp_path) as world:
        await _growing(world)
        assert world.get(pvs.RESOURCE, "pv")["spec"]["capacity"] == {"storage": "2Gi"}
        status = world.get(claims.RESOURCE, "data")["status"]
        assert status["allocatedResourceStatuses"] == {"storage": "NodeResizePending"}
        assert [one["type"] for one in status["conditions"]] == ["FileSystemResizePending"]
        assert status["capacity"] == {"storage": "1Gi"}, "the kubelet finishes"
        await world.edit(claims.RESOURCE, "data", lambda obj: obj["metadata"].update(labels={"a": "b"}))
        assert len(world.driver.asked("ControllerExpandVolume")) == 1


async def test_growth_that_cannot_be(tmp_path: Path) -> None:
    """A certain no is written on the claim and tried again later; trouble is tried again soon."""
    async with controlling(tmp_path) as world:
        world.driver.answers["ControllerExpandVolume"] = [
            Failure("UNAVAILABLE", "restarting"),
            Failure("OUT_OF_RANGE", "the disk is full"),
        ]
        await _growing(world)
        await world.advance(10)
        status = world.get(claims.RESOURCE, "data")["status"]
        assert status["allocatedResourceStatuses"] == {"storage": "ControllerResizeInfeasible"}
        await world.advance(301)
        assert world.get(pvs.RESOURCE, "pv")["spec"]["capacity"] == {"storage": "2Gi"}


async def test_attributes(tmp_path: Path) -> None:
    """A claim that names another class of attributes gets them, and says which are in effect."""
    async with controlling(tmp_path) as world:
        class_ = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttributesClass",
            "metadata": {"name": "gold"},
            "driverName": NAME,
            "parameters": {"iops": "1000"},
        }
        mine, its = bound(volumeAttributesClassName="gold")
        its["spec"]["csi"]["driver"] = NAME
        world.driver.answers["ControllerModifyVolume"] = [Failure("INVALID_ARGUMENT", "no such iops")]
        await world.put(its, mine)
        assert world.get(claims.RESOURCE, "data")["status"]["modifyVolumeStatus"]["status"] == "Pending"
        await world.put(class_)
        assert world.get(claims.RESOURCE, "data")["status"]["modifyVolumeStatus"]["status"] == "Infeasible"
        assert len(world.driver.asked("ControllerModifyVolume")) == 1, "its own word must not wake it"
        await world.advance(301)
        status = world.get(claims.RESOURCE, "data")["status"]
        assert status["currentVolumeAttributesClassName"] == "gold" and "modifyVolumeStatus" not in status
        assert dict(world.driver.asked("ControllerModifyVolume")[-1].mutable_parameters) == {"iops": "1000"}


async def test_capacity(tmp_path: Path) -> None:
    """Room is published per class and place, rounded, and follows the driver; a byte less writes nothing."""
    async with controlling(tmp_path) as world:
        driver = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": NAME},
            "spec": {"storageCapacity": True},
        }
        await world.put(driver, *place("n1", "a"), *place("n2", "b"), storage_class())
        found = world.api.listed(csistoragecapacities.RESOURCE)
        assert {one["nodeTopology"]["matchLabels"][KEY] for one in found} == {"a", "b"}
        assert {one["capacity"] for one in found} == {"10Gi"}
        world.api.writes.clear()
        world.driver.room = (10 << 30) + 1
        await world.advance(61)
        assert world.api.writes == []
        world.driver.room = 1 << 30
        await world.advance(61)
        assert {one["capacity"] for one in world.api.listed(csistoragecapacities.RESOURCE)} == {"1Gi"}
        world.api.remove(storage_class())
        await world.settle()
        assert world.api.listed(csistoragecapacities.RESOURCE) == []


def snapshot_class(policy: str = "Delete") -> Object:
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshotClass",
        "metadata": {
            "name": "snap",
            "annotations": {"snapshot.storage.kubernetes.io/is-default-class": "true"},
        },
        "driver": NAME,
        "deletionPolicy": policy,
    }


def snapshot(**source: str) -> Object:
    return {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": "s", "namespace": "default", "uid": "uid-of-s"},
        "spec": {"source": source or {"persistentVolumeClaimName": "data"}},
    }


async def _with_data(world: World) -> None:
    mine, its = bound()
    its["spec"]["csi"]["driver"] = NAME
    await world.put(its, mine)


async def test_snapshot(tmp_path: Path) -> None:
    """A snapshot gets a content, the driver makes it, and deleting the snapshot deletes both."""
    async with controlling(tmp_path) as world:
        world.driver.answers["CreateSnapshot"] = [Failure("UNAVAILABLE", "restarting"), DoneThen("ABORTED")]
        await _with_data(world)
        await world.put(snapshot_class(), snapshot())
        for _ in range(3):
            await world.advance(10)
        status = world.get(kinds.SNAPSHOTS, "s")["status"]
        assert status["readyToUse"] and status["restoreSize"] == "1Gi" and not status.get("error")
        content = world.get(kinds.CONTENTS, status["boundVolumeSnapshotContentName"])
        assert content["status"]["snapshotHandle"] in world.driver.snapshots and len(world.driver.snapshots) == 1
        world.driver.answers["DeleteSnapshot"] = [Failure("UNAVAILABLE", "restarting")]
        await world.delete(kinds.SNAPSHOTS, "s")
        assert world.find(kinds.SNAPSHOTS, "s") is not None, "not before the driver's is gone"
        await world.advance(10)
        assert world.find(kinds.SNAPSHOTS, "s") is None and not world.driver.snapshots


async def test_snapshot_that_is_kept(tmp_path: Path) -> None:
    """With policy Retain the content and the driver's snapshot stay."""
    async with controlling(tmp_path) as world:
        await _with_data(world)
        await world.put(snapshot_class("Retain"), snapshot())
        await world.delete(kinds.SNAPSHOTS, "s")
        assert world.find(kinds.SNAPSHOTS, "s") is None
        assert world.driver.snapshots and len(world.api.listed(kinds.CONTENTS)) == 1


async def test_snapshot_of_nothing(tmp_path: Path) -> None:
    """A claim that is not there is said in the status; when it comes, so does the snapshot."""
    async with controlling(tmp_path) as world:
        await world.put(snapshot_class(), snapshot())
        assert "claim data does not exist" in world.get(kinds.SNAPSHOTS, "s")["status"]["error"]["message"]
        await _with_data(world)
        await world.advance(10)
        assert world.get(kinds.SNAPSHOTS, "s")["status"]["readyToUse"]


async def test_restore_and_clone(tmp_path: Path) -> None:
    """A claim with a source becomes a CreateVolume with it; one that is too small for it is told so."""
    async with controlling(tmp_path) as world:
        await _with_data(world)
        await world.put(storage_class(), snapshot_class(), snapshot())
        from_snapshot = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
        await world.put(asked("restored", dataSource=from_snapshot))
        await world.put(asked("clone", dataSource={"kind": "PersistentVolumeClaim", "name": "data"}))
        await world.put(asked("small", size="1Mi", dataSource=from_snapshot))
        sources = {one.name: one.volume_content_source for one in world.driver.asked("CreateVolume")}
        assert sources["pvc-uid-of-restored"].snapshot.snapshot_id in world.driver.snapshots
        assert sources["pvc-uid-of-clone"].volume.volume_id == "handle-of-pv"
        assert "pvc-uid-of-small" not in sources
