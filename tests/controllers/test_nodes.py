"""Node lifecycle, taint eviction, pod networks and pod GC."""

import ipaddress

import pytest

from pynetes.apis.core import nodes
from pynetes.controllers import Config, nodeipam, tainteviction
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import START, World, running


def node(name: str = "n1") -> Object:
    beat = {"lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {},
        "status": {"conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", **beat}]},
    }


def lease(world: World, name: str = "n1") -> None:
    world.api.put(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"renewTime": time.micro(world.clock.now())},
        }
    )


def pod(name: str, seconds: int | None) -> Object:
    toleration = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "nodeName": "n1",
            "containers": [],
            "tolerations": [toleration | ({"tolerationSeconds": seconds} if seconds is not None else {})],
        },
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    }


async def test_events_tell_when_a_node_comes_and_goes() -> None:
    """Once for each, however often the node is looked at."""
    async with running("node-lifecycle") as world:
        made = world.api.put(node())
        for _ in range(2):
            lease(world)
            await world.settle()
        assert await world.events(made) == ["RegisteredNode Node n1 event: Registered Node n1 in Controller"]
        await world.advance(1)
        world.api.remove(made)
        await world.settle()
        assert (await world.events(made))[-1] == "RemovingNode Node n1 event: Removing Node n1 from Controller"


async def test_a_silent_node_is_tainted_its_pods_evicted_and_it_comes_back() -> None:
    """Silent for the grace period: Unknown, tainted, pods unready; later evicted; a heartbeat heals it."""
    async with running("node-lifecycle", "taint-eviction") as world:
        world.api.put(node())
        lease(world)
        world.api.put(pod("short", 300))
        world.api.put(pod("forever", None))
        await world.settle()
        await world.advance(40)
        lease(world)
        await world.settle()
        await world.advance(49)
        assert not world.get(nodes.RESOURCE, "n1")["spec"].get("taints")
        await world.advance(2)
        found = world.get(nodes.RESOURCE, "n1")
        ready = found["status"]["conditions"][0]
        assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert {(t["key"], t["effect"]) for t in found["spec"]["taints"]} == {
            ("node.kubernetes.io/unreachable", "NoSchedule"),
            ("node.kubernetes.io/unreachable", "NoExecute"),
        }
        assert world.pods()[0]["status"]["conditions"][0]["status"] == "False"
        await world.advance(299)
        assert len(world.pods()) == 2
        await world.advance(2)
        assert [each["metadata"]["name"] for each in world.pods()] == ["forever"]
        lease(world)
        world.api.put(node())
        await world.settle()
        assert not world.get(nodes.RESOURCE, "n1")["spec"].get("taints")


async def test_nothing_is_written_about_a_healthy_node() -> None:
    """Heartbeats alone cause no write."""
    async with running("node-lifecycle", "taint-eviction", "ttl") as world:
        world.api.put(node())
        lease(world)
        await world.settle()
        world.writes()
        for _ in range(10):
            await world.advance(10)
            lease(world)
            await world.settle()
        assert world.writes() == []


async def test_nodes_get_networks_and_give_them_back() -> None:
    """Each node gets the first free /24; a vanished node's is used again."""
    config = Config(allocate_node_cidrs=True, cluster_cidrs=("10.244.0.0/23",))
    async with running("node-ipam", config=config) as world:
        for name in ("a", "b", "c"):
            world.api.put(node(name))
            await world.settle()
        networks = [world.get(nodes.RESOURCE, name)["spec"].get("podCIDR") for name in ("a", "b", "c")]
        assert networks == ["10.244.0.0/24", "10.244.1.0/24", None]
        world.api.remove(world.get(nodes.RESOURCE, "a"))
        await world.settle()
        assert world.get(nodes.RESOURCE, "c")["spec"]["podCIDRs"] == ["10.244.0.0/24"]


def test_free_network() -> None:
    """Networks that others gave by hand are avoided, whatever their size."""
    cluster = ipaddress.ip_network("10.0.0.0/16")
    assert nodeipam.free(cluster, 24, {"10.0.0.0/23", "10.0.2.0/24"}) == "10.0.3.0/24"


def test_evict_at() -> None:
    """No toleration: now; tolerated for a while: then; the shortest counts; for ever: never."""
    taint = {"key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"}

    def when(*tolerations: Object) -> float | None:
        found = tainteviction.evict_at({"spec": {"tolerations": list(tolerations)}}, [taint], START)
        return None if found is None else (found - START).total_seconds()

    assert when() == 0
    assert when({"key": "other", "operator": "Exists"}) == 0
    assert when({"key": "k", "operator": "Exists"}) is None
    assert when({"operator": "Exists"}) is None
    assert when({"key": "k", "operator": "Exists", "tolerationSeconds": 30}, {"key": "k", "tolerationSeconds": 9}) == 9


def device_slice(**taint: str) -> Object:
    """A slice with one device, and its taint."""
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    device = {"name": "g0", **({"taints": [taint]} if taint else {})}
    return {
        "metadata": {"name": "s"},
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "spec": {"driver": "d.test", "pool": pool, "nodeName": "n1", "devices": [device]},
    }


def claim_of(name: str, *tolerations: Object) -> Object:
    """A claim that a pod of its name has."""
    result = {"request": "r", "driver": "d.test", "pool": "p", "device": "g0", "tolerations": list(tolerations)}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"namespace": "default", "name": name},
        "spec": {},
        "status": {
            "allocation": {"devices": {"results": [result]}},
            "reservedFor": [{"resource": "pods", "name": name, "uid": f"uid-{name}"}],
        },
    }


def named(name: str, uid: str) -> Object:
    """A pod with a UID."""
    made = pod(name, None)
    return {**made, "metadata": {**made["metadata"], "uid": uid}}


async def test_pods_lose_devices_that_are_tainted() -> None:
    """At once, after the time for which their claim tolerates it, or never; a pod of the same name is another pod."""
    exists = {"key": "broken", "operator": "Exists"}
    async with running("device-taint-eviction") as world:
        world.api.put(device_slice())
        for name, *tolerations in (("now",), ("later", {**exists, "tolerationSeconds": 60}), ("never", exists)):
            world.api.put(claim_of(name, *tolerations))
            world.api.put(named(name, f"uid-{name}"))
        world.api.put(claim_of("other"))
        world.api.put(named("other", "uid-of-another"))
        await world.settle()
        assert len(world.pods()) == 4
        world.api.put(device_slice(key="broken", effect="NoExecute", timeAdded=time.rfc3339(START)))
        await world.settle()
        assert sorted(each["metadata"]["name"] for each in world.pods()) == ["later", "never", "other"]
        await world.advance(61)
        assert sorted(each["metadata"]["name"] for each in world.pods()) == ["never", "other"]
        assert all("DisruptionTarget" not in str(each) for each in world.pods())


async def test_pods_of_vanished_nodes_are_removed() -> None:
    """After a while, and only if the node is really gone."""
    async with running("pod-garbage-collector") as world:
        world.api.put(node())
        world.api.put(pod("p", None))
        await world.settle()
        await world.api.client().delete(nodes.RESOURCE, Key("", "n1"))
        await world.settle()
        assert len(world.pods()) == 1
        await world.advance(41)
        assert world.pods() == []


@pytest.mark.parametrize(("ready", "left"), [("Unknown", 1), ("True", 2)])
async def test_terminating_pods_of_nodes_out_of_service_are_removed(ready: str, left: int) -> None:
    """A node that is tainted as down and does not answer ends no pod: what is terminating there goes, so that its
    owner makes it elsewhere. A node that is ready, whatever its taint says, ends its pods itself."""
    async with running("pod-garbage-collector") as world:
        taint = {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}
        world.api.put({**node(), "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        for name, marks in (("going", {"deletionTimestamp": "2026-01-01T00:00:00Z"}), ("staying", {})):
            made = pod(name, None)
            world.api.put({**made, "metadata": {**made["metadata"], **marks}})
        await world.settle()
        assert len(world.pods()) == 2
        world.edit(nodes.RESOURCE, "n1", lambda obj: obj["spec"].update(taints=[taint]))
        await world.settle()
        assert len(world.pods()) == left and "staying" in [one["metadata"]["name"] for one in world.pods()]
