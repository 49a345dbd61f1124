"""EndpointSlices and Endpoints of a Service, over the fake API."""

from typing import Any

from pynetes.apis.core import endpoints, services
from pynetes.apis.discovery import endpointslices
from pynetes.controllers import _slices as slices
from pynetes.controllers._endpoints import Port
from pynetes.machinery.meta import Key, Object
from tests.controllers.harness import World, running

NAMES = ("endpointslice", "endpoints", "garbage-collector")


def pod(name: str, ip: str = "10.0.0.1", *, ready: bool = True, **metadata: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}} | metadata,
        "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}], "nodeName": "n1"},
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        },
    }


def service(**spec: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "labels": {"team": "a"}},
        "spec": {
            "clusterIP": "10.96.0.5",
            "ipFamilies": ["IPv4"],
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        }
        | spec,
    }


def only_slice(world: World) -> Object:
    (found,) = world.api.listed(endpointslices.RESOURCE)
    return found


async def test_ready_serving_and_terminating() -> None:
    """A ready pod takes traffic; a terminating one serves without being ready; both are in one slice."""
    async with running(*NAMES) as world:
        world.api.put(
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}},
                "spec": {},
            }
        )
        world.api.put(service())
        world.api.put(pod("a", "10.0.0.1"))
        world.api.put(pod("b", "10.0.0.2", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["x/y"]))
        world.api.put(pod("c", "10.0.0.3", ready=False))
        await world.settle()
        made = only_slice(world)
        assert made["metadata"]["labels"] == {
            "team": "a",
            "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }
        assert made["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
        shown = {e["targetRef"]["name"]: tuple(e["conditions"].values()) for e in made["endpoints"]}
        assert shown == {"a": (True, True, False), "b": (False, True, True), "c": (False, False, False)}
        assert {e["zone"] for e in made["endpoints"]} == {"z1"}
        (subset,) = world.get(endpoints.RESOURCE, "web")["subsets"]
        assert [a["ip"] for a in subset["addresses"]] == ["10.0.0.1"]
        assert [a["ip"] for a in subset["notReadyAddresses"]] == ["10.0.0.3"]


async def test_changes_that_do_not_show_write_nothing() -> None:
    """A pod's other changes cause no write, nor does time."""
    async with running(*NAMES) as world:
        world.api.put(service())
        world.api.put(pod("a"))
        await world.settle()
        world.writes()
        world.api.put(pod("a", annotations={"some": "thing"}))
        await world.advance(60)
        assert world.writes() == []


async def test_headless_hostnames_and_deletion() -> None:
    """A headless Service shows hostnames; without pods a placeholder stays; gone, it leaves nothing."""
    async with running(*NAMES) as world:
        world.api.put(service(clusterIP="None"))
        named = pod("a")
        named["spec"] |= {"hostname": "a", "subdomain": "web"}
        world.api.put(named)
        await world.settle()
        made = only_slice(world)
        assert made["endpoints"][0]["hostname"] == "a"
        assert made["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
        world.api.remove(world.pods()[0])
        await world.settle()
        assert only_slice(world)["endpoints"] == []
        await world.api.client().delete(services.RESOURCE, Key("default", "web"))
        await world.settle()
        assert world.api.listed(endpointslices.RESOURCE) == [] == world.api.listed(endpoints.RESOURCE)


def _endpoints(start: int, count: int) -> list[Object]:
    return [{"addresses": [f"10.0.{n // 256}.{n % 256}"], "conditions": {}} for n in range(start, start + count)]


def test_slices_hold_a_hundred_and_only_differences_are_written() -> None:
    """250 endpoints make three slices; one more changes one slice; one less, too."""
    group = slices.Group("IPv4", (Port("http", "TCP", 80),))
    metadata: Object = {"labels": {}}
    first = slices.plan([], {group: _endpoints(0, 250)}, metadata)
    assert [len(each["endpoints"]) for each in first.create] == [100, 100, 50]
    again = slices.plan(first.create, {group: _endpoints(0, 250)}, metadata)
    assert again == slices.Plan([], [], [])
    more = slices.plan(first.create, {group: _endpoints(0, 251)}, metadata)
    assert (len(more.create), [len(each["endpoints"]) for each in more.update]) == (0, [51])
    less = slices.plan(first.create, {group: _endpoints(1, 249)}, metadata)
    assert [len(each["endpoints"]) for each in less.update] == [99]
    none = slices.plan(first.create, {group: []}, metadata)
    assert (len(none.delete), [each["endpoints"] for each in none.update]) == (2, [[]])
