"""Volumes decide where pods go: where their data is, where there is room, and one writer's claims to one pod."""

from typing import Any

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as pvs
from pynetes.apis.core import pods
from pynetes.machinery.meta import Key, Object
from tests.controllers.volumes import DRIVER, bound, claim, storage_class, volume
from tests.scheduler.cluster import World, node, pod, scheduling


def using(name: str, *names: str, **spec: Any) -> Object:
    """A pod that mounts claims."""
    return pod(name, volumes=[{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in names], **spec)


def only_on(name: str) -> Object:
    """A volume's node affinity."""
    expression = {"key": "kubernetes.io/hostname", "operator": "In", "values": [name]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}


def stored(world: World, name: str = "data") -> Object:
    found = world.api.get(claims.RESOURCE, Key("default", name))
    assert found is not None
    return found


def done(obj: Object, **annotations: str) -> Object:
    """A claim as the binder leaves it."""
    marks = {"pv.kubernetes.io/bind-completed": "yes", **annotations}
    return {**obj, "metadata": {**obj["metadata"], "annotations": marks}, "status": {"phase": "Bound"}}


async def test_goes_where_its_volume_is() -> None:
    """A bound volume's node affinity decides."""
    mine, its = bound()
    its["spec"]["nodeAffinity"] = only_on("n2")
    async with scheduling(node("n1"), node("n2"), node("n3"), mine, its, using("web", "data")) as world:
        assert world.place("web") == "n2"


async def test_nowhere_else() -> None:
    """Where the volume cannot be used the pod waits, with the reason."""
    mine, its = bound()
    its["spec"]["nodeAffinity"] = only_on("n9")
    async with scheduling(node("n1"), mine, its, using("web", "data")) as world:
        assert "didn't match PersistentVolume's node affinity" in world.message("web")
        await world.put(node("n9"))
        assert world.place("web") == "n9"


async def test_missing_and_unbound() -> None:
    """A claim that is not there, and one that has no volume yet, hold the pod back until they are."""
    async with scheduling(node("n1"), using("web", "data")) as world:
        assert 'persistentvolumeclaim "data" not found' in world.message("web")
        await world.put(storage_class(), claim())
        assert "unbound immediate PersistentVolumeClaims" in world.message("web")
        mine, its = bound()
        await world.put(its, mine)
        assert world.place("web") == "n1"


async def test_first_consumer_chooses_the_node() -> None:
    """The claim is told the pod's node, and the pod is bound only when the volume has come."""
    async with scheduling(node("n1"), storage_class(late=True), claim(), using("web", "data")) as world:
        asked = stored(world)
        assert asked["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n1"
        assert world.place("web") == ""
        mine, its = bound()
        mark = {"volume.kubernetes.io/selected-node": "n1"}
        await world.put(its, done(mine, **mark))
        assert world.place("web") == "n1"


async def test_provisioning_that_fails() -> None:
    """When the provisioner takes the node back from the claim, the pod is scheduled anew."""
    async with scheduling(node("n1"), storage_class(late=True), claim(), using("web", "data")) as world:
        asked = stored(world)
        without = {**asked, "metadata": {**asked["metadata"], "annotations": {}}}
        await world.put(without)
        assert "provisioning failed" in world.message("web")
        await world.clock.advance(20)
        assert stored(world)["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n1"


async def test_volumes_made_by_hand_wait_for_a_node_too() -> None:
    """Of the volumes of a class, the pod gets one that its node can use; two pods never get the same one."""
    hand = storage_class(late=True, provisioner="kubernetes.io/no-provisioner")
    volumes = []
    for name in ("n1", "n2"):
        one = volume(f"on-{name}", nodeAffinity=only_on(name))
        one["status"] = {"phase": "Available"}
        volumes.append(one)
    objects = (hand, claim("a"), claim("b"), claim("c"), *volumes)
    async with scheduling(node("n1"), node("n2"), *objects, using("a", "a"), using("b", "b")) as world:
        refs = [(world.api.get(pvs.RESOURCE, Key("", f"on-{name}")) or {})["spec"]["claimRef"] for name in ("n1", "n2")]
        assert sorted(ref["name"] for ref in refs) == ["a", "b"]
        await world.put(using("c", "c"))
        assert "didn't find available persistent volumes" in world.message("c")


def capacity(amount: str) -> Object:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIStorageCapacity",
        "metadata": {"name": "c", "namespace": "kube-system"},
        "storageClassName": "fast",
        "capacity": amount,
        "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "n2"}},
    }


async def test_room() -> None:
    """A driver that publishes its capacity gets pods only where it has enough."""
    driver = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": DRIVER},
        "spec": {"storageCapacity": True},
    }
    objects = (node("n1"), node("n2"), driver, storage_class(late=True), claim(size="5Gi"), capacity("1Gi"))
    async with scheduling(*objects, using("web", "data")) as world:
        assert "did not have enough free storage" in world.message("web")
        await world.put(capacity("10Gi"))
        assert stored(world)["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n2"


async def test_allowed_topologies() -> None:
    """A class that allows some nodes only has volumes made on those."""
    term = {"matchLabelExpressions": [{"key": "kubernetes.io/hostname", "values": ["n2"]}]}
    objects = (node("n1"), node("n2"), storage_class(late=True, allowedTopologies=[term]), claim())
    async with scheduling(*objects, using("web", "data")) as world:
        assert stored(world)["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "n2"


async def test_zone() -> None:
    """A volume's zone label decides."""
    mine, its = bound()
    its["metadata"]["labels"] = {"topology.kubernetes.io/zone": "a__b"}
    far = node("n1", labels={"topology.kubernetes.io/zone": "c"})
    near = node("n2", labels={"topology.kubernetes.io/zone": "b"})
    async with scheduling(far, near, mine, its, using("web", "data")) as world:
        assert world.place("web") == "n2"


async def test_one_pod_at_a_time() -> None:
    """A ReadWriteOncePod claim that a pod uses keeps others out until that is gone, on every node."""
    mine, its = bound(accessModes=["ReadWriteOncePod"])
    its["spec"]["accessModes"] = ["ReadWriteOncePod"]
    first = using("first", "data")
    async with scheduling(node("n1"), node("n2"), mine, its, first) as world:
        assert world.place("first")
        await world.put(using("second", "data"))
        assert "ReadWriteOncePod" in world.message("second")
        await world.remove(world.get("first"))
        assert world.place("second")


async def test_one_pod_at_a_time_and_a_more_important_one() -> None:
    """A more important pod has the one that uses its ReadWriteOncePod claim removed, and takes its place; nobody else
    has to go for it."""
    mine, its = bound(accessModes=["ReadWriteOncePod"])
    its["spec"]["accessModes"] = ["ReadWriteOncePod"]
    first, bystander = using("first", "data", nodeName="n1", priority=1), pod("other", nodeName="n2", priority=1)
    async with scheduling(node("n1"), node("n2"), mine, its, first, bystander) as world:
        await world.put(using("second", "data", priority=10))
        assert world.place("second") == "n1"
        assert world.api.get(pods.RESOURCE, Key("default", "first")) is None
        assert world.place("other") == "n2"


async def test_limit() -> None:
    """A node is full when it has as many volumes of a driver as CSINode allows; a shared volume counts once."""
    csi_node = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": "n1"},
        "spec": {"drivers": [{"name": DRIVER, "nodeID": "n1", "topologyKeys": [], "allocatable": {"count": 1}}]},
    }
    objects = (*bound("a", volume_name="pv-a"), *bound("b", volume_name="pv-b"))
    async with scheduling(node("n1"), csi_node, *objects, using("one", "a"), using("same", "a")) as world:
        assert world.place("one") == "n1" and world.place("same") == "n1"
        await world.put(using("two", "b"))
        assert "exceed max volume count" in world.message("two")
