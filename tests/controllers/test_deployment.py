"""Deployment, ReplicaSet and garbage collector together, over the fake API."""

from collections import Counter
from typing import Any

from pynetes.apis.apps import deployments, replicasets
from pynetes.apis.core import pods
from pynetes.machinery.errors import forbidden
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import World, ready, running, template

NAMES = ("deployment", "replicaset", "garbage-collector")


def deployment(replicas: int = 3, **spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template(app="web"),
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "progressDeadlineSeconds": 600,
            "revisionHistoryLimit": 2,
        }
        | spec,
    }


def image(name: str) -> Any:
    def change(obj: Any) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = name

    return change


async def made(world: World, **spec: Any) -> None:
    world.kubelet = ready(world.clock)
    world.api.put(deployment(**spec))
    await world.settle()


async def test_a_deployment_costs_no_more_writes_than_it_has_news() -> None:
    """The revision is written with the first status and is no new generation; no status tells of pods to come."""
    async with running(*NAMES) as world:
        await made(world)
        web = world.get(deployments.RESOURCE, "web")
        assert (web["metadata"].get("generation", 1), web["status"]["observedGeneration"]) == (1, 1)
        written = Counter((write.verb, write.resource) for write in world.api.writes)
        assert written["update", "deployments.apps"] == 0
        assert written["update", "deployments.apps/status"] == 3
        assert written["update", "replicasets.apps/status"] == 2


async def test_a_deployment_becomes_available() -> None:
    """One ReplicaSet, three pods, a status that says so, and events as upstream words them."""
    async with running(*NAMES) as world:
        await made(world)
        web = world.get(deployments.RESOURCE, "web")
        (replica_set,) = world.api.listed(replicasets.RESOURCE)
        assert len(world.pods(app="web")) == 3
        assert web["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
        status = web["status"]
        assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (3, 3, 3)
        assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
            "Available": ("True", "MinimumReplicasAvailable"),
            "Progressing": ("True", "NewReplicaSetAvailable"),
        }
        name = replica_set["metadata"]["name"]
        told = await world.events(world.get(deployments.RESOURCE, "web"))
        assert f"ScalingReplicaSet Scaled up replica set {name} from 0 to 3" in told
        assert any(line.startswith("SuccessfulCreate Created pod: ") for line in await world.events(replica_set))


async def test_rest_after_settling() -> None:
    """Once settled nobody writes, not even when time passes."""
    async with running(*NAMES) as world:
        await made(world)
        world.writes()
        await world.advance(30)
        assert world.writes() == []


async def test_rolling_update_and_undo() -> None:
    """A new template rolls over without losing availability; the old template again brings the old ReplicaSet back."""
    async with running(*NAMES) as world:
        await made(world)
        (first,) = world.api.listed(replicasets.RESOURCE)
        world.edit(deployments.RESOURCE, "web", image("a:2"))
        await world.settle()
        sizes = {each["metadata"]["name"]: each["spec"]["replicas"] for each in world.api.listed(replicasets.RESOURCE)}
        assert sorted(sizes.values()) == [0, 3] and sizes[first["metadata"]["name"]] == 0
        assert world.get(deployments.RESOURCE, "web")["metadata"]["annotations"] == {
            "deployment.kubernetes.io/revision": "2"
        }
        world.edit(deployments.RESOURCE, "web", image("a:1"))
        await world.settle()
        again = world.get(replicasets.RESOURCE, first["metadata"]["name"])
        assert again["spec"]["replicas"] == 3
        assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
        assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
        assert len(world.api.listed(replicasets.RESOURCE)) == 2


async def test_history_is_limited() -> None:
    """Only revisionHistoryLimit old ReplicaSets stay."""
    async with running(*NAMES) as world:
        await made(world, replicas=1)
        for number in range(2, 7):
            world.edit(deployments.RESOURCE, "web", image(f"a:{number}"))
            await world.settle()
        assert len(world.api.listed(replicasets.RESOURCE)) == 3


async def test_scale_and_pause() -> None:
    """Scaling works while paused, a new template does not roll out until the resume."""
    async with running(*NAMES) as world:
        await made(world)

        def pause(obj: Any) -> None:
            obj["spec"] |= {"paused": True, "replicas": 5}
            image("a:2")(obj)

        world.edit(deployments.RESOURCE, "web", pause)
        await world.settle()
        assert len(world.pods()) == 5 and len(world.api.listed(replicasets.RESOURCE)) == 1
        assert any(
            c["reason"] == "DeploymentPaused" for c in world.get(deployments.RESOURCE, "web")["status"]["conditions"]
        )
        world.edit(deployments.RESOURCE, "web", lambda obj: obj["spec"].pop("paused"))
        await world.settle()
        images = {pod["spec"]["containers"][0]["image"] for pod in world.pods()}
        assert len(world.pods()) == 5 and images == {"a:2"}


async def test_recreate_waits_for_the_old_pods() -> None:
    """With Recreate, no new pod exists while an old one still terminates."""
    async with running(*NAMES) as world:
        await made(world, strategy={"type": "Recreate"})
        for pod in world.pods():
            world.api.put(pod | {"metadata": pod["metadata"] | {"finalizers": ["test/stay"]}})
        world.edit(deployments.RESOURCE, "web", image("a:2"))
        await world.settle()
        assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"a:1"}
        for pod in world.pods():
            world.api.remove(pod)
        await world.settle()
        assert [pod["spec"]["containers"][0]["image"] for pod in world.pods()] == ["a:2"] * 3


async def test_progress_deadline() -> None:
    """A rollout whose pods never become ready is reported stuck once the deadline has passed."""
    async with running(*NAMES) as world:
        await made(world)
        world.kubelet = lambda pod: None
        world.edit(deployments.RESOURCE, "web", image("broken"))
        await world.settle()
        await world.advance(601)
        await world.advance(2)
        conditions = {c["type"]: c for c in world.get(deployments.RESOURCE, "web")["status"]["conditions"]}
        assert conditions["Progressing"]["reason"] == "ProgressDeadlineExceeded"
        assert conditions["Progressing"]["status"] == "False"
        assert conditions["Available"]["status"] == "True"


async def test_deletion_takes_everything() -> None:
    """With the Deployment gone, ReplicaSets and pods follow."""
    async with running(*NAMES) as world:
        await made(world)
        await world.api.client().delete(deployments.RESOURCE, Key("default", "web"))
        await world.settle()
        assert world.api.listed(replicasets.RESOURCE) == [] and world.pods() == []


async def test_failed_creates_are_told() -> None:
    """A refused pod shows as condition ReplicaFailure on both, and goes once pods come."""
    async with running(*NAMES) as world:
        for _ in range(4):
            world.api.fail("create", pods.RESOURCE, forbidden("pods", "", "x", "exceeded quota"))
        await made(world)
        status = world.get(deployments.RESOURCE, "web")["status"]
        assert "ReplicaFailure" in [c["type"] for c in status["conditions"]]
        for _ in range(4):
            await world.advance(5)
        status = world.get(deployments.RESOURCE, "web")["status"]
        assert "ReplicaFailure" not in [c["type"] for c in status["conditions"]] and status["readyReplicas"] == 3
