"""CSI volumes on a node: registration, attachment, staging and publishing, and the way back; faults of drivers."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import events, nodes, persistentvolumeclaims
from pynetes.apis.storage import csinodes
from pynetes.client.fake import FakeAPI
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.csi import volumes as csi_volumes
from pynetes.kubelet.metrics import Stateful
from pynetes.kubelet.volumes.spec import attachment_name
from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.fake_driver import NAME, FakeDriver
from tests.kubelet.rig import Rig, pod

NODE = Key("", "n1")


def persistent(api: FakeAPI, name: str, *, handle: str = "", size: str = "1Gi", **spec: Any) -> Object:
    """Put a bound claim and its volume; the pod's volume. With csi None it is of the kind that spec says."""
    api.put(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"pv-{name}"},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": "default", "name": name, "uid": f"uid-claim-{name}"},
                **_driver(handle or f"h-{name}", spec.pop("csi", {})),
                **spec,
            },
        }
    )
    api.put(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-claim-{name}"},
            "spec": {"volumeName": f"pv-{name}"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        }
    )
    return {"name": "data", "persistentVolumeClaim": {"claimName": name}}


def _driver(handle: str, more: Object | None) -> Object:
    driver = {"driver": NAME, "volumeHandle": handle, "volumeAttributes": {"a": "b"}}
    return {} if more is None else {"csi": {**driver, **more}}


def with_volume(name: str, volume: Object, **spec: Any) -> Object:
    """A pod that mounts a volume at /data."""
    mount = {"name": volume["name"], "mountPath": "/data"}
    return pod(name, volumes=[volume], container={"volumeMounts": [mount]}, **spec)


def csi_driver(api: FakeAPI, **spec: Any) -> None:
    """The driver's CSIDriver; without attachment unless told otherwise."""
    body = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": NAME}}
    api.put({**body, "spec": {"attachRequired": False, **spec}})


@asynccontextmanager
async def kubelet(tmp_path: Path, api: FakeAPI, endpoint: str, **options: Any) -> AsyncIterator[Rig]:
    """A kubelet on a runtime that runs nothing."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with rigs.running(endpoint, tmp_path / "root", api, cgroups=cgroups, **options) as made:
        yield made


@asynccontextmanager
async def setting(tmp_path: Path, api: FakeAPI, **options: Any) -> AsyncIterator[tuple[Rig, FakeDriver]]:
    """A kubelet with the driver registered."""
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        driver.serving(),
        kubelet(tmp_path, api, endpoint, **options) as rig,
    ):
        await rig.until(lambda: driver.registered)
        yield rig, driver


async def test_registers_and_publishes(tmp_path: Path) -> None:
    """A driver's socket makes it known in CSINode, in the node's labels and annotation; its end takes it out again."""
    api = FakeAPI()
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        known = api.get(csinodes.RESOURCE, NODE)
        assert known is not None
        assert known["spec"]["drivers"] == []
        async with driver.serving():
            await rig.until(lambda: driver.registered == ["yes"])
            told = {"name": NAME, "nodeID": "id-of-n1", "topologyKeys": ["topology.fake/zone"]}
            shown = api.get(csinodes.RESOURCE, NODE) or {}
            assert shown["spec"]["drivers"] == [{**told, "allocatable": {"count": 7}}]
            node = api.get(nodes.RESOURCE, NODE) or {}
            assert node["metadata"]["labels"]["topology.fake/zone"] == "z1"
            assert NAME in node["metadata"]["annotations"]["csi.volume.kubernetes.io/nodeid"]
        await rig.until(lambda: not (api.get(csinodes.RESOURCE, NODE) or {})["spec"]["drivers"])


async def test_a_driver_that_ends_while_it_is_told_leaves_nothing(tmp_path: Path) -> None:
    """It was handed over but never answered that it knows: its end takes it out again all the same."""
    api = FakeAPI()
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    driver.answers = False
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        async with driver.serving():
            await rig.until(lambda: driver.registered == ["yes"])
        await rig.until(lambda: not (api.get(csinodes.RESOURCE, NODE) or {})["spec"]["drivers"])


async def test_an_end_that_cannot_be_told_is_told_later(tmp_path: Path) -> None:
    """An API server that fails meanwhile ends neither the kubelet nor its watch over plugins."""
    api = FakeAPI()
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        async with driver.serving():
            await rig.until(lambda: driver.registered == ["yes"])
            api.fail("update", csinodes.RESOURCE, errors.internal("not now"))
        await rig.until(lambda: not (api.get(csinodes.RESOURCE, NODE) or {})["spec"]["drivers"])
        async with driver.serving():
            await rig.until(lambda: driver.registered == ["yes", "yes"])
            assert (api.get(csinodes.RESOURCE, NODE) or {})["spec"]["drivers"]


async def test_contradicting_topology_is_refused(tmp_path: Path) -> None:
    """A driver whose topology contradicts a label of the node hears why it was not taken."""
    api = FakeAPI()
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    driver.topology = {"kubernetes.io/hostname": "another"}
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        driver.serving(),
        kubelet(tmp_path, api, endpoint) as rig,
    ):
        await rig.until(lambda: driver.registered)
        assert "the node's label says 'n1'" in driver.registered[0]


async def test_stages_once_and_publishes_per_pod(tmp_path: Path) -> None:
    """Two pods share one staged volume; the last one that goes has it unstaged, and the node no longer uses it."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    async with setting(tmp_path, api) as (rig, driver):
        await rig.started(with_volume("one", volume))
        await rig.started(with_volume("two", volume))
        assert driver.calls == ["Stage h-claim", "Publish h-claim", "Publish h-claim"]
        request = driver.requests[1]
        assert request.target_path.endswith("pods/uid-one/volumes/kubernetes.io~csi/pv-claim/mount")
        assert request.staging_target_path.endswith("/globalmount")
        assert dict(request.volume_context) == {"a": "b"}
        driver.calls.clear()
        api.remove(api.get(rigs.pods.RESOURCE, Key("default", "one")) or {})
        await rig.until(lambda: "uid-one" not in rig.kubelet.workers)
        assert driver.calls == ["Unpublish h-claim"]
        await rig.deleted("two")
        await rig.until(lambda: driver.calls == ["Unpublish h-claim", "Unpublish h-claim", "Unstage h-claim"])
        await rig.until(lambda: not list((tmp_path / "root/plugins/kubernetes.io/csi" / NAME).iterdir()))
        assert not rig.kubelet.ctx.volumes.home("uid-two").exists()


async def test_waits_for_the_attachment(tmp_path: Path) -> None:
    """The node says that it uses the volume, then waits until it is attached; the attacher's words reach the driver."""
    api = FakeAPI()
    volume = persistent(api, "claim")
    async with setting(tmp_path, api) as (rig, driver):
        api.put(with_volume("web", volume))
        unique = f"kubernetes.io/csi/{NAME}^h-claim"
        await rig.until(lambda: unique in ((api.get(nodes.RESOURCE, NODE) or {})["status"].get("volumesInUse") or ()))
        assert not driver.calls
        name = attachment_name("h-claim", NAME, "n1")
        body = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": name}}
        spec = {"attacher": NAME, "nodeName": "n1", "source": {"persistentVolumeName": "pv-claim"}}
        api.put({**body, "spec": spec, "status": {"attached": True, "attachmentMetadata": {"path": "/dev/x"}}})
        await rig.until(lambda: rig.ready("web"))
        assert dict(driver.requests[0].publish_context) == {"path": "/dev/x"}
        await rig.deleted("web")
        await rig.until(lambda: not (api.get(nodes.RESOURCE, NODE) or {})["status"].get("volumesInUse"))


async def test_driver_that_fails_is_asked_again(tmp_path: Path) -> None:
    """A failure is an event that names the volume and the driver's words; the next try succeeds."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    async with setting(tmp_path, api) as (rig, driver):
        driver.trouble = {"Stage": "INTERNAL", "Publish": "INVALID_ARGUMENT"}
        await rig.started(with_volume("web", volume))
        assert driver.calls == ["Stage h-claim", "Stage h-claim", "Publish h-claim", "Publish h-claim"]
        told = [one["message"] for one in api.listed(events.RESOURCE) if one["reason"] == "FailedMount"]
        assert told[0].startswith('MountVolume.MountDevice failed for volume "pv-claim" : rpc error: code = Internal')
        assert told[1].startswith('MountVolume.SetUp failed for volume "pv-claim" : rpc error: code = InvalidArgument')


async def test_hanging_driver_holds_up_its_own_pods_only(tmp_path: Path) -> None:
    """While a driver hangs other pods start, the pod can be deleted, and what may have been staged is undone."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    async with setting(tmp_path, api, csi_timeout=0.5) as (rig, driver):
        driver.trouble = {"Stage": "hang"}
        api.put(with_volume("stuck", volume))
        await rig.until(lambda: driver.calls)
        await rig.started(pod("free"))
        await rig.deleted_object("stuck")
        await rig.until(lambda: "Unstage h-claim" in driver.calls)
        assert "Publish h-claim" not in driver.calls


async def test_unpublish_is_tried_until_it_works(tmp_path: Path) -> None:
    """A pod does not go before its volume is let go."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    async with setting(tmp_path, api) as (rig, driver):
        await rig.started(with_volume("web", volume))
        driver.calls.clear()
        driver.trouble = {"Unpublish": "UNAVAILABLE", "Unstage": "ABORTED"}
        await rig.deleted("web")
        assert driver.calls[:2] == ["Unpublish h-claim", "Unpublish h-claim"]
        await rig.until(lambda: driver.calls[2:] == ["Unstage h-claim", "Unstage h-claim"])


async def test_inline_volume_hears_of_its_pod(tmp_path: Path) -> None:
    """An inline volume is published without staging, with the pod's name and tokens where the driver wants them."""
    api = FakeAPI()
    tokens = [{"audience": "vault", "expirationSeconds": 600}]
    modes = ["Persistent", "Ephemeral"]
    csi_driver(api, podInfoOnMount=True, volumeLifecycleModes=modes, tokenRequests=tokens)
    volume = {"name": "inline", "csi": {"driver": NAME, "volumeAttributes": {"x": "y"}}}
    async with setting(tmp_path, api) as (rig, driver):
        await rig.started(with_volume("web", volume))
        (request,) = driver.requests
        context = dict(request.volume_context)
        assert context["csi.storage.k8s.io/pod.name"] == "web"
        assert context["csi.storage.k8s.io/ephemeral"] == "true"
        assert context["x"] == "y"
        assert "vault" in context["csi.storage.k8s.io/serviceAccount.tokens"]
        assert request.volume_id.startswith("csi-")
        await rig.deleted("web")
        assert driver.calls[1:] == [f"Unpublish {request.volume_id}"]


async def test_inline_volume_needs_the_drivers_consent(tmp_path: Path) -> None:
    """A driver that does not name the mode Ephemeral is not asked for inline volumes."""
    api = FakeAPI()
    csi_driver(api)
    volume = {"name": "inline", "csi": {"driver": NAME}}
    async with setting(tmp_path, api) as (rig, driver):
        api.put(with_volume("web", volume))
        await rig.until(lambda: "FailedMount" in rig.reasons("web"))
        assert not driver.calls


async def test_restart_takes_over_what_is_published(tmp_path: Path) -> None:
    """A new kubelet knows from disk what is published: the pod's deletion unpublishes it, and nothing does before."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), driver.serving():
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.started(with_volume("web", volume))
        driver.calls.clear()
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.until(lambda: driver.registered == ["yes", "yes"])
            await rig.until(lambda: rig.kubelet.ctx.volumes.specs("uid-web"))
            assert not [call for call in driver.calls if call.startswith("Un")]
            await rig.deleted("web")
            await rig.until(lambda: driver.calls[-2:] == ["Unpublish h-claim", "Unstage h-claim"])


async def test_restart_cleans_up_after_pods_that_are_gone(tmp_path: Path) -> None:
    """Volumes of a pod that was deleted while no kubelet ran are unpublished and unstaged."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), driver.serving():
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.started(with_volume("web", volume))
        api.remove(api.get(rigs.pods.RESOURCE, Key("default", "web")) or {})
        driver.calls.clear()
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.until(lambda: driver.calls == ["Unpublish h-claim", "Unstage h-claim"])
            await rig.until(lambda: not (tmp_path / "root/pods/uid-web").exists())


async def test_grown_volume_is_expanded(tmp_path: Path) -> None:
    """A volume larger than its claim says is grown on the node; the claim then tells the new size."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim", size="2Gi")
    async with setting(tmp_path, api) as (rig, driver):
        await rig.started(with_volume("web", volume))
        assert driver.calls == ["Stage h-claim", "Publish h-claim", "Expand h-claim"]
        claim = api.get(persistentvolumeclaims.RESOURCE, Key("default", "claim")) or {}
        assert claim["status"]["capacity"] == {"storage": "2Gi"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"status": {"phase": "Pending"}, "spec": {}}, "is not bound"),
        ({"metadata": {"uid": "another"}}, "is not bound to this claim"),
    ],
)
async def test_claims_that_cannot_be_used(tmp_path: Path, change: Object, words: str) -> None:
    """An unbound claim, or one that the volume is not bound to, is an event and no mount."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    claim = api.get(persistentvolumeclaims.RESOURCE, Key("default", "claim")) or {}
    api.put({**claim, **change, "metadata": {**claim["metadata"], **change.get("metadata", {})}})
    async with setting(tmp_path, api) as (rig, driver):
        api.put(with_volume("web", volume))
        await rig.until(lambda: "FailedMount" in rig.reasons("web"))
        assert any(words in one["message"] for one in api.listed(events.RESOURCE))
        assert not driver.calls


async def test_absent_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A volume of a driver that is not there waits, and says so."""
    monkeypatch.setattr(csi_volumes, "REGISTRATION", 0.1)
    api = FakeAPI()
    volume = persistent(api, "claim", csi={"driver": "absent.csi.test"})
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        api.put(with_volume("web", volume))
        await rig.until(lambda: "FailedMount" in rig.reasons("web"))
        words = "driver name absent.csi.test not found in the list of registered CSI drivers"
        assert any(words in one["message"] for one in api.listed(events.RESOURCE))


async def test_driver_tells_how_full_a_volume_is(tmp_path: Path) -> None:
    """What NodeGetVolumeStats says is what kubelet_volume_stats tells of the claim."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    async with setting(tmp_path, api) as (rig, driver):
        await rig.started(with_volume("web", volume))
        await rig.kubelet.storage.stats.once()
        assert "Stats h-claim" in driver.calls
        text = Stateful(rig.kubelet).registry.text()
        labels = '{namespace="default",persistentvolumeclaim="claim"}'
        assert f"kubelet_volume_stats_used_bytes{labels} 300" in text
        assert f"kubelet_volume_stats_inodes_used{labels} 3" in text


async def test_driver_that_talks_nonsense(tmp_path: Path) -> None:
    """One that gives the node no ID is refused and told so; instead of figures that cannot be the kernel's count."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    driver.node_id = ""
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        async with driver.serving():
            await rig.until(lambda: driver.registered)
            assert "gives no node ID" in driver.registered[0]
        driver.node_id = "id-of-n1"
        async with driver.serving():
            await rig.started(with_volume("web", volume))
            found = os.statvfs(rig.kubelet.ctx.volumes.home("uid-web"))
            labels = '{namespace="default",persistentvolumeclaim="claim"}'
            whole = f"kubelet_volume_stats_capacity_bytes{labels} {found.f_blocks * found.f_frsize}\n"
            for sizes in ((-1, 0, 0), (1000, -300, 700), (1000, 2000, 0), (1000, 0, 2000)):
                driver.sizes = sizes
                await rig.kubelet.storage.stats.once()
                assert whole in Stateful(rig.kubelet).registry.text(), sizes
            await rig.deleted("web")


async def test_driver_tells_how_well_a_volume_is(tmp_path: Path) -> None:
    """A volume that its driver calls abnormal is an event of the pod, told once, and a figure; silence is neither."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    figure = 'kubelet_volume_stats_health_status_abnormal{namespace="default",persistentvolumeclaim="claim"}'
    async with setting(tmp_path, api) as (rig, driver):
        await rig.started(with_volume("web", volume))
        stats = rig.kubelet.storage.stats
        await stats.once()
        assert figure not in Stateful(rig.kubelet).registry.text()
        for ailment, shown in (("disk is failing", 1), ("disk is failing", 1), ("", 0)):
            driver.ailment = ailment
            await stats.once()
            assert f"{figure} {shown}" in Stateful(rig.kubelet).registry.text()
        await rig.until(lambda: "VolumeConditionAbnormal" in rig.reasons("web"))
        (told,) = [one for one in api.listed(events.RESOURCE) if one["reason"] == "VolumeConditionAbnormal"]
        assert told["message"] == "Volume pv-claim: disk is failing" and told.get("count", 1) == 1


async def test_failed_mount_leaves_the_sandbox(tmp_path: Path) -> None:
    """A mount that fails beside a sandbox that starts: the next try takes the sandbox that is there, and asks for none
    of the same name, which a runtime refuses."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        driver.serving(),
        kubelet(tmp_path, api, endpoint) as rig,
    ):
        await rig.until(lambda: driver.registered)
        driver.trouble = {"Stage": "INTERNAL"}
        await rig.started(with_volume("web", volume))
        assert runtime.calls.count("RunPodSandbox web") == 1
        assert "FailedCreatePodSandBox" not in rig.reasons("web")


async def test_driver_that_crashes_in_the_middle_of_staging(tmp_path: Path) -> None:
    """Nobody knows how far it came: the volume is noted as staged, and staged again by the driver that comes back;
    in the end it is unstaged once."""
    api = FakeAPI()
    csi_driver(api)
    volume = persistent(api, "claim")
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        driver.trouble = {"Stage": "hang"}
        async with driver.serving():
            await rig.until(lambda: driver.registered)
            api.put(with_volume("web", volume))
            await rig.until(lambda: "Stage h-claim" in driver.calls)
        notes = tmp_path / "root" / "plugins" / "kubernetes.io" / "csi" / NAME
        assert [path.name for path in notes.glob("*/vol_data.json")] == ["vol_data.json"]
        driver.trouble.clear()
        driver.calls.clear()
        async with driver.serving():
            await rig.until(lambda: rig.ready("web"))
            assert driver.calls == ["Stage h-claim", "Publish h-claim"]
            await rig.deleted("web")
            await rig.until(lambda: driver.calls[2:] == ["Unpublish h-claim", "Unstage h-claim"])


async def test_hundred_volumes_are_taken_over_at_once(tmp_path: Path) -> None:
    """A new kubelet reads the notes of a hundred volumes, and asks the driver to undo none of them."""
    api = FakeAPI()
    csi_driver(api)
    volumes = [{**persistent(api, f"claim{number}"), "name": f"v{number}"} for number in range(100)]
    mounts = [{"name": one["name"], "mountPath": f"/{one['name']}"} for one in volumes]
    driver = FakeDriver(tmp_path / "root" / "plugins_registry")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), driver.serving():
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.started(pod("web", volumes=volumes, container={"volumeMounts": mounts}))
        assert len([call for call in driver.calls if call.startswith("Publish")]) == 100
        driver.calls.clear()
        async with kubelet(tmp_path, api, endpoint) as rig:
            assert len(rig.kubelet.ctx.volumes.csi.of_pod("uid-web")) == 100
            await rig.until(lambda: len(rig.kubelet.ctx.volumes.specs("uid-web")) == 100)
            assert not [call for call in driver.calls if call.startswith("Un")]
