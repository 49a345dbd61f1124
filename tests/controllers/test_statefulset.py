"""StatefulSets over the fake API."""

from typing import Any

from pynetes.apis.apps import controllerrevisions, statefulsets
from pynetes.apis.core import persistentvolumeclaims
from pynetes.controllers.statefulset import order
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import START, World, ready, running, template

NAMES = ("statefulset", "garbage-collector")


def stateful(**spec: Any) -> Object:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": 3,
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": template(app="db"),
            "volumeClaimTemplates": [claim],
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        }
        | spec,
    }


def image(name: str) -> Any:
    def change(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = name

    return change


def images(world: World) -> list[str]:
    return [pod["spec"]["containers"][0]["image"] for pod in world.pods()]


def names(world: World) -> list[str]:
    return [pod["metadata"]["name"] for pod in world.pods()]


async def test_pods_come_in_order_with_identity_and_claims() -> None:
    """The next pod waits for the one before; each has its name, hostname, labels and claim."""
    async with running(*NAMES) as world:
        world.api.put(stateful())
        await world.settle()
        assert names(world) == ["db-0"]
        world.kubelet = ready(world.clock)
        await world.settle()
        assert names(world) == ["db-0", "db-1", "db-2"]
        pod = world.pods()[1]
        assert pod["spec"]["hostname"] == "db-1" and pod["spec"]["subdomain"] == "db"
        assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "db-1"
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
        assert pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "data-db-1"
        found = [claim["metadata"]["name"] for claim in world.api.listed(persistentvolumeclaims.RESOURCE)]
        assert found == ["data-db-0", "data-db-1", "data-db-2"]
        status = world.get(statefulsets.RESOURCE, "db")["status"]
        assert (status["readyReplicas"], status["availableReplicas"], status["currentReplicas"]) == (3, 3, 3)
        assert (
            status["currentRevision"]
            == status["updateRevision"]
            == pod["metadata"]["labels"]["controller-revision-hash"]
        )
        world.writes()
        await world.advance(60)
        assert world.writes() == []


async def test_rolling_update_with_partition() -> None:
    """From the highest ordinal down to the partition; without partition the revision becomes current."""
    async with running(*NAMES) as world:
        world.kubelet = ready(world.clock)
        world.api.put(stateful(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}))
        await world.settle()
        world.edit(statefulsets.RESOURCE, "db", image("a:2"))
        await world.settle()
        assert images(world) == ["a:1", "a:1", "a:2"]
        world.edit(
            statefulsets.RESOURCE,
            "db",
            lambda obj: obj["spec"]["updateStrategy"].update(rollingUpdate={"partition": 0}),
        )
        await world.settle()
        assert images(world) == ["a:2"] * 3
        status = world.get(statefulsets.RESOURCE, "db")["status"]
        assert status["currentRevision"] == status["updateRevision"] and status["updatedReplicas"] == 3
        assert [each["revision"] for each in world.api.listed(controllerrevisions.RESOURCE)].count(2) == 1


async def test_scale_down_parallel_and_on_delete() -> None:
    """Parallel sets come at once; scaling down takes the highest; OnDelete waits for the user."""
    async with running(*NAMES) as world:
        world.api.put(stateful(podManagementPolicy="Parallel", updateStrategy={"type": "OnDelete"}))
        await world.settle()
        assert len(world.pods()) == 3
        world.kubelet = ready(world.clock)
        await world.settle()
        world.edit(statefulsets.RESOURCE, "db", lambda obj: obj["spec"].update(replicas=1))
        await world.settle()
        assert names(world) == ["db-0"]
        assert len(world.api.listed(persistentvolumeclaims.RESOURCE)) == 3
        world.edit(statefulsets.RESOURCE, "db", image("a:2"))
        await world.settle()
        assert images(world) == ["a:1"]
        world.api.remove(world.pods()[0])
        await world.settle()
        assert images(world) == ["a:2"]


async def test_claims_go_when_the_policy_says_so() -> None:
    """whenScaled and whenDeleted Delete give the claims owners, and the collector does the rest."""
    async with running(*NAMES) as world:
        world.kubelet = ready(world.clock)
        policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
        world.api.put(stateful(persistentVolumeClaimRetentionPolicy=policy))
        await world.settle()
        world.edit(statefulsets.RESOURCE, "db", lambda obj: obj["spec"].update(replicas=2))
        await world.settle()
        assert len(world.pods()) == 2
        await world.api.client().delete(statefulsets.RESOURCE, Key("default", "db"))
        await world.settle()
        assert world.pods() == [] == world.api.listed(persistentvolumeclaims.RESOURCE)


async def test_ended_pods_are_replaced() -> None:
    """A failed pod is deleted and made anew under its name."""
    async with running(*NAMES) as world:
        world.kubelet = ready(world.clock)
        world.api.put(stateful(replicas=1))
        await world.settle()
        (pod,) = world.pods()
        world.api.put(pod | {"status": {"phase": "Failed"}})
        await world.settle()
        assert names(world) == ["db-0"] and world.pods()[0]["metadata"]["uid"] != pod["metadata"]["uid"]


def test_revision_below_the_partition() -> None:
    """A pod made anew below the partition is of the current revision, above it of the new one."""
    made = stateful(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})
    view = order.View(made, [], "old", "new", START)
    assert [view.revision_for(ordinal) for ordinal in range(3)] == ["old", "new", "new"]
