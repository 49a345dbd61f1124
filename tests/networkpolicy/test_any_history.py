"""Any pods, policies and changes: the rules mean what the API's words mean, and differences lead to the same table.

The kernel is a small interpreter of the commands that are sent, which refuses what nftables refuses: an element twice,
something removed that is in use. What is allowed is decided a second time here, straight from the documentation.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from pynetes.machinery.meta import Object
from pynetes.networkpolicy import model, nftables
from pynetes.networkpolicy.model import FIXED, Pod, Rules

NAMESPACES: dict[str, dict[str, str]] = {"one": {"team": "a"}, "two": {"team": "b"}}
BLOCKS: list[Object] = [
    {"cidr": "10.0.0.0/28", "except": ["10.0.0.2/31", "10.0.0.3/32"]},
    {"cidr": "10.0.0.3/32"},
    {"cidr": "0.0.0.0/0"},
    {"cidr": "fd00::/120", "except": ["fd00::1/128"]},
]
PORTS: list[Object] = [
    {"port": 80}, {"protocol": "TCP"}, {"protocol": "UDP", "port": 80}, {"port": 79, "endPort": 81}, {"port": "web"},
    {"protocol": "UDP", "port": "web"},
]  # fmt: skip
TRAFFIC = [("tcp", 80), ("tcp", 81), ("tcp", 8080), ("udp", 80), ("udp", 8080)]

selectors = st.sampled_from(
    [{}, {"matchLabels": {"app": "a"}}, {"matchExpressions": [{"key": "app", "operator": "Exists"}]}]
)
spaces = st.sampled_from([{}, {"matchLabels": {"team": "a"}}, {"matchLabels": {"team": "c"}}])
peers = st.one_of(
    st.builds(lambda pods: {"podSelector": pods}, selectors),
    st.builds(lambda where: {"namespaceSelector": where}, spaces),
    st.builds(lambda pods, where: {"podSelector": pods, "namespaceSelector": where}, selectors, spaces),
    st.sampled_from(BLOCKS).map(lambda block: {"ipBlock": block}),
)


def rules(side: str) -> st.SearchStrategy[list[Object]]:
    """Of one direction; a list that is left out is as good as an empty one."""
    ports = st.lists(st.sampled_from(PORTS), max_size=2)
    rule = st.builds(lambda who, what: {side: who, "ports": what}, st.lists(peers, max_size=2), ports)
    return st.lists(rule, max_size=2)


@st.composite
def policies(draw: st.DrawFn) -> Object:
    """One of a few names, of which two namespaces have some."""
    types = draw(st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    metadata = {"namespace": draw(st.sampled_from(sorted(NAMESPACES))), "name": draw(st.sampled_from("pq"))}
    spec = {"podSelector": draw(selectors), "policyTypes": types, "ingress": draw(rules("from"))}
    return {"metadata": metadata, "spec": {**spec, "egress": draw(rules("to"))}}


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[Object], list[Pod]]:
    """Policies, and pods of which each has the addresses that go with its number."""
    found = []
    for number in range(1, 5):
        if not draw(st.booleans()):
            continue
        given = draw(st.sampled_from([{}, {"app": "a"}, {"app": "b"}]))
        port = draw(st.sampled_from([[], [{"name": "web", "containerPort": 8080}],
                                     [{"name": "web", "containerPort": 8080, "protocol": "UDP"}]]))  # fmt: skip
        addresses = [{"ip": f"10.0.0.{number}"}, {"ip": f"fd00::{number}"}][: draw(st.integers(1, 2))]
        metadata = {"namespace": draw(st.sampled_from(sorted(NAMESPACES))), "name": f"pod-{number}", "labels": given}
        spec = {"nodeName": draw(st.sampled_from(["here", "here", "there"])), "containers": [{"ports": port}]}
        made = model.pod_of({"metadata": metadata, "spec": spec, "status": {"podIPs": addresses, "phase": "Running"}})
        assert made is not None
        found.append(made)
    named = {
        (each["metadata"]["namespace"], each["metadata"]["name"]): each
        for each in draw(st.lists(policies(), max_size=3))
    }
    return list(named.values()), found


def made(world: tuple[list[Object], list[Pod]]) -> Rules:
    return model.rules(*world, NAMESPACES, node="here")


@dataclass
class Table:
    """What the commands have made."""

    chains: dict[str, list[str]] = field(default_factory=dict)
    sets: dict[str, dict[str, str]] = field(default_factory=dict)

    def apply(self, command: str) -> None:
        """One command. Raises AssertionError where the kernel refuses."""
        command = command.replace(f"{nftables.TABLE} ", "", 1)
        verb, what, name, *rest = command.split(" ", 3)
        words = rest[0] if rest else ""
        if what == "element":
            for text in words.strip("{ }").split(", "):
                key, _, value = text.partition(" : ")
                assert (key in self.sets[name]) is (verb == "delete"), command
                if verb == "delete":
                    del self.sets[name][key]
                else:
                    assert not value or value.removeprefix("jump ") in self.chains, command
                    self.sets[name][key] = value
        elif what == "rule":
            assert all(used in self.sets for used in re.findall(r"@(\S+)", words)), command
            self.chains[name].append(words)
        elif what == "chain" and verb == "flush":
            self.chains[name].clear()
        elif verb == "add":
            assert name not in (self.chains if what == "chain" else self.sets), command
            (self.chains.__setitem__(name, []) if what == "chain" else self.sets.__setitem__(name, {}))
        elif what == "chain":
            assert not self.chains.pop(name) and not any(f"jump {name}" in e.values() for e in self.sets.values())
        else:
            assert not any(f"@{name}" in line.split() for lines in self.chains.values() for line in lines), command
            del self.sets[name]


@settings(max_examples=60, deadline=None)
@given(st.lists(worlds(), min_size=1, max_size=4))
def test_any_changes_lead_to_the_same_table(history: Sequence[tuple[list[Object], list[Pod]]]) -> None:
    """As if it had been made at once; no command on the way is one that the kernel refuses."""
    table = Table(sets={name: {} for name in FIXED})
    known = Rules(sets={name: model.Elements(type_, {}) for name, type_ in FIXED.items()})
    for world in history:
        wanted = made(world)
        for command in nftables.difference(known, wanted):
            table.apply(command)
        known = wanted
        assert table.sets == {name: dict(each.elements) for name, each in wanted.sets.items()}
        assert table.chains == {name: [" ".join(line.split()) for line in ls] for name, ls in wanted.chains.items()}


@settings(max_examples=80, deadline=None)
@given(worlds())
def test_rules_allow_what_the_policies_say(world: tuple[list[Object], list[Pod]]) -> None:
    """Between any two pods, and to and from an address that is no pod's."""
    found, pods = world
    wanted = made(world)
    outside = {4: "10.0.0.9", 6: "fd00::9"}
    ends = [(pod, address) for pod in pods for address in pod.addresses] + [(None, text) for text in outside.values()]
    for sender, source in ends:
        for receiver, target in ends:
            if (":" in source) != (":" in target) or sender is receiver:
                continue
            for protocol, port in TRAFFIC:
                packet = Packet(source, target, protocol, port)
                passes = {side: said(found, side, sender, receiver, packet) for side in ("egress", "ingress")}
                assert enforced(wanted, packet) == passes, (packet, sender, receiver)


@dataclass(frozen=True)
class Packet:
    """The first of a connection."""

    source: str
    target: str
    protocol: str
    port: int


def said(found: Sequence[Object], side: str, sender: Pod | None, receiver: Pod | None, packet: Packet) -> bool:
    """Whether policies let it pass at one end."""
    mine, other = (receiver, sender) if side == "ingress" else (sender, receiver)
    if mine is None or mine.node != "here":
        return True
    about = [each for each in found
             if each["metadata"]["namespace"] == mine.key.namespace and side.capitalize() in each["spec"]["policyTypes"]
             and chooses(each["spec"]["podSelector"], mine.labels)]  # fmt: skip
    address, member = (packet.source, "from") if side == "ingress" else (packet.target, "to")
    return not about or any(
        (not rule[member] or any(is_peer(peer, mine.key.namespace, other, address) for peer in rule[member]))
        and (not rule["ports"] or any(is_port(each, receiver, packet) for each in rule["ports"]))
        for each in about
        for rule in each["spec"][side]
    )


def chooses(selector: Object, given: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    exists = [each["key"] for each in selector.get("matchExpressions") or ()]
    return all(given.get(key) == value for key, value in wanted.items()) and all(key in given for key in exists)


def is_peer(peer: Object, namespace: str, other: Pod | None, address: str) -> bool:
    if block := peer.get("ipBlock"):
        within = [
            ipaddress.ip_address(address) in ipaddress.ip_network(text)
            for text in (block["cidr"], *block.get("except", ()))
        ]
        return within[0] and not any(within[1:])
    if other is None or not chooses(peer.get("podSelector", {}), other.labels):
        return False
    if "namespaceSelector" in peer:
        return chooses(peer["namespaceSelector"], NAMESPACES[other.key.namespace])
    return other.key.namespace == namespace


def is_port(port: Object, receiver: Pod | None, packet: Packet) -> bool:
    if port.get("protocol", "TCP").lower() != packet.protocol:
        return False
    number = port.get("port")
    if isinstance(number, str):
        return receiver is not None and (number, packet.protocol, packet.port) in receiver.ports
    return number is None or number <= packet.port <= port.get("endPort", number)


def enforced(wanted: Rules, packet: Packet) -> dict[str, bool]:
    """What the chains say at both ends."""
    family = 6 if ":" in packet.source else 4
    passes = {}
    for side, address in (("egress", packet.source), ("ingress", packet.target)):
        chain = wanted.sets[f"{side}-{family}"].elements.get(address)
        lines = wanted.chains[chain.removeprefix("jump ")] if chain else ("return",)
        verdict = next(line.split()[-1] for line in lines if matches(" ".join(line.split()), wanted, packet, family))
        passes[side] = verdict == "return"
    return passes


def matches(line: str, wanted: Rules, packet: Packet, family: int) -> bool:
    """Whether a rule is about a packet."""
    addresses = {"saddr": packet.source, "daddr": packet.target}
    line = line.rpartition(" ")[0] if " " in line else ""
    tests = (
        (r"meta nfproto ipv(\d) ?", lambda m: int(m[1]) == family),
        (r"ip6? daddr \. meta l4proto \. th dport @(\S+) ?",
         lambda m: f"{packet.target} . {packet.protocol} . {packet.port}" in wanted.sets[m[1]].elements),
        (r"ip6? ([sd]addr) @(\S+) ?", lambda m: addresses[m[1]] in wanted.sets[m[2]].elements),
        (r"ip6? ([sd]addr) \{ (.*?) \} ?", lambda m: any(
            ipaddress.ip_address(addresses[m[1]]) in ipaddress.ip_network(each) for each in m[2].split(", "))),
        (r"meta l4proto (\w+) ?", lambda m: m[1] == packet.protocol),
        (r"(tcp|udp) dport (\d+)-?(\d*) ?",
         lambda m: m[1] == packet.protocol and int(m[2]) <= packet.port <= int(m[3] or m[2])),
    )  # fmt: skip
    holds = True
    while line:
        found, test = next((found, test) for pattern, test in tests if (found := re.match(pattern, line)))
        holds, line = holds and test(found), line[found.end() :]
    return holds
