"""What the storage API of a conformant cluster does: its kinds' lives, and statuses written by their owners."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from pynetes.machinery.meta import Object
from tests.apiserver import harness
from tests.apiserver.harness import API

STORAGE = "/apis/storage.k8s.io/v1"


@pytest.fixture
async def api() -> AsyncIterator[API]:
    async with harness.api() as made:
        yield made


def made(kind: str, name: str, *, group: str = "storage.k8s.io/v1", **members: Any) -> Object:
    return {
        "apiVersion": group,
        "kind": kind,
        "metadata": {"name": name, "labels": {"test": "life"}},
        **members,
    }


LIVES = {
    "storageclasses": made("StorageClass", "one", provisioner="p.example"),
    "csidrivers": made("CSIDriver", "one", spec={"attachRequired": False}),
    "volumeattachments": made(
        "VolumeAttachment",
        "one",
        spec={"attacher": "p.example", "nodeName": "n", "source": {"persistentVolumeName": "pv"}},
    ),
    "namespaces/default/csistoragecapacities": made("CSIStorageCapacity", "one", storageClassName="c", capacity="1Gi"),
}


async def live(api: API, path: str, obj: Object) -> None:
    """Create, read, patch, list by label, replace, delete, delete as a collection: each shows what was written."""
    assert (await api.post(path, obj)).status == 201
    assert (await api.get(f"{path}/one")).body["metadata"]["name"] == "one"
    patched = await api.merge(f"{path}/one", {"metadata": {"labels": {"one": "patched"}}})
    assert patched.body["metadata"]["labels"] == {"test": "life", "one": "patched"}
    assert len((await api.get(f"{path}?labelSelector=one%3Dpatched")).body["items"]) == 1
    labels = {**patched.body["metadata"]["labels"], "one": "updated"}
    updated = await api.put(f"{path}/one", {**patched.body, "metadata": {**patched.body["metadata"], "labels": labels}})
    assert updated.body["metadata"]["labels"]["one"] == "updated"
    assert (await api.delete(f"{path}/one")).status == 200
    assert (await api.get(f"{path}/one")).status == 404
    for name in ("two", "three"):
        assert (await api.post(path, {**obj, "metadata": {**obj["metadata"], "name": name}})).status == 201
    assert (await api.delete(f"{path}?labelSelector=test%3Dlife")).status == 200
    assert (await api.get(path)).body["items"] == []


@pytest.mark.parametrize("plural", sorted(LIVES))
async def test_life(api: API, plural: str) -> None:
    """Every kind's whole life."""
    await live(api, f"{STORAGE}/{plural}", LIVES[plural])


async def test_capacities_are_discovered(api: API) -> None:
    """The group, its version and the resource with all its verbs are in discovery."""
    groups = {one["name"] for one in (await api.get("/apis")).body["groups"]}
    assert "storage.k8s.io" in groups
    found = (await api.get(STORAGE)).body["resources"]
    (verbs,) = [set(one["verbs"]) for one in found if one["name"] == "csistoragecapacities"]
    assert verbs == {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}


async def test_attachment_status(api: API) -> None:
    """attached is false at first, and is written through the status subresource only."""
    path = f"{STORAGE}/volumeattachments"
    obj = {**LIVES["volumeattachments"], "status": {"attached": True}}
    assert (await api.post(path, obj)).body["status"]["attached"] is False
    patched = await api.merge(f"{path}/one/status", {"status": {"attached": True}})
    assert patched.body["status"]["attached"] is True
    unchanged = await api.merge(f"{path}/one", {"status": {"attached": False}})
    assert unchanged.body["status"]["attached"] is True
    updated = await api.put(f"{path}/one/status", {**unchanged.body, "status": {"attached": False}})
    assert updated.body["status"]["attached"] is False


async def test_volume_and_claim_status(api: API) -> None:
    """Both have a phase from the beginning; conditions, reasons and messages are patched and replaced in the status."""
    claims, volumes = "/api/v1/namespaces/default/persistentvolumeclaims", "/api/v1/persistentvolumes"
    modes = ["ReadWriteOnce"]
    volume = made(
        "PersistentVolume",
        "pv",
        group="v1",
        spec={"accessModes": modes, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/tmp/pv"}},
    )
    claim = made(
        "PersistentVolumeClaim",
        "data",
        group="v1",
        spec={"accessModes": modes, "resources": {"requests": {"storage": "1Gi"}}},
    )
    assert (await api.post(volumes, volume)).status == 201 and (await api.post(claims, claim)).status == 201
    assert len((await api.get(f"{volumes}?labelSelector=test%3Dlife")).body["items"]) == 1
    assert len((await api.get(claims)).body["items"]) == 1
    assert (await api.get(f"{claims}/data/status")).body["status"]["phase"] == "Pending"
    assert (await api.get(f"{volumes}/pv/status")).body["status"]["phase"] == "Pending"
    condition = {"type": "StatusPatched", "status": "True", "reason": "Test", "message": "patched"}
    patched = await api.merge(f"{claims}/data/status", {"status": {"conditions": [condition]}})
    assert patched.body["status"]["conditions"][0]["type"] == "StatusPatched"
    changed = await api.merge(f"{volumes}/pv/status", {"status": {"reason": "Patched", "message": "a word"}})
    assert changed.body["status"]["reason"] == "Patched"
    replaced = {**patched.body, "status": {**patched.body["status"], "conditions": [{**condition, "type": "Updated"}]}}
    assert (await api.put(f"{claims}/data/status", replaced)).body["status"]["conditions"][0]["type"] == "Updated"
    again = {**changed.body, "status": {**changed.body["status"], "message": "another"}}
    assert (await api.put(f"{volumes}/pv/status", again)).body["status"]["message"] == "another"


async def test_pods_with_inline_volumes(api: API) -> None:
    """A pod may carry a CSI volume in its own spec: created, read, listed, patched and deleted like any other."""
    pods = "/api/v1/namespaces/default/pods"
    await api.post("/api/v1/namespaces/default/serviceaccounts", made("ServiceAccount", "default", group="v1"))
    volume = {"name": "inline", "csi": {"driver": "p.example", "volumeAttributes": {"size": "1Gi"}}}
    spec = {"containers": [{"name": "c", "image": "i"}], "volumes": [volume]}
    assert (await api.post(pods, made("Pod", "inline", group="v1", spec=spec))).status == 201
    assert (await api.get(f"{pods}/inline")).body["spec"]["volumes"][0]["csi"]["driver"] == "p.example"
    assert (await api.merge(f"{pods}/inline", {"metadata": {"labels": {"a": "b"}}})).status == 200
    assert len((await api.get(f"{pods}?labelSelector=a%3Db")).body["items"]) == 1
    assert (await api.ask("DELETE", f"{pods}/inline?gracePeriodSeconds=0")).status == 200


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_immutable_data(api: API, kind: str) -> None:
    """Data may change until it is marked as immutable; then only labels, and it can be deleted."""
    path = f"/api/v1/namespaces/default/{kind.lower()}s"
    data = {"k": "b25l"}
    assert (await api.post(path, made(kind, "fixed", group="v1", data=data))).status == 201
    assert (await api.merge(f"{path}/fixed", {"data": {"k": "dHdv"}})).status == 200
    assert (await api.merge(f"{path}/fixed", {"immutable": True})).status == 200
    for change in ({"data": {"k": "dGhyZWU="}}, {"data": {"new": "dHdv"}}, {"immutable": False}, {"immutable": None}):
        assert (await api.merge(f"{path}/fixed", change)).status == 422
    labelled = await api.merge(f"{path}/fixed", {"metadata": {"labels": {"a": "b"}}})
    assert labelled.status == 200 and labelled.body["data"] == {"k": "dHdv"}
    assert (await api.delete(f"{path}/fixed")).status == 200
