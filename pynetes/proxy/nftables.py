"""Forwards as nftables rules, after the layout of upstream's nftables proxy (KEP-3866), with fewer chains.

One table per family, `kube-proxy`. A packet to a Service finds its chain by one lookup in a verdict map, however many
Services there are: service-ips by address, protocol and port, service-nodeports by protocol and port. Services without
endpoints are in no-endpoint-services and no-endpoint-nodeports instead, where they are refused or dropped.

    service-HASH-ns/name/tcp/port     masquerade if need be, then translate to an endpoint picked at random from a map
    external-HASH-…                   from outside: applies externalTrafficPolicy, then goes to one of the others
    local-HASH-…                      picks among the endpoints on this node
    endpoint-HASH-…__ip/port          with session affinity only: remembers the client before it translates
    firewall-HASH-…                   drops what loadBalancerSourceRanges does not allow

A chain per endpoint, as upstream has it, would be simpler, but the nft program lists all chains before most commands:
docs/decisions/080-one-chain-per-service.md has the measurement. Pods that reach themselves through a Service are
masqueraded by the set `hairpins` for the same reason.

Pure: text in, text out. The transaction is run by backend.py.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pynetes.proxy.model import Forward, Target
from pynetes.proxy.rules import Difference, Place, Rules

#: The kernel's limit is 128 with its terminating zero.
NAME_LIMIT = 127


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What rules depend on besides forwards."""

    #: Pods' networks; what comes from elsewhere to a cluster IP is masqueraded. Empty: nobody is known to be a pod.
    cluster_cidrs: tuple[str, ...] = ()
    masquerade_all: bool = False
    #: The mark of packets to be masqueraded.
    masquerade_mark: int = 0x4000
    #: Networks of node addresses on which node ports answer; empty means every local address except loopback.
    node_port_addresses: tuple[str, ...] = ()

    def pods(self, family: int) -> tuple[str, ...]:
        """The pods' networks of a family."""
        return tuple(cidr for cidr in self.cluster_cidrs if (":" in cidr) == (family == 6))


def table(family: int) -> str:
    """The table's family and name."""
    return "ip6 kube-proxy" if family == 6 else "ip kube-proxy"


def digest(text: str, length: int) -> str:
    """Short name of a longer one, in letters and digits that chain names allow."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:length]


def render(forward: Forward, settings: Settings) -> Rules:
    """The rules of one forward."""
    names = _Names(forward)
    chains: dict[str, tuple[str, ...]] = {}
    used = set(forward.internal_targets)
    if forward.internal_targets:
        chains[names.service] = tuple(_service(forward, settings, names))
    if forward.external and forward.cluster:
        chains |= _external_chains(forward, settings, names)
        used.update(forward.cluster + forward.local)
    if forward.source_ranges and forward.load_balancer_ips:
        ranges = ", ".join(forward.source_ranges)
        chains[names.firewall] = (f"{_ip(forward)} saddr != {{ {ranges} }} drop",)
    sets = {}
    if forward.affinity:
        for target in sorted(used):
            chains[names.endpoint(target)] = tuple(_endpoint(forward, names, target))
            sets[names.affinity(target)] = (
                f"{{ type {_type(forward.family)}; flags dynamic,timeout; timeout {forward.affinity}s; size 65535; }}"
            )
    return Rules(chains=chains, sets=sets, claims=dict(_claims(forward, names)))


def _external_chains(forward: Forward, settings: Settings, names: "_Names") -> dict[str, tuple[str, ...]]:
    chains: dict[str, tuple[str, ...]] = {}
    anywhere = names.service
    if forward.internal_local:
        # The service chain keeps to this node; what may go anywhere needs a chain of its own.
        anywhere = names.cluster
        chains[anywhere] = tuple(_pick(forward, names, forward.cluster))
    if not forward.external_local:
        chains[names.external] = ("jump mark-for-masquerade", f"goto {anywhere}")
        return chains
    pods = settings.pods(forward.family)
    chains[names.external] = (
        # Pods and the node itself may go to any endpoint: for them there is no source address to preserve.
        *([f"{_ip(forward)} saddr {{ {', '.join(pods)} }} goto {anywhere}"] if pods else ()),
        "fib saddr type local jump mark-for-masquerade",
        f"fib saddr type local goto {anywhere}",
        *([f"goto {names.local}"] if forward.local else ()),
    )
    if forward.local:
        chains[names.local] = tuple(_pick(forward, names, forward.local))
    return chains


def _service(forward: Forward, settings: Settings, names: "_Names") -> Iterator[str]:
    match = f"{_ip(forward)} daddr {forward.cluster_ip} {forward.protocol} dport {forward.port}"
    pods = settings.pods(forward.family)
    if settings.masquerade_all:
        yield f"{match} jump mark-for-masquerade"
    elif pods:
        yield f"{match} {_ip(forward)} saddr != {{ {', '.join(pods)} }} jump mark-for-masquerade"
    yield from _pick(forward, names, forward.internal_targets)


def _pick(forward: Forward, names: "_Names", targets: tuple[Target, ...]) -> Iterator[str]:
    if not forward.affinity:
        yield f"meta l4proto {forward.protocol} dnat {_ip(forward)} to {_choice(targets)}"
        return
    for target in targets:
        yield f"{_ip(forward)} saddr @{names.affinity(target)} goto {names.endpoint(target)}"
    choices = ", ".join(f"{number} : goto {names.endpoint(each)}" for number, each in enumerate(targets))
    yield f"numgen random mod {len(targets)} vmap {{ {choices} }}"


def _choice(targets: tuple[Target, ...]) -> str:
    if len(targets) == 1:
        ip, port = targets[0]
        return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    choices = ", ".join(f"{number} : {ip} . {port}" for number, (ip, port) in enumerate(targets))
    return f"numgen random mod {len(targets)} map {{ {choices} }}"


def _endpoint(forward: Forward, names: "_Names", target: Target) -> Iterator[str]:
    yield f"update @{names.affinity(target)} {{ {_ip(forward)} saddr }}"
    yield f"meta l4proto {forward.protocol} dnat {_ip(forward)} to {_choice((target,))}"


def _claims(forward: Forward, names: "_Names") -> Iterator[tuple[Place, str]]:
    yield Place("cluster-ips", forward.cluster_ip), ""
    for ip in {target.ip for target in forward.local}:
        yield Place("hairpins", f"{ip} . {ip}"), ""
    place = f"{forward.cluster_ip} . {forward.protocol} . {forward.port}"
    if forward.internal_targets:
        yield Place("service-ips", place), f"goto {names.service}"
    else:
        yield Place("no-endpoint-services", place), _refusal(forward)
    for ip in forward.external_ips + forward.load_balancer_ips:
        place = f"{ip} . {forward.protocol} . {forward.port}"
        yield from _outside(forward, names, place, ("service-ips", "no-endpoint-services"))
        if forward.source_ranges and ip in forward.load_balancer_ips:
            yield Place("firewall-ips", place), f"goto {names.firewall}"
    if forward.node_port:
        place = f"{forward.protocol} . {forward.node_port}"
        yield from _outside(forward, names, place, ("service-nodeports", "no-endpoint-nodeports"))


def _outside(forward: Forward, names: "_Names", key: str, maps: tuple[str, str]) -> Iterator[tuple[Place, str]]:
    forwarded, refused = maps
    if forward.cluster:
        yield Place(forwarded, key), f"goto {names.external}"
    if not forward.external_targets:
        # Looked up after translation, so only what the external chain let through untouched ends here.
        yield Place(refused, key), _refusal(forward)


def _refusal(forward: Forward) -> str:
    # With endpoints elsewhere the traffic policy keeps packets away: dropped, so that balancers look elsewhere.
    return "drop" if forward.cluster else "goto reject-chain"


def _ip(forward: Forward) -> str:
    return "ip6" if forward.family == 6 else "ip"


class _Names:
    """The names of one forward's chains and sets."""

    def __init__(self, forward: Forward) -> None:
        path = f"{forward.namespace}/{forward.service}/{forward.protocol}/{forward.port_name}"
        self.base = f"{digest(f'{forward.name}{forward.protocol}', 8)}-{path}"
        self.seconds = forward.affinity
        self.service = self._cut(f"service-{self.base}")
        self.cluster = self._cut(f"cluster-{self.base}")
        self.local = self._cut(f"local-{self.base}")
        self.external = self._cut(f"external-{self.base}")
        self.firewall = self._cut(f"firewall-{self.base}")

    def endpoint(self, target: Target) -> str:
        return self._cut(f"endpoint-{self._with(target)}")

    def affinity(self, target: Target) -> str:
        # The time-out is part of what is hashed: a set cannot change its own.
        return self._cut(f"affinity-{self._with(target, str(self.seconds))}")

    def _with(self, target: Target, more: str = "") -> str:
        plain = f"{target.ip.replace(':', '.')}/{target.port}"
        return f"{digest(self.base + plain + more, 8)}-{self.base[9:]}__{plain}"

    @staticmethod
    def _cut(name: str) -> str:
        return name[:NAME_LIMIT]


_FRONT_MAPS = ("service-ips", "no-endpoint-services", "firewall-ips")
_PORT_MAPS = ("service-nodeports", "no-endpoint-nodeports")


def base(family: int, settings: Settings) -> list[str]:
    """The commands that make an empty table; whatever was there before goes in the same transaction."""
    t = table(family)
    fronts, ports = f"{_type(family)} . inet_proto . inet_service", "inet_proto . inet_service"
    chains = {**_check_chains(family, settings), **_hook_chains(family, settings)}
    lines = [f"add table {t}", f"delete table {t}", f"add table {t}"]
    lines += [f"add set {t} cluster-ips {{ type {_type(family)}; }}"]
    lines += [f"add set {t} hairpins {{ type {_type(family)} . {_type(family)}; }}"]
    lines += [f"add map {t} {name} {{ type {fronts} : verdict; }}" for name in _FRONT_MAPS]
    lines += [f"add map {t} {name} {{ type {ports} : verdict; }}" for name in _PORT_MAPS]
    for name, (hook, _) in chains.items():
        lines.append(f"add chain {t} {name}" + (f" {{ type {hook}; }}" if hook else ""))
    lines += [f"add rule {t} {name} {rule}" for name, (_, rules) in chains.items() for rule in rules]
    return lines


#: Chain name → (hook, rules).
_Chains = dict[str, tuple[str, tuple[str, ...]]]


def _check_chains(family: int, settings: Settings) -> _Chains:
    ip = "ip6" if family == 6 else "ip"
    front = f"{ip} daddr . meta l4proto . th dport"
    node_port = f"{_node_addresses(family, settings)} meta l4proto . th dport"
    return {
        "reject-chain": ("", ("reject",)),
        "services": ("", (f"{front} vmap @service-ips", f"{node_port} vmap @service-nodeports")),
        "firewall-check": ("", (f"{front} vmap @firewall-ips",)),
        "service-endpoints-check": ("", (f"{front} vmap @no-endpoint-services",)),
        "nodeport-endpoints-check": ("", (f"{node_port} vmap @no-endpoint-nodeports",)),
        # What is still addressed to a cluster IP after translation has a port that no Service has.
        "cluster-ips-check": ("", (f"{ip} daddr @cluster-ips goto reject-chain",)),
    }


def _hook_chains(family: int, settings: Settings) -> _Chains:
    ip = "ip6" if family == 6 else "ip"
    mark = f"{settings.masquerade_mark:#x}"
    endpoints = ("ct state new jump nodeport-endpoints-check", "ct state new jump service-endpoints-check")
    firewall, addresses = "ct state new jump firewall-check", "ct state new jump cluster-ips-check"
    return {
        "mark-for-masquerade": ("", (f"mark set mark or {mark}",)),
        "masquerading": (
            "",
            (
                # A pod that reaches itself through its Service would drop the answer to its own address.
                f"{ip} saddr . {ip} daddr @hairpins masquerade fully-random",
                f"mark and {mark} == 0 return",
                f"mark set mark xor {mark}",
                "masquerade fully-random",
            ),
        ),
        # Filters that look at the address the client used come before translation, the others after it.
        "filter-prerouting": ("filter hook prerouting priority -110", (firewall,)),
        "filter-output": ("filter hook output priority -110", (firewall,)),
        "filter-input": ("filter hook input priority -110", endpoints),
        "filter-forward": ("filter hook forward priority -110", (endpoints[1], addresses)),
        "filter-output-post-dnat": ("filter hook output priority -90", (*endpoints, addresses)),
        "nat-prerouting": ("nat hook prerouting priority -100", ("jump services",)),
        "nat-output": ("nat hook output priority -100", ("jump services",)),
        "nat-postrouting": ("nat hook postrouting priority 100", ("jump masquerading",)),
    }


def _type(family: int) -> str:
    return "ipv6_addr" if family == 6 else "ipv4_addr"


def _node_addresses(family: int, settings: Settings) -> str:
    given = [cidr for cidr in settings.node_port_addresses if (":" in cidr) == (family == 6)]
    if given:
        return f"fib daddr type local {'ip6' if family == 6 else 'ip'} daddr {{ {', '.join(given)} }}"
    return "fib daddr type local ip6 daddr != ::1" if family == 6 else "fib daddr type local ip daddr != 127.0.0.0/8"


def script(family: int, difference: Difference) -> Iterator[str]:
    """The difference as commands of one transaction, each thing made before it is used and unused before it goes."""
    t = table(family)
    for name, declaration in difference.new_sets.items():
        yield f"add set {t} {name} {declaration}"
    yield from (f"add chain {t} {name}" for name in difference.new_chains)
    yield from _elements("delete", t, difference.gone_claims.items(), values=False)
    for name, lines in difference.chains.items():
        if name not in difference.new_chains:
            yield f"flush chain {t} {name}"
        yield from (f"add rule {t} {name} {line}" for line in lines)
    yield from (f"flush chain {t} {name}" for name in difference.gone_chains)
    yield from (f"delete chain {t} {name}" for name in difference.gone_chains)
    yield from (f"delete set {t} {name}" for name in difference.gone_sets)
    yield from _elements("add", t, difference.new_claims.items(), values=True)


def _elements(verb: str, t: str, claims: Iterable[tuple[Place, str]], *, values: bool) -> Iterator[str]:
    for place, value in claims:
        element = f"{place.key} : {value}" if values and value else place.key
        yield f"{verb} element {t} {place.container} {{ {element} }}"
