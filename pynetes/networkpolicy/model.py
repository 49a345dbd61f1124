"""What policies mean for the pods of one node, as nftables chains and sets.

Pods of the same direction that are selected by the same policies share one chain. Its rules return what is allowed, to
the base chain, and its last one drops the rest; so a packet between two pods passes one lookup and one chain for each
direction. Addresses of peers are in sets, so that a pod that comes or goes changes elements and no rule.

A pod is isolated before it starts: while there is any policy, an address of the node's pod network that belongs to no
known pod neither sends nor receives.
"""

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pynetes.machinery import labels
from pynetes.machinery.meta import Key, Object, key_of

FAMILIES = (4, 6)
DROP = "drop"
_ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
#: The maps and sets that are always there, filled as needed: name → type.
FIXED = {
    **{f"ingress-{family}": f"map {_ADDRESS[family]} : verdict" for family in FAMILIES},
    **{f"egress-{family}": f"map {_ADDRESS[family]} : verdict" for family in FAMILIES},
    **{f"self-{family}": f"set {_ADDRESS[family]} . {_ADDRESS[family]}" for family in FAMILIES},
    **{f"local-{family}": f"set {_ADDRESS[family]}; flags interval" for family in FAMILIES},
    **{f"known-{family}": f"set {_ADDRESS[family]}" for family in FAMILIES},
}


class Elements(NamedTuple):
    """A set or map of the kernel: its type, and key → value ("" in a set)."""

    type: str
    elements: Mapping[str, str]


@dataclass(slots=True)
class Rules:
    """What has to be in the kernel."""

    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, Elements] = field(default_factory=dict)


class Pod(NamedTuple):
    """What policies look at in a pod."""

    key: Key
    labels: Mapping[str, str]
    node: str
    addresses: tuple[str, ...]
    #: (name, protocol, number) of container ports with a name.
    ports: tuple[tuple[str, str, int], ...]


def pod_of(obj: Object) -> Pod | None:
    """The pod, None if no policy concerns it: it has ended, has no address yet, or uses the node's network."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    addresses = tuple(each["ip"] for each in status.get("podIPs") or ())
    if spec.get("hostNetwork") or not addresses or status.get("phase") in ("Succeeded", "Failed"):
        return None
    containers = [
        *(spec.get("containers") or ()),
        *(each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"),
    ]
    ports = tuple(
        (port["name"], port.get("protocol", "TCP").lower(), port["containerPort"])
        for container in containers
        for port in container.get("ports") or ()
        if port.get("name")
    )
    return Pod(key_of(obj), obj["metadata"].get("labels") or {}, spec.get("nodeName", ""), addresses, ports)


def rules(
    policies: Iterable[Object],
    pods: Sequence[Pod],
    namespaces: Mapping[str, Mapping[str, str]],
    *,
    node: str,
    networks: Sequence[str] = (),
) -> Rules:
    """The rules of a node. namespaces are the labels by name, networks those of the node's pods."""
    made = Rules(sets={name: Elements(type_, {}) for name, type_ in FIXED.items()})
    fixed: dict[str, dict[str, str]] = {name: {} for name in FIXED}
    ordered = sorted(policies, key=key_of)
    by_namespace: dict[str, list[Pod]] = {}
    for pod in pods:
        by_namespace.setdefault(pod.key.namespace, []).append(pod)
    world = _World(pods, by_namespace, namespaces, node)
    for direction in ("ingress", "egress"):
        for selected, members in _groups(ordered, direction, world):
            chain = f"{direction}-{_digest(*(f'{key.namespace}/{key.name}' for key in map(key_of, selected)))}"
            lines = [line for policy in selected for line in _policy(policy, direction, members, world, made)]
            made.chains[chain] = (*lines, DROP)
            for address in (address for pod in members for address in pod.addresses):
                fixed[f"{direction}-{_family(address)}"][address] = f"jump {chain}"
                # Nobody can keep a pod from itself, through a Service either.
                fixed[f"self-{_family(address)}"][f"{address} . {address}"] = ""
    if ordered:
        for network in networks:
            fixed[f"local-{_family(network)}"][network] = ""
        for address in (address for pod in pods if pod.node == node for address in pod.addresses):
            fixed[f"known-{_family(address)}"][address] = ""
    for name, elements in fixed.items():
        made.sets[name] = Elements(FIXED[name], elements)
    return made


class _World(NamedTuple):
    pods: Sequence[Pod]
    by_namespace: Mapping[str, Sequence[Pod]]
    namespaces: Mapping[str, Mapping[str, str]]
    node: str


def _groups(policies: Sequence[Object], direction: str, world: _World) -> Iterator[tuple[list[Object], list[Pod]]]:
    """The node's pods that are isolated in a direction, by the policies that select them."""
    selecting: dict[Key, list[Object]] = {}
    for policy in policies:
        if direction.capitalize() in (policy["spec"].get("policyTypes") or ["Ingress"]):
            selector = labels.from_label_selector(policy["spec"].get("podSelector") or {})
            for pod in world.by_namespace.get(key_of(policy).namespace, ()):
                if pod.node == world.node and selector.matches(pod.labels):
                    selecting.setdefault(pod.key, []).append(policy)
    groups: dict[tuple[Key, ...], tuple[list[Object], list[Pod]]] = {}
    for pod in world.pods:
        if chosen := selecting.get(pod.key):
            groups.setdefault(tuple(map(key_of, chosen)), (chosen, []))[1].append(pod)
    yield from groups.values()


def _policy(policy: Object, direction: str, members: Sequence[Pod], world: _World, made: Rules) -> Iterator[str]:
    key = key_of(policy)
    for index, rule in enumerate(policy["spec"].get(direction) or ()):
        name = _digest(direction, key.namespace, key.name, str(index))
        peers = rule.get("from" if direction == "ingress" else "to") or ()
        chosen = _peers(peers, key.namespace, world)
        # A named port is the receiver's: of the selected pods, or of the peers.
        receivers = members if direction == "ingress" else chosen if peers else world.pods
        for family in FAMILIES:
            side = f"{_ip(family)} {'saddr' if direction == 'ingress' else 'daddr'}"
            matches = _peer_matches(peers, chosen, family, side, f"peers-{name}-{family}", made)
            # Members of a chain differ, so the set of a named port is the chain's own.
            scope = _digest(name, *(f"{pod.key.namespace}/{pod.key.name}" for pod in members))
            ports = list(_port_matches(rule.get("ports") or (), receivers, family, f"ports-{scope}-{family}", made))
            for match in matches:
                yield from (f"meta nfproto ipv{family} {match} {port} return" for port in ports)


def _peers(peers: Sequence[Object], namespace: str, world: _World) -> list[Pod]:
    """The pods that peers select, each once."""
    chosen: dict[Key, Pod] = {}
    for peer in peers:
        if "ipBlock" in peer:
            continue
        where: Iterable[str] = (namespace,)
        if peer.get("namespaceSelector") is not None:
            selector = labels.from_label_selector(peer["namespaceSelector"])
            where = [name for name, found in world.namespaces.items() if selector.matches(found)]
        selector = labels.from_label_selector(peer.get("podSelector") or {})
        for name in where:
            chosen.update({pod.key: pod for pod in world.by_namespace.get(name, ()) if selector.matches(pod.labels)})
    return list(chosen.values())


def _peer_matches(
    peers: Sequence[Object], chosen: Sequence[Pod], family: int, side: str, name: str, made: Rules
) -> Iterator[str]:
    if not peers:
        yield ""
        return
    if any("ipBlock" not in peer for peer in peers):
        addresses = {address: "" for pod in chosen for address in pod.addresses if _family(address) == family}
        made.sets[name] = Elements(f"set {_ADDRESS[family]}", addresses)
        yield f"{side} @{name}"
    blocks = [str(block) for block in _blocks(peers, family)]
    if blocks:
        yield f"{side} {{ {', '.join(blocks)} }}"


def _blocks(peers: Sequence[Object], family: int) -> list[Any]:
    """The networks of ipBlocks, without their exceptions and without overlap, as the kernel wants them."""
    found: list[Any] = []
    for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer):
        left: list[Any] = [ipaddress.ip_network(block["cidr"], strict=False)]
        if left[0].version != family:
            continue
        for text in block.get("except") or ():
            hole = ipaddress.ip_network(text, strict=False)
            left = [part for network in left for part in _without(network, hole)]
        found += left
    return list(ipaddress.collapse_addresses(found))


def _without(network: Any, hole: Any) -> Iterable[Any]:
    if not network.overlaps(hole):
        return (network,)
    return () if network.subnet_of(hole) else network.address_exclude(hole)


def _port_matches(
    ports: Sequence[Object], receivers: Sequence[Pod], family: int, name: str, made: Rules
) -> Iterator[str]:
    if not ports:
        yield ""
        return
    named: dict[str, str] = {}
    for port in ports:
        protocol, number = port.get("protocol", "TCP").lower(), port.get("port")
        if number is None:
            yield f"meta l4proto {protocol}"
        elif isinstance(number, str):
            for pod in receivers:
                numbers = [each[2] for each in pod.ports if each[:2] == (number, protocol)]
                mine = [address for address in pod.addresses if _family(address) == family]
                named |= {f"{address} . {protocol} . {each}": "" for address in mine for each in numbers}
        else:
            last = port.get("endPort")
            yield f"{protocol} dport {number}-{last}" if last and last > number else f"{protocol} dport {number}"
    if any(isinstance(port.get("port"), str) for port in ports):
        made.sets[name] = Elements(f"set {_ADDRESS[family]} . inet_proto . inet_service", named)
        yield f"{_ip(family)} daddr . meta l4proto . th dport @{name}"


def _family(address: str) -> int:
    return 6 if ":" in address else 4


def _ip(family: int) -> str:
    return "ip6" if family == 6 else "ip"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
