"""Claims on their way to a pod: nobody gets what is promised, devices are awaited, extended resources are claimed."""

from typing import Any

import pytest

from pynetes.apis.resource import resourceclaims
from pynetes.machinery.meta import Key, Object
from pynetes.scheduler import claims
from tests.scheduler.cluster import World, node, pod, scheduling


def slice_(*devices: Object, node_name: str = "n1") -> Object:
    """A slice of a node's devices."""
    pool = {"name": node_name, "generation": 1, "resourceSliceCount": 1}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceSlice",
        "metadata": {"name": f"{node_name}-d"},
        "spec": {"driver": "d.test", "nodeName": node_name, "pool": pool, "devices": list(devices)},
    }


def class_(**spec: Any) -> Object:
    """The class of all devices."""
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "DeviceClass",
        "metadata": {"name": "gpu", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": spec,
    }


def claim(name: str = "c") -> Object:
    """A claim for one device."""
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1}
    return {
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {"namespace": "default", "name": name},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": exactly}]}},
    }


def using(name: str, *names: str) -> Object:
    """A pod with claims."""
    return pod(name, resourceClaims=[{"name": one, "resourceClaimName": one} for one in names])


def asking(name: str, amount: str = "1", resource: str = "example.com/gpu") -> Object:
    """A pod that asks for an extended resource."""
    made = pod(name)
    made["spec"]["containers"][0]["resources"] = {"requests": {resource: amount}, "limits": {resource: amount}}
    return made


def stored(world: World, name: str = "c") -> Object:
    found = world.api.get(resourceclaims.RESOURCE, Key("default", name))
    assert found is not None
    return found


def results(obj: Object) -> list[str]:
    """The devices that a claim has."""
    allocation = (obj.get("status") or {}).get("allocation") or {"devices": {"results": []}}
    return [one["device"] for one in allocation["devices"]["results"]]


async def test_two_pods_at_once_get_two_devices() -> None:
    """What is written but not yet seen again is taken all the same, and the third pod waits until there is more."""
    several = [claim(f"c{number}") for number in range(3)]
    pods = [using(f"p{number}", f"c{number}") for number in range(3)]
    devices = slice_({"name": "g0"}, {"name": "g1"})
    async with scheduling(node("n1"), class_(), devices, *several, *pods) as world:
        placed = [number for number in range(3) if world.place(f"p{number}")]
        assert len(placed) == 2
        assert sorted(results(stored(world, f"c{number}"))[0] for number in placed) == ["g0", "g1"]
        (waiting,) = {0, 1, 2} - set(placed)
        assert "cannot allocate all claims" in world.message(f"p{waiting}")
        await world.put(node("n2"), slice_({"name": "g2"}, node_name="n2"))
        assert world.place(f"p{waiting}") == "n2"


async def test_pods_that_share_a_claim_go_to_one_node() -> None:
    """The second pod follows the node that the first one's devices decided."""
    pods = [using("a", "c"), using("b", "c")]
    slices = [slice_({"name": "g0"}, node_name=name) for name in ("n1", "n2")]
    async with scheduling(node("n1"), node("n2"), class_(), *slices, claim(), *pods) as world:
        assert world.place("a") == world.place("b") != ""
        assert len(stored(world)["status"]["reservedFor"]) == 2


def waited_for() -> Object:
    """A device that somebody has to make ready."""
    return {"name": "g0", "bindingConditions": ["Ready"], "bindingFailureConditions": ["Failed"]}


def told(world: World, kind: str) -> Object:
    """The claim as it is when its device tells a condition."""
    found = stored(world)
    condition = {"type": kind, "status": "True", "reason": "Test", "message": ""}
    one = {"driver": "d.test", "pool": "n1", "device": "g0", "conditions": [condition]}
    return {**found, "status": {**found["status"], "devices": [one]}}


async def test_a_device_is_waited_for() -> None:
    """The pod is bound only when the device's conditions hold; its place is kept meanwhile."""
    async with scheduling(node("n1"), class_(), slice_(waited_for()), claim(), using("web", "c")) as world:
        assert world.place("web") == ""
        allocation = stored(world)["status"]["allocation"]
        assert allocation["devices"]["results"][0]["bindingConditions"] == ["Ready"]
        assert allocation["allocationTimestamp"]
        await world.put(told(world, "Ready"))
        assert world.place("web") == "n1"


async def test_a_device_that_fails_is_let_go() -> None:
    """A failure condition undoes the allocation, and the pod is placed anew: here on another node's device."""
    async with scheduling(node("n1"), class_(), slice_(waited_for()), claim(), using("web", "c")) as world:
        await world.put(slice_({"name": "g1"}, node_name="n2"), node("n2"))
        await world.put({**slice_(), "spec": {**slice_()["spec"], "devices": []}})
        await world.put(told(world, "Failed"))
        await world.clock.advance(20)
        assert world.place("web") == "n2"
        assert results(stored(world)) == ["g1"]
        assert "devices" not in stored(world)["status"]


async def test_nobody_makes_the_device_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """After some time the claim is let go again, and the pod is placed anew."""
    monkeypatch.setattr(claims, "BIND_TIMEOUT", 0.0)
    async with scheduling(node("n1"), class_(), slice_(waited_for()), claim(), using("web", "c")) as world:
        assert world.place("web") == ""
        assert results(stored(world)) == []
        assert stored(world)["status"]["reservedFor"] == []


async def test_extended_resources_are_claimed() -> None:
    """A pod that asks for a class's extended resource gets a claim of its own, and is told which request is whose."""
    devices = slice_({"name": "g0"}, {"name": "g1"})
    named = class_(extendedResourceName="example.com/gpu")
    async with scheduling(node("n1"), named, devices, asking("a", "2"), asking("b")) as world:
        assert world.place("a") == "n1"
        status = world.get("a")["status"]["extendedResourceClaimStatus"]
        (mapping,) = status["requestMappings"]
        assert (mapping["containerName"], mapping["resourceName"]) == ("c", "example.com/gpu")
        made = stored(world, status["resourceClaimName"])
        assert results(made) == ["g0", "g1"]
        assert {one["request"] for one in made["status"]["allocation"]["devices"]["results"]} == {
            mapping["requestName"]
        }
        assert made["metadata"]["annotations"]["resource.kubernetes.io/extended-resource-claim"] == "true"
        assert [one["name"] for one in made["status"]["reservedFor"]] == ["a"]
        assert world.place("b") == ""
        await world.put(slice_({"name": "g0"}, {"name": "g1"}, {"name": "g2"}))
        assert world.place("b") == "n1"


async def test_a_node_with_a_device_plugin_needs_no_claim() -> None:
    """A node whose kubelet tells the resource serves it by itself; and each class has a resource of its own name."""
    plain = node("n1", allocatable={"example.com/gpu": "1"})
    named = class_(extendedResourceName="example.com/gpu")
    async with scheduling(plain, named, asking("a"), asking("b")) as world:
        assert [world.place("a"), world.place("b")] == ["n1", ""]
        assert "extendedResourceClaimStatus" not in (world.get("a").get("status") or {})
        await world.put(slice_({"name": "g0"}), asking("own", resource="deviceclass.resource.kubernetes.io/gpu"))
        assert world.place("own") == "n1"
        assert world.place("b") == ""


async def test_a_class_that_comes_later_wakes_the_pod() -> None:
    """Until a class stands for it, the resource is simply not there."""
    async with scheduling(node("n1"), slice_({"name": "g0"}), asking("web")) as world:
        assert "Insufficient example.com/gpu" in world.message("web")
        await world.put(class_(extendedResourceName="example.com/gpu"))
        await world.clock.advance(20)
        assert world.place("web") == "n1"
