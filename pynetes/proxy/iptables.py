"""Forwards as iptables rules, in the chains that upstream's iptables proxy has.

    KUBE-SERVICES   one rule per cluster, external or balancer IP and port; then local addresses → KUBE-NODEPORTS
    KUBE-SVC-HASH   a Service port's endpoints anywhere; KUBE-SVL-HASH those on this node
    KUBE-EXT-HASH   from outside: masquerade or keep to this node; KUBE-FW-HASH first checks the source
    KUBE-SEP-HASH   one endpoint: hairpin mark, affinity, translation

Rules in shared chains are claims (rules.py): they are inserted and deleted one by one, so that a change costs what it
changes and not what there is. Pure: text in, text out; one iptables-restore --noflush runs the result.
"""

import shlex
from collections.abc import Iterable, Iterator

from pynetes.proxy.model import Forward, Target
from pynetes.proxy.nftables import Settings, digest
from pynetes.proxy.rules import Difference, Place, Rules

#: What jumps into our chains: table → ((built-in chain, rule), …). Each is put first in its chain when missing.
JUMPS = {
    "nat": (
        ("PREROUTING", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
        ("OUTPUT", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
        ("POSTROUTING", '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'),
    ),
    "filter": (
        ("INPUT", '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS'),
        ("FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'),
        *((chain, f"-m conntrack --ctstate NEW -j {target}") for chain, target in (
            ("INPUT", "KUBE-PROXY-FIREWALL"), ("INPUT", "KUBE-EXTERNAL-SERVICES"),
            ("FORWARD", "KUBE-PROXY-FIREWALL"), ("FORWARD", "KUBE-SERVICES"), ("FORWARD", "KUBE-EXTERNAL-SERVICES"),
            ("OUTPUT", "KUBE-PROXY-FIREWALL"), ("OUTPUT", "KUBE-SERVICES"),
        )),
    ),
}  # fmt: skip
#: The chains that all forwards share.
SHARED = {
    "nat": ("KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"),
    "filter": ("KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-FORWARD", "KUBE-PROXY-FIREWALL"),
}
PREFIX = "KUBE-"


def base_rules(table: str, family: int, settings: Settings) -> list[tuple[str, str]]:
    """The shared chains' own rules: (chain, rule)."""
    mark = f"{settings.masquerade_mark:#x}"
    if table == "filter":
        return [
            ("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP"),
            ("KUBE-FORWARD", f"-m mark --mark {mark}/{mark} -j ACCEPT"),
            ("KUBE-FORWARD", "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
        ]
    local = "-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS"
    given = [cidr for cidr in settings.node_port_addresses if (":" in cidr) == (family == 6)]
    rules = [("KUBE-SERVICES", f"-d {cidr} {local}") for cidr in given] or [("KUBE-SERVICES", local)]
    if family == 6:
        rules.insert(0, ("KUBE-SERVICES", "-d ::1/128 -j RETURN"))
    return [
        *rules,
        ("KUBE-MARK-MASQ", f"-j MARK --set-xmark {mark}/{mark}"),
        ("KUBE-POSTROUTING", f"-m mark ! --mark {mark}/{mark} -j RETURN"),
        ("KUBE-POSTROUTING", f"-j MARK --xor-mark {mark}"),
        ("KUBE-POSTROUTING", "-j MASQUERADE --random-fully"),
    ]


def render(forward: Forward, settings: Settings) -> Rules:
    """The rules of one forward. Own chains are all in the nat table; a claim's container is "table chain"."""
    names = _Names(forward)
    chains: dict[str, tuple[str, ...]] = {}
    used = set(forward.internal_targets)
    if forward.internal_targets:
        chains[names.service] = (
            *_masquerade(forward, settings),
            *_pick(forward, names, forward.internal_targets),
        )
    if forward.external and forward.cluster:
        chains |= _external_chains(forward, settings, names)
        used.update(forward.cluster + forward.local)
    for target in used:
        chains[names.endpoint(target)] = tuple(_endpoint(forward, names, target))
    return Rules(chains=chains, claims=dict(_claims(forward, names)))


def _masquerade(forward: Forward, settings: Settings) -> Iterator[str]:
    match, pods = _to(forward, forward.cluster_ip), settings.pods(forward.family)
    if settings.masquerade_all:
        yield f"{match} -j KUBE-MARK-MASQ"
    elif len(pods) == 1:
        yield f"{match} ! -s {pods[0]} -j KUBE-MARK-MASQ"


def _external_chains(forward: Forward, settings: Settings, names: "_Names") -> dict[str, tuple[str, ...]]:
    chains: dict[str, tuple[str, ...]] = {}
    anywhere = names.service
    if forward.internal_local:
        anywhere = names.cluster
        chains[anywhere] = tuple(_pick(forward, names, forward.cluster))
    if forward.external_local:
        pods = settings.pods(forward.family)
        chains[names.external] = (
            *(f"-s {cidr} -j {anywhere}" for cidr in pods),
            "-m addrtype --src-type LOCAL -j KUBE-MARK-MASQ",
            f"-m addrtype --src-type LOCAL -j {anywhere}",
            *([f"-j {names.local}"] if forward.local else ()),
        )
        if forward.local:
            chains[names.local] = tuple(_pick(forward, names, forward.local))
    else:
        chains[names.external] = ("-j KUBE-MARK-MASQ", f"-j {anywhere}")
    if forward.source_ranges and forward.load_balancer_ips:
        # Who is not let through stays untranslated, and KUBE-PROXY-FIREWALL drops it.
        chains[names.firewall] = tuple(f"-s {cidr} -j {names.external}" for cidr in forward.source_ranges)
    return chains


def _pick(forward: Forward, names: "_Names", targets: tuple[Target, ...]) -> Iterator[str]:
    if forward.affinity:
        for target in targets:
            chain = names.endpoint(target)
            yield f"-m recent --name {chain} --rcheck --seconds {forward.affinity} --reap -j {chain}"
    for index, target in enumerate(targets):
        left = len(targets) - index
        chance = f"-m statistic --mode random --probability {1 / left:.10f} " if left > 1 else ""
        yield f"{chance}-j {names.endpoint(target)}"


def _endpoint(forward: Forward, names: "_Names", target: Target) -> Iterator[str]:
    # A pod that reaches itself through its Service would drop the answer to its own address.
    yield f"-s {target.ip} -j KUBE-MARK-MASQ"
    remember = f"-m recent --name {names.endpoint(target)} --set " if forward.affinity else ""
    address = f"[{target.ip}]" if forward.family == 6 else target.ip
    yield f"-p {forward.protocol} {remember}-m {forward.protocol} -j DNAT --to-destination {address}:{target.port}"


def _claims(forward: Forward, names: "_Names") -> Iterator[tuple[Place, str]]:
    cluster_ip = _to(forward, forward.cluster_ip)
    if forward.internal_targets:
        yield Place("nat KUBE-SERVICES", cluster_ip), f"-j {names.service}"
    else:
        yield Place("filter KUBE-SERVICES", cluster_ip), _refusal(forward)
    for ip in forward.external_ips + forward.load_balancer_ips:
        guarded = bool(forward.source_ranges) and ip in forward.load_balancer_ips
        if forward.cluster:
            chain = names.firewall if guarded else names.external
            yield Place("nat KUBE-SERVICES", _to(forward, ip)), f"-j {chain}"
            if guarded:
                yield Place("filter KUBE-PROXY-FIREWALL", _to(forward, ip)), "-j DROP"
        if not forward.external_targets:
            yield Place("filter KUBE-EXTERNAL-SERVICES", _to(forward, ip)), _refusal(forward)
    if forward.node_port:
        port = f"-p {forward.protocol} -m {forward.protocol} --dport {forward.node_port}"
        if forward.cluster:
            yield Place("nat KUBE-NODEPORTS", port), f"-j {names.external}"
        if not forward.external_targets:
            place = f"-m addrtype --dst-type LOCAL {port}"
            yield Place("filter KUBE-EXTERNAL-SERVICES", place), _refusal(forward)


def _refusal(forward: Forward) -> str:
    return "-j DROP" if forward.cluster else "-j REJECT"


def _to(forward: Forward, ip: str) -> str:
    length = 128 if forward.family == 6 else 32
    return f"-d {ip}/{length} -p {forward.protocol} -m {forward.protocol} --dport {forward.port}"


class _Names:
    """The names of one forward's chains; a name has room for 28 characters."""

    def __init__(self, forward: Forward) -> None:
        self.identity = f"{forward.name}{forward.protocol}"
        short = digest(self.identity, 16)
        self.service, self.local = f"KUBE-SVC-{short}", f"KUBE-SVL-{short}"
        self.external, self.firewall = f"KUBE-EXT-{short}", f"KUBE-FW-{short}"
        self.cluster = f"KUBE-SVX-{short}"

    def endpoint(self, target: Target) -> str:
        return f"KUBE-SEP-{digest(f'{self.identity}{target.ip}:{target.port}', 16)}"


def script(difference: Difference) -> str:
    """The difference for iptables-restore --noflush. A chain that is declared is emptied, in the same transaction."""
    nat = [f":{name} - [0:0]" for name in (*difference.chains, *difference.gone_chains)]
    nat += _claim_lines("nat", difference)
    nat += [f"-A {name} {rule}" for name, rules in difference.chains.items() for rule in rules]
    nat += [f"-X {name}" for name in sorted(difference.gone_chains)]
    return _sections({"nat": nat, "filter": _claim_lines("filter", difference)})


def _claim_lines(table: str, difference: Difference) -> list[str]:
    lines = []
    for verb, claims in (("-D", difference.gone_claims), ("-I", difference.new_claims)):
        for place, value in claims.items():
            in_table, _, chain = place.container.partition(" ")
            if in_table == table:
                lines.append(f"{verb} {chain} {place.key} {value}")
    return lines


def full(family: int, settings: Settings, difference: Difference, present: str) -> str:
    """Everything at once, given what iptables-save shows: our chains are emptied and filled, stale ones removed."""
    sections: dict[str, list[str]] = {}
    for table, shared in SHARED.items():
        chains, rules = _present(present, table)
        wanted = {*shared, *(difference.chains if table == "nat" else ())}
        stale = sorted(name for name in chains - wanted if _is_ours(name))
        lines = [f":{name} - [0:0]" for name in (*sorted(wanted), *stale)]
        for chain, rule in JUMPS[table]:
            if not any(_same(f"-A {chain} {rule}", other) for other in rules):
                lines.append(f"-I {chain} {rule}")
        lines += [f"-A {chain} {rule}" for chain, rule in base_rules(table, family, settings)]
        lines += _claim_lines(table, difference)
        if table == "nat":
            lines += [f"-A {name} {rule}" for name, body in difference.chains.items() for rule in body]
        lines += [f"-X {name}" for name in stale]
        sections[table] = lines
    return _sections(sections)


def removal(present: str) -> str:
    """What takes all of it away again, given what iptables-save shows."""
    sections: dict[str, list[str]] = {}
    for table in SHARED:
        chains, rules = _present(present, table)
        ours = sorted(name for name in chains if _is_ours(name))
        jumps = [rule for rule in rules if _target(rule) in ours and rule.split()[1] not in ours]
        sections[table] = [
            *(f":{name} - [0:0]" for name in ours),
            *(f"-D {rule[3:]}" for rule in jumps),
            *(f"-X {name}" for name in ours),
        ]
    return _sections(sections)


def _is_ours(name: str) -> bool:
    ours = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-SVX-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")
    return name.startswith(ours) or any(name in shared for shared in SHARED.values())


def _present(saved: str, table: str) -> tuple[set[str], list[str]]:
    chains, rules, current = set(), [], ""
    for line in saved.splitlines():
        if line.startswith("*"):
            current = line[1:].strip()
        elif current == table and line.startswith(":"):
            chains.add(line[1:].split()[0])
        elif current == table and line.startswith("-A"):
            rules.append(line)
    return chains, rules


def _same(rule: str, other: str) -> bool:
    return shlex.split(rule) == shlex.split(other)


def _target(rule: str) -> str:
    words = shlex.split(rule)
    return words[words.index("-j") + 1] if "-j" in words else ""


def _sections(sections: dict[str, Iterable[str]] | dict[str, list[str]]) -> str:
    lines: list[str] = []
    for table, body in sections.items():
        if body:
            lines += [f"*{table}", *body, "COMMIT"]
    return "\n".join([*lines, ""]) if lines else ""
