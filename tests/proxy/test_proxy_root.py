"""Real packets through real rules, in both modes: each test feeds Services and watches who answers whom."""

import shutil
from collections.abc import Iterator, Sequence

import pytest

from pynetes.component.clock import SystemClock
from pynetes.component.tracing import RECORDER
from pynetes.machinery.meta import Key, Object
from pynetes.proxy import backend, kernel
from pynetes.proxy.nftables import Settings
from pynetes.proxy.sync import Proxier
from pynetes.proxy.tracker import Tracker
from tests.proxy import topology
from tests.proxy.objects import endpoint, endpoint_slice, service
from tests.proxy.topology import NODE_ADDRESS, OUTSIDE, Client, ask

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not (shutil.which("nft") and shutil.which("iptables")), reason="needs nft and iptables"),
]
VIP = "10.252.0.10"
WEB: Sequence[Object] = ({"name": "http", "port": 80, "nodePort": 30080},)
DNS: Sequence[Object] = ({"name": "dns", "port": 53, "protocol": "UDP"},)
DNS_TARGET: Sequence[Object] = ({"name": "dns", "port": 5353, "protocol": "UDP"},)


class Node:
    """The proxy of the node under test; `put` is what an informer would have said."""

    def __init__(self, mode: str) -> None:
        settings = Settings(cluster_cidrs=(topology.PODS,))
        self.tracker = Tracker("here")
        self.proxier = Proxier(self.tracker, lambda family: backend.MODES[mode](family, settings), clock=SystemClock())

    async def put(self, *objects: Object) -> None:
        for each in objects:
            if "endpoints" in each:
                self.tracker.set_slice(each)
            else:
                self.tracker.set_service(each)
        await self.proxier.sync()
        assert not self.proxier._broken


@pytest.fixture(params=["nftables", "iptables"])
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    with (
        topology.node("pod1", "pod2", "pod3"),
        topology.tcp_server("pod1"),
        topology.tcp_server("pod2"),
        topology.udp_server("pod1"),
        topology.udp_server("pod2"),
    ):
        yield Node(request.param)


def web(**spec: object) -> Object:
    return service(cluster_ip=VIP, ports=WEB, **spec)


def ends(*pods: str, **conditions: bool) -> Object:
    return endpoint_slice(*(endpoint(topology.address_of(pod), **conditions) for pod in pods))


async def test_a_cluster_ip_reaches_every_endpoint_from_pods_and_from_the_node(node: Node) -> None:
    """Both endpoints get their share; a pod is seen under its own address, the node is masqueraded."""
    await node.put(web(), ends("pod1", "pod2"))
    seen = [ask("pod3", VIP, 80) for _ in range(30)]
    assert {pod for pod, _ in seen} == {"pod1", "pod2"}
    assert {peer for _, peer in seen} == {"10.251.0.3"}
    assert ask("node", VIP, 80)[0] in ("pod1", "pod2")


async def test_a_pod_reaches_itself_through_its_service(node: Node) -> None:
    """The hairpin is masqueraded, or the answer would never leave the pod."""
    await node.put(web(), ends("pod1"))
    pod, peer = ask("pod1", VIP, 80)
    assert pod == "pod1" and peer != "10.251.0.1"


async def test_a_node_port_answers_outside_and_on_the_node(node: Node) -> None:
    """The client's address is hidden under policy Cluster and kept under Local."""
    await node.put(web(type="NodePort"), ends("pod1"))
    assert ask("outside", NODE_ADDRESS, 30080)[1] != OUTSIDE
    assert ask("node", NODE_ADDRESS, 30080)[0] == "pod1"
    await node.put(web(type="NodePort", externalTrafficPolicy="Local"))
    assert ask("outside", NODE_ADDRESS, 30080) == ["pod1", OUTSIDE]
    assert ask("pod3", NODE_ADDRESS, 30080)[0] == "pod1"


async def test_policy_local_drops_what_has_no_endpoint_here(node: Node) -> None:
    """From outside there is silence, so that a balancer looks elsewhere; pods still reach the others."""
    elsewhere = endpoint_slice(endpoint("10.251.0.1", node="there"))
    await node.put(web(type="NodePort", externalTrafficPolicy="Local"), elsewhere)
    with pytest.raises(TimeoutError):
        ask("outside", NODE_ADDRESS, 30080, timeout=0.5)
    assert ask("pod3", NODE_ADDRESS, 30080)[0] == "pod1"
    await node.put(web(type="NodePort", internalTrafficPolicy="Local"))
    with pytest.raises(TimeoutError):
        ask("pod3", VIP, 80, timeout=0.5)
    assert ask("outside", NODE_ADDRESS, 30080)[0] == "pod1"


async def test_without_endpoints_connections_are_refused(node: Node) -> None:
    """At once, from pods, the node and outside; and again once the last endpoint has gone."""
    await node.put(web(type="NodePort"), ends("pod1"))
    await node.put(endpoint_slice())
    for space, address, port in (("pod3", VIP, 80), ("node", VIP, 80), ("outside", NODE_ADDRESS, 30080)):
        with pytest.raises(ConnectionRefusedError):
            ask(space, address, port)
    await node.put(ends("pod2"))
    assert ask("pod3", VIP, 80)[0] == "pod2"


async def test_affinity_keeps_a_client_with_its_endpoint(node: Node) -> None:
    """Another client may land elsewhere; a gone endpoint is replaced."""
    await node.put(web(sessionAffinity="ClientIP"), ends("pod1", "pod2"))
    first = ask("pod3", VIP, 80)[0]
    assert {ask("pod3", VIP, 80)[0] for _ in range(15)} == {first}
    other = "pod2" if first == "pod1" else "pod1"
    await node.put(ends(other))
    assert ask("pod3", VIP, 80)[0] == other


async def test_external_and_balancer_addresses(node: Node) -> None:
    """Both forward; source ranges keep out who is not named in them."""
    given = web(type="LoadBalancer", externalIPs=["203.0.113.5"], loadBalancerSourceRanges=["10.251.0.3/32"])
    given["status"] = {"loadBalancer": {"ingress": [{"ip": "203.0.113.6"}]}}
    await node.put(given, ends("pod1"))
    assert ask("outside", "203.0.113.5", 80)[0] == "pod1"
    assert ask("pod3", "203.0.113.6", 80)[0] == "pod1"
    with pytest.raises(TimeoutError):
        ask("outside", "203.0.113.6", 80, timeout=0.5)


async def test_a_live_connection_outlives_updates_and_a_restart(node: Node) -> None:
    """Other endpoints come and go, a new proxy takes over the tables: the connection never notices."""
    await node.put(web(), ends("pod1"))
    with Client("pod3", VIP, 80) as client:
        assert client.ask()[0] == "pod1"
        await node.put(ends("pod1", "pod2"))
        assert client.ask()[0] == "pod1"
        await node.put(ends("pod2"))
        assert client.ask()[0] == "pod1"
        again = Proxier(node.tracker, node.proxier._make, clock=SystemClock())
        await again.sync()
        assert client.ask()[0] == "pod1"
    assert ask("pod3", VIP, 80)[0] == "pod2"


async def test_new_connections_never_meet_a_gap(node: Node) -> None:
    """While endpoints are swapped back and forth, every single connection is answered."""
    await node.put(web(), ends("pod1"))
    for step in range(12):
        await node.put(ends(*(("pod1",), ("pod1", "pod2"), ("pod2",))[step % 3]))
        assert len({ask("pod3", VIP, 80)[0] for _ in range(5)}) >= 1


async def test_a_udp_flow_moves_on_when_its_endpoint_goes(node: Node) -> None:
    """The same socket, which never stops sending, is answered by the endpoint that is left."""
    slices = endpoint_slice(endpoint("10.251.0.1"), service="dns", ports=DNS_TARGET)
    await node.put(service("dns", cluster_ip=VIP, ports=DNS), slices)
    with Client("pod3", VIP, 53, udp=True) as client:
        assert client.ask() == ["pod1", "10.251.0.3"]
        await node.put(endpoint_slice(endpoint("10.251.0.2"), service="dns", ports=DNS_TARGET))
        assert client.ask() == ["pod2", "10.251.0.3"]


async def test_a_deleted_service_and_cleanup_leave_nothing(node: Node) -> None:
    """The rules of a deleted Service go; after cleanup the packet filter does not know us any more."""
    await node.put(web(type="NodePort"), ends("pod1"))
    node.tracker.delete_service(Key("default", "web"))
    await node.put()
    with pytest.raises(OSError):
        ask("outside", NODE_ADDRESS, 30080, timeout=0.5)
    for one in node.proxier._backends.values():
        assert await one.present()
        await one.cleanup()
        assert not await one.present()
    listed = await kernel.run(["nft", "list", "ruleset"])
    assert "KUBE-" not in listed and "kube-proxy" not in listed


async def test_rules_that_somebody_flushed_are_made_again(node: Node) -> None:
    """Either when looked after, or when the next difference is refused."""
    await node.put(web(), ends("pod1"))
    await kernel.run(["nft", "flush", "ruleset"])
    await node.proxier._verify()
    assert ask("pod3", VIP, 80)[0] == "pod1"
    await kernel.run(["nft", "flush", "ruleset"])
    await node.put(ends("pod2"))
    assert ask("pod3", VIP, 80)[0] == "pod2"


async def test_a_transaction_is_recorded_with_its_service_and_cause(node: Node) -> None:
    """One interaction, so that what an EndpointSlice's write set in motion can be told."""
    await node.put(web())
    ends_of_web = ends("pod1")
    ends_of_web["metadata"]["resourceVersion"] = "42"
    await node.put(ends_of_web)
    last = RECORDER.ring[-1]
    assert (last.path, last.object, last.cause, last.error) == (17, "services default/web", 42, "")


async def test_two_services_on_one_external_address(node: Node) -> None:
    """The first by name has it, and when it goes the other one takes over; nothing else breaks."""
    other = service("zeta", cluster_ip="10.252.0.11", ports=WEB, externalIPs=["203.0.113.5"])
    await node.put(other, endpoint_slice(endpoint("10.251.0.2"), service="zeta"))
    await node.put(web(externalIPs=["203.0.113.5"]), ends("pod1"))
    assert ask("outside", "203.0.113.5", 80)[0] == "pod1"
    node.tracker.delete_service(Key("default", "web"))
    await node.put()
    assert ask("outside", "203.0.113.5", 80)[0] == "pod2"
