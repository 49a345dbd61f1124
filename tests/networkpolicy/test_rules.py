"""What policies become, and what is sent when they change: without a kernel."""

from pynetes.component.clock import SystemClock
from pynetes.component.command import CommandError
from pynetes.machinery.meta import Object
from pynetes.networkpolicy import model, nftables
from pynetes.networkpolicy.app import Enforcer
from pynetes.networkpolicy.model import Rules


class Recorded:
    """Takes rules as the kernel would, or refuses them."""

    def __init__(self) -> None:
        self.wanted: list[Rules] = []
        self.refuse = False

    async def sync(self, wanted: Rules) -> bool:
        if self.refuse:
            raise CommandError("no nft")
        self.wanted.append(wanted)
        return True

    async def verify(self) -> None:
        pass


def pod(name: str, address: str, *, node: str = "here", **labels: str) -> Object:
    return {
        "metadata": {"namespace": "default", "name": name, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "c"}]},
        "status": {"podIPs": [{"ip": address}], "phase": "Running"},
    }


def policy(name: str, **spec: object) -> Object:
    return {"metadata": {"namespace": "default", "name": name}, "spec": {"podSelector": {}, **spec}}


def enforcer(*pods: Object) -> Enforcer:
    made = Enforcer("here", Recorded(), clock=SystemClock())
    made.on_namespace({"metadata": {"name": "default"}}, None, False)
    for each in pods:
        made.on_pod(each, None, False)
    return made


def rules_of(given: Enforcer) -> Rules:
    return model.rules(given.policies.values(), list(given.pods.values()), given.namespaces, node=given.node)


def test_a_pod_that_comes_changes_elements_only() -> None:
    """No chain is touched when a peer appears, nor when another node's pod is selected."""
    given = enforcer(pod("db", "10.0.0.1", app="db"))
    peers = [{"podSelector": {"matchLabels": {"app": "web"}}}]
    given.on_policy(policy("allow", policyTypes=["Ingress"], ingress=[{"from": peers}]), None, False)
    before = rules_of(given)
    given.on_pod(pod("web", "10.0.1.1", node="there", app="web"), None, False)
    lines = list(nftables.difference(before, rules_of(given)))
    assert len(lines) == 1 and lines[0].startswith("add element") and lines[0].endswith("{ 10.0.1.1 }")
    given.on_pod(pod("web", "10.0.1.1", node="there", app="web"), None, True)
    assert list(nftables.difference(rules_of(given), before)) == []


def test_pods_selected_alike_share_a_chain() -> None:
    """However many there are; a pod of two policies has another one."""
    given = enforcer(*(pod(f"web-{number}", f"10.0.0.{number}", app="web") for number in range(1, 100)))
    given.on_policy(policy("deny", policyTypes=["Ingress"]), None, False)
    assert len(rules_of(given).chains) == 1
    more = policy("more", policyTypes=["Ingress"], ingress=[{}])
    more["spec"]["podSelector"] = {"matchLabels": {"first": "yes"}}
    given.on_policy(more, None, False)
    given.on_pod(pod("web-1", "10.0.0.1", app="web", first="yes"), None, False)
    assert len(rules_of(given).chains) == 2


def test_ended_and_host_network_pods_do_not_count() -> None:
    """Their addresses may be somebody else's by now, or are the node's."""
    ended, host = pod("ended", "10.0.0.1"), pod("host", "192.0.2.1")
    ended["status"]["phase"] = "Succeeded"
    host["spec"]["hostNetwork"] = True
    assert model.pod_of(ended) is None and model.pod_of(host) is None


def test_exceptions_are_taken_out_of_blocks() -> None:
    """The kernel gets networks without overlap, in both families."""
    blocks = [
        {"ipBlock": {"cidr": "10.0.0.0/30", "except": ["10.0.0.1/32"]}},
        {"ipBlock": {"cidr": "10.0.0.2/32"}},
        {"ipBlock": {"cidr": "2001:db8::/32"}},
    ]
    given = enforcer(pod("db", "10.0.0.9"))
    given.on_policy(policy("out", policyTypes=["Egress"], egress=[{"to": blocks}]), None, False)
    (lines,) = rules_of(given).chains.values()
    assert [" ".join(line.split()) for line in lines] == [
        "meta nfproto ipv4 ip daddr { 10.0.0.0/32, 10.0.0.2/31 } return",
        "meta nfproto ipv6 ip6 daddr { 2001:db8::/32 } return",
        "drop",
    ]


async def test_a_refusal_is_tried_again() -> None:
    """Nothing is lost: the next sync sends the present state."""
    given = enforcer(pod("db", "10.0.0.1"))
    target = given._target
    assert isinstance(target, Recorded)
    target.refuse = True
    given.on_policy(policy("deny", policyTypes=["Ingress"]), None, False)
    assert not await given.sync()
    target.refuse = False
    assert await given.sync()
    assert len(target.wanted[0].chains) == 1
