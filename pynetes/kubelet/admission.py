"""Whether a pod that is bound to this node fits it: what another scheduler, or none at all, may have got wrong.

A refused pod fails with phase Failed and the reason; controllers then make another one.
"""

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from pynetes.kubelet import podspec, qos
from pynetes.kubelet.cm import resources
from pynetes.kubelet.eviction import ranking
from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

#: Settings that are a pod's own on every kernel that is supported.
SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    )
)


class Refusal(NamedTuple):
    """Why a pod may not run here."""

    reason: str
    message: str


def admit(
    pod: Object, others: Iterable[Object], node: Object, allocatable: Object, *, sysctls: Collection[str] = ()
) -> Refusal | None:
    """None when the pod may run beside the others, which are the active pods of the node.

    sysctls: what --allowed-unsafe-sysctls allows beside the safe ones."""
    others = [one for one in others if one["metadata"]["uid"] != pod["metadata"]["uid"]]
    for check in (
        _selector(pod, node),
        _ports(pod, others),
        _taints(pod, node),
        _fits(pod, others, allocatable),
        _sysctls(pod, sysctls),
    ):
        if check:
            return check
    return None


def pressed(pod: Object, pressures: Collection[str]) -> Refusal | None:
    """Under pressure only what the node needs may come; short of memory alone, also what has asked for memory."""
    if not pressures or ranking.critical(pod):
        return None
    if set(pressures) == {"MemoryPressure"} and qos.of_pod(pod) != qos.BEST_EFFORT:
        return None
    return Refusal("Evicted", f"The node had condition: [{' '.join(sorted(pressures))}]. ")


def _sysctls(pod: Object, unsafe: Collection[str]) -> Refusal | None:
    """Only settings that are known to stay inside the pod: others would change the node, or starve its neighbours."""
    spec = pod["spec"]
    for item in (spec.get("securityContext") or {}).get("sysctls") or ():
        name = item["name"].replace("/", ".")
        known = name in SAFE_SYSCTLS or any(fnmatchcase(name, pattern) for pattern in unsafe)
        shared = (spec.get("hostNetwork") and name.startswith("net.")) or (
            spec.get("hostIPC") and name.startswith(("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue."))
        )
        if not known or shared:
            why = "not allowed with the node's namespace" if shared else "not allowlisted"
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{name}" {why}')
    return None


def _selector(pod: Object, node: Object) -> Refusal | None:
    wanted = pod["spec"].get("nodeSelector") or {}
    have = node["metadata"].get("labels") or {}
    matches = all(have.get(name) == value for name, value in wanted.items())
    affinity = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if matches and affinity:
        terms = affinity.get("nodeSelectorTerms") or ()
        matches = any(_term(term, node, have) for term in terms)
    if matches:
        return None
    return Refusal("NodeAffinity", "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector")


def _term(term: Object, node: Object, have: dict[str, str]) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    own = {"metadata.name": node["metadata"]["name"]}
    return all(_matches(one, have) for one in expressions) and all(_matches(one, own) for one in fields)


def _matches(expression: Object, values: dict[str, str]) -> bool:
    found, wanted = values.get(expression["key"]), expression.get("values") or []
    operator = expression["operator"]
    if operator in ("Gt", "Lt"):
        try:
            difference = int(found or "") - int(wanted[0])
        except (ValueError, IndexError):
            return False
        return difference > 0 if operator == "Gt" else difference < 0
    return {
        "In": found in wanted,
        "NotIn": found not in wanted,
        "Exists": found is not None,
        "DoesNotExist": found is None,
    }[operator]


def _taints(pod: Object, node: Object) -> Refusal | None:
    """Only NoExecute counts here: NoSchedule is the scheduler's affair."""
    for taint in node["spec"].get("taints") or ():
        if taint["effect"] == "NoExecute" and not any(
            _tolerates(one, taint) for one in pod["spec"].get("tolerations") or ()
        ):
            return Refusal("TaintToleration", "Predicate TaintToleration failed: node(s) had untolerated taint(s)")
    return None


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")


def _ports(pod: Object, others: Iterable[Object]) -> Refusal | None:
    taken = {port for other in others for port in host_ports(other)}
    for address, protocol, number in host_ports(pod):
        for other, other_protocol, other_number in taken:
            overlap = address == other or "0.0.0.0" in (address, other)
            if overlap and protocol == other_protocol and number == other_number:
                message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
                return Refusal("NodePorts", message)
    return None


def host_ports(pod: Object) -> Iterator[tuple[str, str, int]]:
    """Ports of the node that a pod takes: address, protocol, number."""
    sidecars = [one for one in podspec.inits(pod) if podspec.is_sidecar(one)]
    for container in [*podspec.regulars(pod), *sidecars]:
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port["containerPort"] if podspec.host_network(pod) else 0)
            if number:
                yield port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", number


def _fits(pod: Object, others: list[Object], allocatable: Object) -> Refusal | None:
    limit = quantity.parse(allocatable.get("pods", "0")).value()
    if len(others) + 1 > limit:
        message = f"Node didn't have enough resource: pods, requested: 1, used: {len(others)}, capacity: {limit}"
        return Refusal("OutOfpods", message)
    used: dict[str, int] = {}
    for other in others:
        for name, amount in _taken(other).items():
            used[name] = used.get(name, 0) + amount
    for name, asked in _taken(pod).items():
        have = quantity.parse(allocatable.get(name, "0")).milli()
        if asked and used.get(name, 0) + asked > have:
            unit = 1 if name == "cpu" else 1000
            message = (
                f"Node didn't have enough resource: {name}, requested: {asked // unit}, "
                f"used: {used.get(name, 0) // unit}, capacity: {have // unit}"
            )
            return Refusal(f"OutOf{name}", message)
    return None


def _taken(pod: Object) -> dict[str, int]:
    """What a pod takes of the node; extended resources that are claimed as devices are not of its count."""
    claimed = (pod.get("status") or {}).get("extendedResourceClaimStatus") or {}
    others = {one["resourceName"] for one in claimed.get("requestMappings") or ()}
    return {name: amount for name, amount in resources.pod_requests(pod).items() if name not in others}
