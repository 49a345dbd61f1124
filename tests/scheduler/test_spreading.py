"""Topology spread and inter-pod affinity: where pods stand to each other."""

from typing import Any

from pynetes.machinery.meta import Object
from tests.scheduler.cluster import node, pod, scheduling

WEB = {"app": "web"}
ZONES = tuple(node(f"{zone}{i}", labels={"zone": zone}) for zone in "ab" for i in (1, 2))


def spread(when: str = "DoNotSchedule", key: str = "zone") -> list[Object]:
    selector = {"matchLabels": WEB}
    return [{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector}]


def affinity(kind: str, app: str, *, key: str = "zone", **more: Any) -> Object:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **more}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


async def test_pods_are_spread_over_zones() -> None:
    """With a skew of one, four pods are two in each zone."""
    replicas = [pod(f"w{i}", labels=WEB, topologySpreadConstraints=spread()) for i in range(4)]
    async with scheduling(*ZONES, *replicas) as world:
        assert sorted(world.place(f"w{i}")[:1] for i in range(4)) == ["a", "a", "b", "b"]


async def test_a_domain_that_is_full_keeps_the_pod_waiting() -> None:
    """A zone that takes no pods still counts as empty, and the reason says what is in the way."""
    cluster = (node("a1", labels={"zone": "a"}), node("b1", labels={"zone": "b"}, unschedulable=True), node("c1"))
    replicas = [pod(f"w{i}", labels=WEB, topologySpreadConstraints=spread()) for i in range(2)]
    async with scheduling(*cluster, *replicas) as world:
        assert world.place("w0") == "a1"
        message = world.message("w1")
        assert "1 node(s) didn't match pod topology spread constraints," in message
        assert "1 node(s) didn't match pod topology spread constraints (missing required label)" in message


async def test_soft_spreading_prefers_the_emptier_zone() -> None:
    """ScheduleAnyway is a score."""
    first = pod("w0", labels=WEB, nodeName="a1")
    second = pod("w1", labels=WEB, topologySpreadConstraints=spread("ScheduleAnyway"))
    async with scheduling(*ZONES, first, second) as world:
        assert world.place("w1").startswith("b")


async def test_affinity_follows_and_the_first_may_go_anywhere() -> None:
    """A pod goes to the zone of those it wants to be near; if it wants its own kind, the first one is free."""
    near = affinity("podAffinity", "web")
    async with scheduling(*ZONES, pod("db", labels={"app": "db"}, nodeName="b1")) as world:
        await world.put(pod("client", affinity=affinity("podAffinity", "db")))
        assert world.place("client").startswith("b")
        await world.put(pod("w0", labels=WEB, affinity=near))
        await world.put(pod("w1", labels=WEB, affinity=near))
        assert world.place("w0")[:1] == world.place("w1")[:1] != ""


async def test_anti_affinity_holds_both_ways() -> None:
    """Replicas keep away from each other, and others keep away from a pod that wants them to."""
    alone = affinity("podAntiAffinity", "web", key="kubernetes.io/hostname")
    cluster = (node("n1"), pod("w0", labels=WEB, affinity=alone))
    async with scheduling(*cluster) as world:
        await world.put(pod("w1", labels=WEB, affinity=alone), pod("w2", labels=WEB))
        assert "1 node(s) didn't match pod anti-affinity rules" in world.message("w1")
        assert "1 node(s) didn't satisfy existing pods anti-affinity rules" in world.message("w2")
        await world.put(node("n2"))
        assert [world.place("w1"), world.place("w2")].count("n2") == 1


async def test_terms_speak_of_namespaces() -> None:
    """A namespaceSelector reaches into other namespaces by their labels."""
    other = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "prod", "labels": {"tier": "prod"}}}
    db = pod("db", labels={"app": "db"}, nodeName="b1")
    db["metadata"]["namespace"] = "prod"
    selected = affinity("podAffinity", "db", namespaceSelector={"matchLabels": {"tier": "prod"}})
    async with scheduling(*ZONES, other, db) as world:
        await world.put(pod("near", affinity=selected), pod("far", affinity=affinity("podAffinity", "db")))
        assert world.place("near").startswith("b")
        assert world.place("far") == ""


async def test_replicas_keep_apart_by_default() -> None:
    """Pods of one controller go to different nodes, and to different zones first, without asking for it."""
    zone = "topology.kubernetes.io/zone"
    cluster = tuple(node(f"{name}{i}", labels={zone: name}) for name in "abc" for i in (1, 2))
    replicas = [pod(f"w{i}", cpu="10m") for i in range(6)]
    for replica in replicas:
        ref = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "w", "uid": "u", "controller": True}
        replica["metadata"]["ownerReferences"] = [ref]
    async with scheduling(*cluster) as world:
        await world.put(*replicas[:3])
        assert sorted(world.place(f"w{i}")[0] for i in range(3)) == ["a", "b", "c"]
        await world.put(*replicas[3:])
        assert len({world.place(f"w{i}") for i in range(6)}) == 6
