"""A Service of type LoadBalancer in a cluster without a cloud."""

from pynetes.apis.core import services
from pynetes.controllers import Config
from pynetes.machinery.meta import Object
from tests.controllers.harness import running


def service(**spec: object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
    }


async def test_without_a_cloud_it_says_why_it_stays_pending() -> None:
    """After a while that others may use: one event with the remedy, no finalizer, no status."""
    async with running("service-lb") as world:
        world.api.put(service())
        await world.settle()
        made = world.get(services.RESOURCE, "web")
        assert await world.events(made) == []
        await world.advance(6)
        (told,) = await world.events(made)
        assert told.startswith("NoLoadBalancer") and "pynetes up --cloud local" in told
        await world.advance(600)
        assert len(await world.events(made)) == 1
        assert "finalizers" not in made["metadata"] and world.get(services.RESOURCE, "web").get("status") in (None, {})


async def test_what_somebody_serves_is_not_commented() -> None:
    """An address, or a class that names an implementation."""
    async with running("service-lb") as world:
        served = service() | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}}
        world.api.put(served)
        other = service(loadBalancerClass="example.com/lb")
        other["metadata"]["name"] = "other"
        world.api.put(other)
        await world.advance(10)
        for name in ("web", "other"):
            assert await world.events(world.get(services.RESOURCE, name)) == []


async def test_with_a_cloud_it_is_not_there() -> None:
    """The cloud controller manager has the controller of this name."""
    async with running("service-lb", config=Config(cloud_provider="external")) as world:
        world.api.put(service())
        await world.advance(10)
        assert await world.events(world.get(services.RESOURCE, "web")) == []
