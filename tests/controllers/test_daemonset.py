"""DaemonSets over the fake API."""

from typing import Any

import pytest

from pynetes.apis.apps import daemonsets
from pynetes.controllers.daemonset import placement
from pynetes.machinery.meta import Object
from tests.controllers.harness import World, ready, running, template

NAMES = ("daemonset", "garbage-collector")


def node(name: str, *taints: Object, **labels: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)},
    }


def daemonset(**spec: Any) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": template(app="agent"),
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        }
        | spec,
    }


def where(world: World) -> list[str]:
    return sorted(placement.node_of(pod) for pod in world.pods())


async def start(world: World, *names: str, **spec: Any) -> None:
    world.kubelet = ready(world.clock)
    for name in names:
        world.api.put(node(name))
    world.api.put(daemonset(**spec))
    await world.settle()


async def test_one_pod_per_node() -> None:
    """Nodes that come get a daemon, nodes that stop fitting lose it, and then nobody writes."""
    async with running(*NAMES) as world:
        await start(world, "a", "b")
        assert where(world) == ["a", "b"]
        world.api.put(node("c"))
        world.api.put(node("a", {"key": "k", "effect": "NoExecute"}))
        await world.settle()
        assert where(world) == ["b", "c"]
        status = world.get(daemonsets.RESOURCE, "agent")["status"]
        assert (status["desiredNumberScheduled"], status["numberReady"], status["numberAvailable"]) == (2, 2, 2)
        world.writes()
        await world.advance(60)
        assert world.writes() == []


async def test_rolling_update() -> None:
    """A new template replaces all daemons, one node at a time."""
    async with running(*NAMES) as world:
        await start(world, "a", "b", "c")

        def change(obj: Any) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = "a:2"

        world.kubelet = lambda pod: None
        world.edit(daemonsets.RESOURCE, "agent", change)
        await world.settle()
        images = sorted(pod["spec"]["containers"][0]["image"] for pod in world.pods())
        assert images == ["a:1", "a:1", "a:2"]
        world.kubelet = ready(world.clock)
        await world.settle()
        assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"a:2"}
        assert world.get(daemonsets.RESOURCE, "agent")["status"]["updatedNumberScheduled"] == 3


async def test_surging_update() -> None:
    """With maxSurge the new daemon comes first; the old one goes when it is available."""
    async with running(*NAMES) as world:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        await start(world, "a", "b", updateStrategy=strategy)

        def change(obj: Any) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = "a:2"

        world.kubelet = lambda pod: None
        world.edit(daemonsets.RESOURCE, "agent", change)
        await world.settle()
        assert len(world.pods()) == 3
        world.kubelet = ready(world.clock)
        await world.settle()
        assert [pod["spec"]["containers"][0]["image"] for pod in world.pods()] == ["a:2", "a:2"]


async def test_failed_daemons_are_replaced() -> None:
    """A failed daemon is deleted and made anew, not faster than once a second."""
    async with running(*NAMES) as world:
        await start(world, "a")
        (pod,) = world.pods()
        world.api.put(pod | {"status": {"phase": "Failed"}})
        await world.advance(2)
        (new,) = world.pods()
        assert new["metadata"]["uid"] != pod["metadata"]["uid"]


@pytest.mark.parametrize(
    ("spec", "made", "expected"),
    [
        ({}, node("a"), (True, True)),
        ({}, node("a", {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}), (True, True)),
        ({}, node("a", {"key": "k", "effect": "NoSchedule"}), (False, True)),
        ({}, node("a", {"key": "k", "effect": "NoExecute"}), (False, False)),
        ({"tolerations": [{"operator": "Exists"}]}, node("a", {"key": "k", "effect": "NoExecute"}), (True, True)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a", disk="ssd"), (True, True)),
        ({"nodeName": "b"}, node("a"), (False, False)),
    ],
)
def test_placement(spec: Object, made: Object, expected: tuple[bool, bool]) -> None:
    """Where a daemon belongs, and where it may stay."""
    found = daemonset()
    found["spec"]["template"]["spec"] |= spec
    assert placement.should_run(found, made) == expected
