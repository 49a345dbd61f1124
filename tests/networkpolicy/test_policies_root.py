"""Real packets through real rules: each test puts policies and pods, and sees who reaches whom.

What the documentation of NetworkPolicy says, and the tests that hold it (docs/ingress.md has the same for Ingress):

    two sorts of isolation, both ends must allow       test_both_ends_must_allow, test_isolation_is_by_direction
    policies add up, order does not matter             test_pods_are_chosen_by_their_labels_and_namespaces
    default deny, default allow, of either direction   test_default_policies, test_default_deny_of_ingress_...
    policyTypes when it is left out                    test_policy_types_that_are_left_out
    a pod's own node always reaches it (probes)        test_default_deny_of_ingress_lets_the_node_probe
    nobody keeps a pod from itself (loopback, hairpin) test_a_pod_always_reaches_itself, test_traffic_through_...
    replies are allowed                                test_egress_is_limited_and_answers_pass
    one peer of two selectors, two peers of one each   test_both_selectors_in_one_peer_or_in_two
    namespaces by name (kubernetes.io/metadata.name)   test_pods_are_chosen_by_their_labels_and_namespaces
    several namespaces by matchExpressions             test_namespaces_by_expressions
    ipBlock with except                                test_blocks_with_exceptions
    ports, endPort, names, protocols                   test_ports_ranges_names_and_protocols
    hostNetwork pods are ignored                       test_pods_with_the_nodes_network_are_not_selected
    lifecycle: labels, pods and policies that change   test_labels_that_change_count_at_once, test_a_pod_that_...
    a new pod is isolated before it is started         test_a_pod_is_isolated_before_it_is_known
    an empty peer list, an empty list of rules         test_empty_lists_mean_everything_or_nothing
"""

import ipaddress
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from pynetes.component import command
from pynetes.component.clock import SystemClock
from pynetes.machinery.meta import Key, Object
from pynetes.networkpolicy import nftables
from pynetes.networkpolicy.app import Enforcer
from pynetes.networkpolicy.nftables import Kernel
from pynetes.proxy import backend
from pynetes.proxy.nftables import Settings
from pynetes.proxy.sync import Proxier
from pynetes.proxy.tracker import Tracker
from tests.proxy import topology
from tests.proxy.objects import endpoint, endpoint_slice, service
from tests.proxy.topology import NODE_ADDRESS, OUTSIDE, Client, ask

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nft")]
LABELS: dict[str, dict[str, str]] = {"pod1": {"app": "db"}, "pod2": {"app": "web"}, "pod3": {"app": "batch"}}


class Node:
    """The policies of the node under test, on which all three pods are; pod3 lives in the namespace other."""

    def __init__(self) -> None:
        self.enforcer = Enforcer("here", Kernel(), clock=SystemClock())
        for name in ("default", "other"):
            labels = {"kubernetes.io/metadata.name": name}
            self.enforcer.on_namespace({"metadata": {"name": name, "labels": labels}}, None, False)
        for name in LABELS:
            self.put_pod(name)

    def put_pod(
        self, name: str, *, labels: dict[str, str] | None = None, port: int = 8080, host_network: bool = False,
        phase: str = "Running",
    ) -> None:  # fmt: skip
        container = {"name": "c", "ports": [{"name": "http", "containerPort": port}]}
        namespace = "other" if name == "pod3" else "default"
        pod: Object = {
            "metadata": {"namespace": namespace, "name": name, "labels": LABELS[name] if labels is None else labels},
            "spec": {"nodeName": "here", "containers": [container], "hostNetwork": host_network},
            "status": {"podIPs": [{"ip": topology.address_of(name)}], "phase": phase},
        }
        self.enforcer.on_pod(pod, None, False)

    async def put(self, name: str, selector: dict[str, str], **spec: Any) -> None:
        spec.setdefault("policyTypes", [each.capitalize() for each in ("ingress", "egress") if each in spec])
        spec["podSelector"] = {"matchLabels": selector}
        self.enforcer.on_policy({"metadata": {"namespace": "default", "name": name}, "spec": spec}, None, False)
        assert await self.enforcer.sync()

    async def remove(self, name: str) -> None:
        self.enforcer.on_policy({"metadata": {"namespace": "default", "name": name}}, None, True)
        assert await self.enforcer.sync()


@pytest.fixture
def node() -> Iterator[Node]:
    with (
        topology.node("pod1", "pod2", "pod3"),
        topology.tcp_server("pod1"),
        topology.tcp_server("pod1", 9090),
        topology.tcp_server("pod2"),
        topology.tcp_server("outside"),
        topology.udp_server("pod1"),
    ):
        yield Node()


def reaches(source: str, target: str, port: int = 8080, *, udp: bool = False) -> bool:
    address = OUTSIDE if target == "outside" else topology.address_of(target) if "pod" in target else target
    try:
        return bool(ask(source, address, port, udp=udp, timeout=0.4))
    except TimeoutError:
        return False


async def test_default_deny_of_ingress_lets_the_node_probe(node: Node) -> None:
    """Nobody reaches the pod but its own node, whatever other pods do; without the policy all do again."""
    assert reaches("pod2", "pod1")
    await node.put("deny", {"app": "db"}, ingress=[])
    assert (
        not reaches("pod2", "pod1") and not reaches("outside", "pod1") and not reaches("pod3", "pod1", 5353, udp=True)
    )
    assert reaches("node", "pod1") and reaches("pod1", "pod2") and reaches("pod3", "pod2")
    await node.remove("deny")
    assert reaches("pod2", "pod1")


async def test_pods_are_chosen_by_their_labels_and_namespaces(node: Node) -> None:
    """A pod selector is about the policy's namespace; both selectors in one peer must hold."""
    await node.put("allow", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    assert reaches("pod2", "pod1") and not reaches("pod3", "pod1")
    other = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
    await node.put("allow", {"app": "db"}, ingress=[{"from": [other]}])
    assert reaches("pod3", "pod1") and not reaches("pod2", "pod1")
    both = {**other, "podSelector": {"matchLabels": {"app": "web"}}}
    await node.put("allow", {"app": "db"}, ingress=[{"from": [both]}])
    assert not reaches("pod3", "pod1") and not reaches("pod2", "pod1")
    await node.put("more", {"app": "db"}, ingress=[{"from": [{"podSelector": {}}]}])
    assert reaches("pod2", "pod1"), "policies add up"


async def test_labels_that_change_count_at_once(node: Node) -> None:
    """A pod that loses its label loses its right: an element of a set, no rule."""
    await node.put("allow", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    node.put_pod("pod2", labels={"app": "old"})
    await node.enforcer.sync()
    assert not reaches("pod2", "pod1")
    node.put_pod("pod2")
    await node.enforcer.sync()
    assert reaches("pod2", "pod1")


async def test_ports_ranges_names_and_protocols(node: Node) -> None:
    """Only what is listed; a name is resolved at the pod that is asked."""
    await node.put("ports", {"app": "db"}, ingress=[{"ports": [{"protocol": "TCP", "port": 8080}]}])
    assert reaches("pod2", "pod1") and not reaches("pod2", "pod1", 9090) and not reaches("pod2", "pod1", 5353, udp=True)
    await node.put("ports", {"app": "db"}, ingress=[{"ports": [{"protocol": "TCP", "port": 9000, "endPort": 9100}]}])
    assert not reaches("pod2", "pod1") and reaches("pod2", "pod1", 9090)
    await node.put("ports", {"app": "db"}, ingress=[{"ports": [{"protocol": "UDP"}]}])
    assert not reaches("pod2", "pod1") and reaches("pod2", "pod1", 5353, udp=True)
    await node.put("ports", {"app": "db"}, ingress=[{"ports": [{"protocol": "TCP", "port": "http"}]}])
    assert reaches("pod2", "pod1") and not reaches("pod2", "pod1", 9090)
    node.put_pod("pod1", port=9090)
    await node.enforcer.sync()
    assert not reaches("pod2", "pod1") and reaches("pod2", "pod1", 9090)


async def test_both_ends_must_allow(node: Node) -> None:
    """A connection passes if the sender's egress and the receiver's ingress both do; either alone is not enough."""
    peers = {
        "web": [{"podSelector": {"matchLabels": {"app": "web"}}}],
        "db": [{"podSelector": {"matchLabels": {"app": "db"}}}],
    }
    await node.put("in", {"app": "db"}, ingress=[{"from": peers["web"]}])
    await node.put("out", {"app": "web"}, egress=[])
    assert not reaches("pod2", "pod1"), "the receiver alone allows"
    await node.put("out", {"app": "web"}, egress=[{"to": peers["db"]}])
    assert reaches("pod2", "pod1")
    await node.put("in", {"app": "db"}, ingress=[])
    assert not reaches("pod2", "pod1"), "the sender alone allows"


async def test_isolation_is_by_direction(node: Node) -> None:
    """Isolated for ingress, a pod begins what it likes; isolated for egress, it is reached by whoever likes."""
    await node.put("in", {"app": "db"}, ingress=[])
    assert reaches("pod1", "outside") and reaches("pod1", "pod2")
    await node.remove("in")
    await node.put("out", {"app": "db"}, egress=[])
    assert reaches("pod2", "pod1") and not reaches("pod1", "pod2")


async def test_default_policies(node: Node) -> None:
    """The documentation's examples: deny or allow all ingress, all egress, or both, for a whole namespace."""
    await node.put("default", {}, policyTypes=["Egress"])
    assert not reaches("pod2", "pod1") and not reaches("pod2", "outside") and reaches("pod3", "pod1")
    await node.put("default", {}, policyTypes=["Egress"], egress=[{}])
    assert reaches("pod2", "pod1") and reaches("pod2", "outside")
    await node.put("default", {}, policyTypes=["Ingress"], ingress=[{}])
    await node.put("deny", {}, policyTypes=["Ingress"])
    assert reaches("pod2", "pod1") and reaches("outside", "pod1"), "what one policy allows no other takes away"
    await node.remove("default")
    assert not reaches("pod2", "pod1") and reaches("pod2", "outside")
    await node.put("deny", {}, policyTypes=["Ingress", "Egress"])
    assert not reaches("pod3", "pod1") and not reaches("pod2", "outside")


async def test_policy_types_that_are_left_out(node: Node) -> None:
    """The API server's default: Ingress always, Egress where there are egress rules. Without it the same is meant."""
    await node.put("web", {"app": "web"}, policyTypes=[])
    assert not reaches("pod3", "pod2") and reaches("pod2", "pod1")


async def test_a_pod_always_reaches_itself(node: Node) -> None:
    """By the loopback address and by its own; what does not leave a pod is no policy's."""
    await node.put("deny", {}, policyTypes=["Ingress", "Egress"])
    assert reaches("pod1", "pod1") and not reaches("pod2", "pod1")


async def test_both_selectors_in_one_peer_or_in_two(node: Node) -> None:
    """In one peer both must hold; as two peers either is enough."""
    namespace = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}}
    pod = {"podSelector": {"matchLabels": {"app": "web"}}}
    await node.put("two", {"app": "db"}, ingress=[{"from": [namespace, pod]}])
    assert reaches("pod2", "pod1") and reaches("pod3", "pod1")
    await node.put("two", {"app": "db"}, ingress=[{"from": [{**namespace, **pod}]}])
    assert not reaches("pod2", "pod1") and not reaches("pod3", "pod1")
    await node.put(
        "two", {"app": "db"}, ingress=[{"from": [{**namespace, "podSelector": {"matchLabels": {"app": "batch"}}}]}]
    )
    assert not reaches("pod2", "pod1") and reaches("pod3", "pod1")


async def test_namespaces_by_expressions(node: Node) -> None:
    """Several namespaces in one selector; the empty selector is all of them."""
    both = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["default", "other"]}
    for selector in ({"matchExpressions": [both]}, {}):
        await node.put("allow", {"app": "db"}, ingress=[{"from": [{"namespaceSelector": selector}]}])
        assert reaches("pod2", "pod1") and reaches("pod3", "pod1") and not reaches("outside", "pod1")
    out = {**both, "operator": "NotIn", "values": ["default"]}
    await node.put("allow", {"app": "db"}, ingress=[{"from": [{"namespaceSelector": {"matchExpressions": [out]}}]}])
    assert not reaches("pod2", "pod1") and reaches("pod3", "pod1")


async def test_pods_with_the_nodes_network_are_not_selected(node: Node) -> None:
    """A policy neither isolates them nor names them as peers: their address is the node's."""
    node.put_pod("pod1", host_network=True)
    await node.put("deny", {"app": "db"}, policyTypes=["Ingress"])
    assert reaches("pod2", "pod1")
    node.put_pod("pod1")
    node.put_pod("pod2", host_network=True)
    await node.put("deny", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    assert not reaches("pod2", "pod1")


async def test_a_pod_that_ends_takes_its_rights_along(node: Node) -> None:
    """Its address may be another pod's next; a policy that goes isolates nobody any more."""
    await node.put("allow", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    node.put_pod("pod2", phase="Succeeded")
    await node.enforcer.sync()
    assert not reaches("pod2", "pod1")
    await node.remove("allow")
    assert reaches("pod2", "pod1")


async def test_a_pod_is_isolated_before_it_is_known(node: Node) -> None:
    """What has an address of the node's pods and is no known pod neither sends nor receives, if there is any policy."""
    subnet = ipaddress.ip_network(f"{topology.address_of('pod1')}/28", strict=False)
    node.enforcer.on_node({"spec": {"podCIDRs": [str(subnet)]}}, None, False)
    del node.enforcer.pods[Key("default", "pod2")]
    await node.enforcer.sync()
    assert reaches("pod2", "pod1") and reaches("pod3", "pod2"), "nobody wants anything of policies"
    await node.put("far", {"app": "nobody"}, ingress=[])
    assert not reaches("pod2", "pod1") and not reaches("pod2", "outside") and not reaches("pod3", "pod2")
    assert not reaches("outside", "pod2") and reaches("node", "pod2") and reaches("pod3", "pod1")
    node.put_pod("pod2")
    await node.enforcer.sync()
    assert reaches("pod2", "pod1") and reaches("pod2", "outside") and reaches("pod3", "pod2")
    del node.enforcer.pods[Key("default", "pod2")]
    await node.enforcer.sync()
    assert not reaches("pod2", "pod1")
    await node.remove("far")
    assert reaches("pod2", "pod1")


async def test_empty_lists_mean_everything_or_nothing(node: Node) -> None:
    """No rules allow nothing; a rule without peers allows everybody; an empty pod selector is the whole namespace."""
    await node.put("some", {"app": "db"}, ingress=[{"from": [], "ports": [{"protocol": "TCP", "port": 8080}]}])
    assert reaches("outside", "pod1") and reaches("pod3", "pod1") and not reaches("pod2", "pod1", 9090)
    await node.put("some", {"app": "db"}, ingress=[{"from": [{"podSelector": {}}]}])
    assert reaches("pod2", "pod1", 9090) and not reaches("pod3", "pod1") and not reaches("outside", "pod1")
    await node.put("some", {"app": "db"}, ingress=[])
    assert not reaches("pod2", "pod1")


async def test_blocks_with_exceptions(node: Node) -> None:
    """ipBlock for what is not a pod, without its exceptions."""
    block: Object = {"cidr": "198.51.100.0/24"}
    await node.put("block", {"app": "db"}, ingress=[{"from": [{"ipBlock": block}]}])
    assert reaches("outside", "pod1") and not reaches("pod2", "pod1")
    block = {"cidr": "0.0.0.0/0", "except": [f"{OUTSIDE}/32"]}
    await node.put("block", {"app": "db"}, ingress=[{"from": [{"ipBlock": block}]}])
    assert not reaches("outside", "pod1") and reaches("pod2", "pod1")


async def test_egress_is_limited_and_answers_pass(node: Node) -> None:
    """What the pod begins is limited; what others begin with it is answered; it always reaches itself and its node."""
    await node.put("out", {"app": "web"}, egress=[{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}]}])
    assert reaches("pod2", "pod1") and not reaches("pod2", "outside")
    assert reaches("pod3", "pod2") and reaches("outside", "pod2")
    with topology.tcp_server("node", 7070):
        assert reaches("pod2", NODE_ADDRESS, 7070)
    to = [{"podSelector": {"matchLabels": {"app": "db"}}}]
    await node.put("out", {"app": "web"}, egress=[{"to": to, "ports": [{"protocol": "TCP", "port": "http"}]}])
    assert reaches("pod2", "pod1") and not reaches("pod2", "pod1", 9090)
    await node.put("out", {"app": "web"}, egress=[])
    assert not reaches("pod2", "pod1")


async def test_traffic_through_a_service_is_judged_by_its_ends(node: Node) -> None:
    """The policy sees the pod behind a cluster IP, not the address that was dialled; a hairpin passes."""
    tracker = Tracker("here")
    proxier = Proxier(
        tracker, lambda family: backend.MODES["nftables"](family, Settings(cluster_cidrs=(topology.PODS,))),
        clock=SystemClock(),
    )  # fmt: skip
    tracker.set_service(service(cluster_ip="10.252.0.10", ports=({"name": "http", "port": 80},)))
    tracker.set_slice(endpoint_slice(endpoint(topology.address_of("pod1"))))
    await proxier.sync()
    await node.put("allow", {"app": "db"}, ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}])
    assert reaches("pod2", "10.252.0.10", 80) and not reaches("pod3", "10.252.0.10", 80)
    await node.put("out", {"app": "db"}, egress=[])
    assert reaches("pod1", "10.252.0.10", 80)


async def test_connections_survive_an_update_and_the_table_is_restored(node: Node) -> None:
    """An update is a difference; a table that somebody removed comes back whole."""
    await node.put("allow", {"app": "db"}, ingress=[{"from": [{"podSelector": {}}]}])
    with Client("pod2", topology.address_of("pod1"), 8080) as connection:
        assert connection.ask()
        await node.put("more", {"app": "web"}, ingress=[])
        assert connection.ask()
    await command.run(["nft", "delete", "table", *nftables.TABLE.split()])
    assert reaches("pod3", "pod1")
    await node.enforcer._target.verify()
    assert await node.enforcer.sync()
    assert not reaches("pod3", "pod1")
