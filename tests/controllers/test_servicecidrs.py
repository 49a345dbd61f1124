"""Ranges of cluster IPs: ready once they are there, and not gone while they are needed."""

from typing import Any

from pynetes.apis.networking import ipaddresses, servicecidrs
from pynetes.controllers.servicecidrs import ALLOCATOR, FINALIZER, IN_USE, MANAGED_BY
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import World, running


def cidr(name: str, *ranges: str) -> Object:
    metadata = {"name": name}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": metadata,
        "spec": {"cidrs": ranges},
    }


def address(text: str, manager: str = ALLOCATOR) -> Object:
    metadata = {"name": text, "labels": {MANAGED_BY: manager}}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "IPAddress", "metadata": metadata, "spec": {}}


def ready(world: World, name: str) -> Any:
    (condition,) = world.get(servicecidrs.RESOURCE, name, "")["status"]["conditions"]
    return condition["type"], condition["status"], condition["reason"], condition["message"]


def names(world: World) -> list[str]:
    return [each["metadata"]["name"] for each in world.api.listed(servicecidrs.RESOURCE)]


async def delete(world: World, name: str) -> None:
    await world.api.client().delete(servicecidrs.RESOURCE, Key("", name))
    await world.settle()


async def test_a_new_range_is_ready_and_protected() -> None:
    """The condition, and the finalizer that keeps it."""
    async with running("service-cidr") as world:
        world.api.put(cidr("more", "10.8.0.0/24"))
        await world.settle()
        assert world.get(servicecidrs.RESOURCE, "more", "")["metadata"]["finalizers"] == [FINALIZER]
        assert ready(world, "more") == ("Ready", "True", "", "Kubernetes Service CIDR is ready")


async def test_it_stays_while_it_is_needed() -> None:
    """Until the last of its addresses goes, and ten seconds more; addresses of other managers do not count."""
    async with running("service-cidr") as world:
        for each in (cidr("more", "10.8.0.0/24"), address("10.8.0.7"), address("10.8.0.8", "somebody")):
            world.api.put(each)
        await world.settle()
        await delete(world, "more")
        assert ready(world, "more") == ("Ready", "False", "Terminating", IN_USE)
        await world.api.client().delete(ipaddresses.RESOURCE, Key("", "10.8.0.7"))
        await world.settle()
        assert names(world) == ["more"]
        world.clock.advance(11)
        await world.settle()
        assert names(world) == []


async def test_another_range_may_take_its_addresses_over() -> None:
    """What another one contains does not hold it up."""
    async with running("service-cidr") as world:
        for each in (cidr("more", "10.8.0.0/24"), address("10.8.0.7")):
            world.api.put(each)
        await world.settle()
        await delete(world, "more")
        assert ready(world, "more")[1] == "False"
        world.api.put(cidr("wide", "10.8.0.0/16"))
        await world.settle()
        world.clock.advance(11)
        await world.settle()
        assert names(world) == ["wide"]
