"""The cloud controllers over a cloud in memory: nodes, Services and routes, and a cloud that errs."""

import asyncio

import pytest

from pynetes.apis.core import nodes, services
from pynetes.cloud import names
from pynetes.cloud.controllers import _balancing, route
from pynetes.cloud.controllers import node as node_controller
from pynetes.cloud.provider import STOPPED, Absent, Address, CloudError, Denied, Refused, Route, Throttled, Unfinished
from pynetes.machinery.meta import Object
from tests.cloud.paper import Cloud, instance, node, running, service
from tests.controllers.harness import World


def taints(world: World, name: str) -> list[str]:
    return [taint["key"] for taint in world.get(nodes.RESOURCE, name)["spec"].get("taints") or ()]


def ingress(world: World, name: str = "web") -> list[Object]:
    return _balancing.ingress_of(world.get(services.RESOURCE, name))


async def test_a_new_node_gets_what_its_cloud_knows() -> None:
    """Provider ID, labels and addresses; then the taint goes, and with one call to the cloud for all nodes."""
    cloud = Cloud()
    for number in range(20):
        cloud.add(f"n{number}")
    async with running(cloud, before=[node(f"n{number}", new=True) for number in range(20)]) as world:
        made = world.get(nodes.RESOURCE, "n7")
        assert taints(world, "n7") == []
        assert made["spec"]["providerID"] == "paper:///z1/i-n7"
        labels = made["metadata"]["labels"]
        assert labels[names.INSTANCE_TYPE] == "p1" and labels[names.ZONE] == "z1" and labels[names.REGION] == "z"
        assert labels["failure-domain.beta.kubernetes.io/zone"] == "z1"
        assert [each["type"] for each in made["status"]["addresses"]] == ["InternalIP", "ExternalIP", "Hostname"]
        assert cloud.count("instances") == 1
        assert "Synced Node synced successfully" in await world.events(made)


async def test_a_node_without_instance_keeps_its_taint_until_the_cloud_has_it() -> None:
    """The cloud may be behind the kubelet: tried again with back-off."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1", new=True)]) as world:
        assert taints(world, "n1") == [names.UNINITIALIZED]
        cloud.add("n1")
        for _ in range(8):
            await world.advance(5)
        assert taints(world, "n1") == []


async def test_at_rest_the_cloud_is_asked_once_a_minute_at_most() -> None:
    """A thousand nodes, half an hour: the inventory is shared by all of them and all controllers."""
    cloud = Cloud()
    listed = []
    for number in range(1000):
        cloud.add(f"n{number}")
        listed.append(node(f"n{number}"))
    async with running(cloud, before=listed) as world:
        before = {call: cloud.count(call) for call in ("instances", "routes", "names")}
        for _ in range(30):
            await world.advance(60)
        for call, count in before.items():
            assert cloud.count(call) - count <= 30, call
        assert not [call for call in cloud.calls if call.partition(" ")[0] in ("ensure", "delete")]


def test_the_address_that_the_kubelet_was_told_comes_first() -> None:
    """Of its type it is the only one; one that the cloud does not know is an error."""
    told = node("n1")
    told["metadata"]["annotations"] = {names.PROVIDED_NODE_IP: "10.0.0.2"}
    addresses = (
        Address("InternalIP", "10.0.0.1"),
        Address("InternalIP", "10.0.0.2"),
        Address("ExternalIP", "192.0.2.1"),
    )
    found = node_controller.addresses_of(told, instance("n1", addresses=addresses))
    assert [each["address"] for each in found] == ["10.0.0.2", "192.0.2.1", "n1"]
    with pytest.raises(Absent):
        node_controller.addresses_of(told, instance("n1"))


async def test_a_node_goes_when_its_instance_is_gone_and_it_is_not_ready() -> None:
    """A node that is Ready stays, whatever the cloud says; one that is not goes after two answers."""
    cloud = Cloud()
    cloud.add("n3")
    async with running(cloud, before=[node("n1", ready=False), node("n2"), node("n3", ready=False)]) as world:
        gone = world.get(nodes.RESOURCE, "n1")
        await world.advance(5)
        await world.advance(5)
        assert {each["metadata"]["name"] for each in world.api.listed(nodes.RESOURCE)} == {"n2", "n3"}
        found = await world.events(gone)
        assert "DeletingNode Deleting node n1 because it does not exist in the cloud provider" in found


async def test_a_cloud_that_knows_nothing_at_all_deletes_nothing() -> None:
    """An empty answer is taken for a lie."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1", ready=False), node("n2", ready=False)]) as world:
        for _ in range(10):
            await world.advance(10)
        assert len(world.api.listed(nodes.RESOURCE)) == 2


async def test_a_node_of_another_cloud_is_left_alone() -> None:
    """Its provider ID says whose it is."""
    other = node("n1", ready=False)
    other["spec"]["providerID"] = "aws:///eu-1a/i-1"
    cloud = Cloud()
    cloud.add("n2")
    async with running(cloud, before=[other, node("n2")]) as world:
        for _ in range(5):
            await world.advance(10)
        assert len(world.api.listed(nodes.RESOURCE)) == 2


async def test_a_shut_down_instance_is_a_taint_and_no_more() -> None:
    """NoSchedule while it is stopped; gone once the node is Ready."""
    cloud = Cloud()
    cloud.add("n1", state=STOPPED)
    async with running(cloud, before=[node("n1", ready=False)]) as world:
        assert taints(world, "n1") == [names.SHUTDOWN]
        cloud.add("n1")

        def well(obj: Object) -> None:
            obj["status"]["conditions"] = [{"type": "Ready", "status": "True"}]

        world.edit(nodes.RESOURCE, "n1", well)
        await world.settle()
        assert taints(world, "n1") == []


async def test_a_service_gets_its_balancer_and_loses_it() -> None:
    """Finalizer first, status, events; on deletion the balancer goes before the Service."""
    cloud = Cloud()
    cloud.add("n1")
    ranges = ["10.1.0.0/16", "192.0.2.0/24"]
    async with running(cloud, before=[node("n1"), service(loadBalancerSourceRanges=ranges)]) as world:
        made = world.get(services.RESOURCE, "web")
        assert made["metadata"]["finalizers"] == [names.CLEANUP]
        assert ingress(world) == [{"ip": "198.51.100.7", "ipMode": "VIP"}]
        (balancer,) = cloud.balancers.values()
        assert balancer.source_ranges == tuple(ranges) and balancer.health == _balancing.PROXY_HEALTH
        assert [target.instance for target in balancer.targets] == ["i-n1"]
        found = await world.events(made)
        assert found == ["EnsuringLoadBalancer Ensuring load balancer", "EnsuredLoadBalancer Ensured load balancer"]
        await world.manager.context("service-lb-controller").delete(services.RESOURCE, made)
        await world.settle()
        assert world.api.listed(services.RESOURCE) == [] and cloud.balancers == {}
        assert "DeletedLoadBalancer Deleted load balancer" in await world.events(made)


async def test_a_service_that_changes_its_type_gives_the_balancer_back() -> None:
    """No finalizer and no address stay behind."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1"), service()]) as world:
        world.edit(services.RESOURCE, "web", lambda obj: obj["spec"].update(type="ClusterIP"))
        await world.settle()
        made = world.get(services.RESOURCE, "web")
        assert not made["metadata"].get("finalizers") and ingress(world) == [] and cloud.balancers == {}


async def test_a_service_with_a_class_is_somebody_elses() -> None:
    """Nothing is done to it."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1"), service(loadBalancerClass="example.com/other")]) as world:
        assert cloud.balancers == {} and not world.get(services.RESOURCE, "web")["metadata"].get("finalizers")


async def test_local_traffic_is_checked_where_kube_proxy_answers_for_the_service() -> None:
    """externalTrafficPolicy Local: healthCheckNodePort decides where the balancer sends."""
    cloud = Cloud()
    wanted = service(externalTrafficPolicy="Local", healthCheckNodePort=32000)
    async with running(cloud, before=[node("n1"), wanted]):
        (balancer,) = cloud.balancers.values()
        assert (balancer.health.port, balancer.health.path, balancer.local) == (32000, "/healthz", True)


async def test_balancers_follow_nodes() -> None:
    """Nodes come, are taken out by label, and go; readiness does not count."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1"), service()]) as world:
        world.api.put(node("n2", ready=False))
        await world.settle()
        (balancer,) = cloud.balancers.values()
        assert [target.node for target in balancer.targets] == ["n1", "n2"]
        world.edit(
            nodes.RESOURCE, "n1", lambda obj: obj["metadata"]["labels"].update({names.EXCLUDE_FROM_BALANCERS: ""})
        )
        await world.settle()
        (balancer,) = cloud.balancers.values()
        assert [target.node for target in balancer.targets] == ["n2"]
        found = await world.events(world.get(services.RESOURCE, "web"))
        assert "UpdatedLoadBalancer Updated load balancer with new hosts" in found


async def test_after_a_restart_200_services_change_nothing() -> None:
    """The balancers are compared, none is written; nothing is written to the API either."""
    cloud = Cloud()
    listed = [node("n1"), *(service(f"s{number}") for number in range(200))]
    async with running(cloud, before=listed) as world:
        assert len(cloud.balancers) == 200
        kept = [world.get(services.RESOURCE, f"s{number}") for number in range(200)]
    made = dict(cloud.balancers)
    async with running(cloud, before=[node("n1"), *kept]) as world:
        again = {each["metadata"]["uid"] for each in world.api.listed(services.RESOURCE)}
        assert again == {each["metadata"]["uid"] for each in kept}
        assert cloud.balancers == made
        assert [write for write in world.writes() if "services" in write] == []


@pytest.mark.parametrize(
    "error", [Denied("no right to"), Throttled("slow down"), CloudError("half of it was made"), Absent("n1 vanished")]
)
async def test_a_failure_is_told_and_tried_again(error: CloudError) -> None:
    """An event with the cloud's own words; the finalizer is there already, so nothing is orphaned."""
    cloud = Cloud()
    cloud.failing["ensure"] = [error, error]
    async with running(cloud, before=[node("n1"), service()]) as world:
        assert world.get(services.RESOURCE, "web")["metadata"]["finalizers"] == [names.CLEANUP]
        for _ in range(5):
            await world.advance(10)
        assert ingress(world)
        found = await world.events(world.get(services.RESOURCE, "web"))
        text = f"SyncLoadBalancerFailed Error syncing load balancer: failed to ensure load balancer: {error}"
        assert text in found


async def test_what_can_never_work_is_told_once() -> None:
    """No hammering on a Service that must change first; when it does, it works."""
    cloud = Cloud()
    wanted = service(loadBalancerSourceRanges=["10.1.0.0/99"])
    async with running(cloud, before=[node("n1"), wanted]) as world:
        for _ in range(5):
            await world.advance(60)
        assert cloud.balancers == {} and cloud.count("ensure") == 0
        found = await world.events(world.get(services.RESOURCE, "web"))
        assert len(found) == 1 and "loadBalancerSourceRanges" in found[0]
        world.edit(services.RESOURCE, "web", lambda obj: obj["spec"].update(loadBalancerSourceRanges=["10.1.0.0/16"]))
        await world.settle()
        assert ingress(world)


async def test_a_balancer_that_takes_its_time_is_waited_for() -> None:
    """Unfinished is no failure: no event says so."""
    cloud = Cloud()
    cloud.failing["ensure"] = [Unfinished("provisioning", 3.0)] * 2
    async with running(cloud, before=[node("n1"), service()]) as world:
        assert ingress(world) == []
        await world.advance(3)
        assert ingress(world)
        found = await world.events(world.get(services.RESOURCE, "web"))
        assert not any("Failed" in each for each in found)


async def test_a_service_edited_while_its_balancer_is_made_ends_as_edited() -> None:
    """The second state is applied after the first."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1")]) as world:
        cloud.gate = asyncio.Event()
        world.api.put(service())
        for _ in range(100):
            await asyncio.sleep(0)
        assert cloud.count("ensure") == 1
        world.edit(services.RESOURCE, "web", lambda obj: obj["spec"]["ports"][0].update(port=8080))
        cloud.gate.set()
        await world.settle()
        (balancer,) = cloud.balancers.values()
        assert [each.port for each in balancer.listeners] == [8080]


async def test_a_balancer_that_nobody_wants_is_removed() -> None:
    """Somebody took the finalizer off: found when all are compared, at the start and now and then."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1"), service()]) as world:
        left = dict(cloud.balancers)
        assert len(left) == 1
    async with running(cloud, before=[node("n1")]) as world:
        assert cloud.balancers == {}
        cloud.balancers = left
        await world.advance(600)
        assert cloud.balancers == {}


async def test_a_deletion_that_fails_keeps_the_service() -> None:
    """Until the cloud has removed the balancer, the finalizer stays."""
    cloud = Cloud()
    async with running(cloud, before=[node("n1"), service()]) as world:
        cloud.failing["delete"] = [CloudError("not now")]
        made = world.get(services.RESOURCE, "web")
        await world.manager.context("service-lb-controller").delete(services.RESOURCE, made)
        await world.settle()
        assert len(world.api.listed(services.RESOURCE)) == 1
        assert "DeleteLoadBalancerFailed Error deleting load balancer: not now" in await world.events(made)
        for _ in range(3):
            await world.advance(10)
        assert world.api.listed(services.RESOURCE) == []


async def test_the_route_table_follows_the_nodes() -> None:
    """Made for new nodes, removed with them; others' routes stay; nodes are told."""
    cloud = Cloud()
    cloud.routes = {
        "10.244.9.0/24": Route("10.244.9.0/24", "gone"),
        "192.168.0.0/24": Route("192.168.0.0/24", "vpn"),
    }
    async with running(cloud, before=[node("n1", cidr="10.244.1.0/24")]) as world:
        assert set(cloud.routes) == {"10.244.1.0/24", "192.168.0.0/24"}
        conditions = {each["type"]: each for each in world.get(nodes.RESOURCE, "n1")["status"]["conditions"]}
        assert (conditions["NetworkUnavailable"]["status"], conditions["Ready"]["status"]) == ("False", "True")
        cloud.failing["create-route"] = [CloudError("the table is full")]
        world.api.put(node("n2", cidr="10.244.2.0/24"))
        await world.settle()
        conditions = {each["type"]: each for each in world.get(nodes.RESOURCE, "n2")["status"]["conditions"]}
        assert conditions["NetworkUnavailable"]["reason"] == "NoRouteCreated"
        for _ in range(3):
            await world.advance(60)
        conditions = {each["type"]: each for each in world.get(nodes.RESOURCE, "n2")["status"]["conditions"]}
        assert conditions["NetworkUnavailable"]["reason"] == "RouteCreated"


def test_a_dead_route_is_made_anew() -> None:
    """Its target is gone; the node has come back with another instance."""
    dead = Route("10.244.1.0/24", "n1", "r1", dead=True)
    change = route.difference([Route("10.244.1.0/24", "n1")], [dead], ["10.244.0.0/16"])
    assert change.remove == (dead,) and change.create == (Route("10.244.1.0/24", "n1"),)


def test_a_port_without_node_port_cannot_be_balanced() -> None:
    """allocateLoadBalancerNodePorts false: the message names the remedy."""
    wanted = service(ports=[{"port": 80}])
    wanted["metadata"]["uid"] = "u"
    with pytest.raises(Refused, match="allocateLoadBalancerNodePorts"):
        _balancing.balancer(wanted, ())
