"""The owner graph as a pure structure, and the collector over the fake API."""

from typing import Any

from pynetes.apis.core import configmaps, secrets
from pynetes.controllers.garbagecollector.graph import Graph
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import running


def config(name: str, *owners: Object, uid: str = "", **metadata: Any) -> Object:
    made = {"name": name, "namespace": "default", "ownerReferences": list(owners)} | metadata
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": made | ({"uid": uid} if uid else {})}


def ref(name: str, uid: str, *, blocks: bool = False) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": blocks}


def test_the_ordinary_case_needs_no_look() -> None:
    """A dependent whose owner is known costs nothing; one whose owner is not makes the owner worth a look."""
    graph = Graph()
    assert graph.put(configmaps.RESOURCE, config("a", uid="a")) == []
    assert graph.put(configmaps.RESOURCE, config("b", ref("a", "a"), uid="b")) == []
    assert graph.put(configmaps.RESOURCE, config("c", ref("x", "x"), uid="c")) == ["x"]
    node = graph.get("x")  # type: ignore[arg-type]
    assert node is not None and node.virtual and node.key == Key("default", "x")


def test_losing_an_owner_and_unblocking_one() -> None:
    """A vanished owner sends us to its dependents, a vanished blocking dependent to its waiting owner."""
    graph = Graph()
    graph.put(configmaps.RESOURCE, config("a", uid="a"))
    graph.put(configmaps.RESOURCE, config("b", ref("a", "a", blocks=True), uid="b"))
    waits = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion"]}
    assert graph.put(configmaps.RESOURCE, config("a", uid="a", **waits)) == ["a", "b"]
    assert [node.uid for node in graph.blocking("a")] == ["b"]  # type: ignore[arg-type]
    assert graph.remove("b") == ["a"]  # type: ignore[arg-type]
    graph.put(configmaps.RESOURCE, config("c", ref("a", "a"), uid="c"))
    assert graph.remove("a") == ["c"]  # type: ignore[arg-type]


async def test_objects_of_absent_owners_go_and_others_stay() -> None:
    """Gone by UID, also where another object has taken the owner's name; one living owner is enough to stay."""
    async with running("garbage-collector") as world:
        owner = world.api.put(config("owner"))
        uid = owner["metadata"]["uid"]
        world.api.put(config("stays", ref("owner", uid)))
        world.api.put(config("both", ref("owner", uid), ref("lost", "lost")))
        world.api.put(config("goes", ref("lost", "lost")))
        world.api.put(config("namesake", ref("owner", "an-earlier-owner")))
        await world.settle()
        names = [each["metadata"]["name"] for each in world.api.listed(configmaps.RESOURCE)]
        assert names == ["both", "owner", "stays"]
        assert [each["uid"] for each in world.get(configmaps.RESOURCE, "both")["metadata"]["ownerReferences"]] == [uid]
        world.writes()
        await world.advance(60)
        assert world.writes() == []


async def test_chains_are_collected() -> None:
    """Dependents of dependents follow, across kinds."""
    async with running("garbage-collector") as world:
        first = world.api.put(config("first"))
        second = world.api.put(config("second", ref("first", first["metadata"]["uid"])))
        metadata = {
            "name": "third",
            "namespace": "default",
            "ownerReferences": [ref("second", second["metadata"]["uid"])],
        }
        world.api.put({"apiVersion": "v1", "kind": "Secret", "metadata": metadata})
        await world.settle()
        await world.api.client().delete(configmaps.RESOURCE, Key("default", "first"))
        await world.settle()
        assert world.api.listed(configmaps.RESOURCE) == [] == world.api.listed(secrets.RESOURCE)


async def test_foreground_waits_and_orphan_frees() -> None:
    """A held dependent that blocks also holds its owner; with Orphan, dependents lose the owner and live on."""
    async with running("garbage-collector") as world:
        owner = world.api.put(config("owner"))
        world.api.put(config("held", ref("owner", owner["metadata"]["uid"], blocks=True), finalizers=["x/y"]))
        await world.settle()
        client = world.api.client()
        await client.delete(configmaps.RESOURCE, Key("default", "owner"), propagation="Foreground")
        await world.settle()
        assert len(world.api.listed(configmaps.RESOURCE)) == 2
        assert world.get(configmaps.RESOURCE, "held")["metadata"]["deletionTimestamp"]
        world.api.remove(world.get(configmaps.RESOURCE, "held"))
        await world.settle()
        assert world.api.listed(configmaps.RESOURCE) == []
        owner = world.api.put(config("other"))
        world.api.put(config("free", ref("other", owner["metadata"]["uid"])))
        await world.settle()
        await client.delete(configmaps.RESOURCE, Key("default", "other"), propagation="Orphan")
        await world.settle()
        (left,) = world.api.listed(configmaps.RESOURCE)
        assert left["metadata"]["name"] == "free" and left["metadata"]["ownerReferences"] == []
