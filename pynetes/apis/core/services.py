"""Service: one stable address in front of pods. Addresses and node ports are allocated by the API server's registry."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _service_validation
from pynetes.machinery import cells, inet
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_AFFINITY_SECONDS = 10800


def default(obj: Object) -> None:
    """Fill in type, affinity, traffic policies and ports."""
    spec = obj.get("spec")
    if (spec or {}).get("type") in (None, "LoadBalancer"):
        # Also of a status that comes alone; whether the Service may have a balancer is checked behind this.
        for item in ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
            if item.get("ip"):
                item.setdefault("ipMode", "VIP")
    if spec is None:
        return
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.setdefault("sessionAffinityConfig", {})
        config.setdefault("clientIP", {}).setdefault("timeoutSeconds", _AFFINITY_SECONDS)
    kind = spec.setdefault("type", "ClusterIP")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)


def _cluster_ip(obj: Object, _: datetime) -> str:
    return obj["spec"].get("clusterIP") or "<none>"


def balancer_addresses(obj: Object) -> list[str]:
    """Where the balancer of a Service or an Ingress answers: each once, in order."""
    ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return sorted({item.get("ip") or item.get("hostname") or "" for item in ingress} - {""})


def _external_ip(obj: Object, _: datetime) -> str:
    spec = obj["spec"]
    given = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName") or "<none>")
        case "LoadBalancer":
            return ",".join(balancer_addresses(obj) + given) or "<pending>"
        case _:
            return ",".join(given) or "<none>"


def _ports(obj: Object, _: datetime) -> str:
    texts = [
        f"{port['port']}:{port['nodePort']}/{port.get('protocol', 'TCP')}"
        if port.get("nodePort")
        else f"{port['port']}/{port.get('protocol', 'TCP')}"
        for port in obj["spec"].get("ports") or ()
    ]
    return ",".join(texts) or "<none>"


_reset = _workload.reset_status({"loadBalancer": {}})
_EXTERNAL = ("NodePort", "LoadBalancer")


def prepare(new: Object, old: Object | None) -> None:
    """Reset the status; keep what was allocated where the client leaves it out, so that a replaced Service keeps its
    address; what only the old type needed goes with the type, unless the client set it anew."""
    _reset(new, old)
    if old is None:
        return
    before, after = old["spec"], new["spec"]
    if "ExternalName" not in (before.get("type"), after.get("type")):
        _keep_addresses(after, before)
    _match_addresses(after, before)
    if after.get("type") == "ExternalName" != before.get("type"):
        _drop_unchanged(after, before, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
    if before.get("type") in _EXTERNAL and after.get("type") in _EXTERNAL:
        _keep_ports(after, before)
    if before.get("type") in _EXTERNAL and after.get("type") not in _EXTERNAL:
        _drop_unchanged(after, before, "externalTrafficPolicy", "healthCheckNodePort")
        for port, previous in zip(after.get("ports") or (), before.get("ports") or (), strict=False):
            _drop_unchanged(port, previous, "nodePort")
    if _has_health_check(before) and not _has_health_check(after):
        _drop_unchanged(after, before, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and after.get("type") != "LoadBalancer":
        _drop_unchanged(after, before, "allocateLoadBalancerNodePorts", "loadBalancerClass")


def _has_health_check(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _keep_addresses(new: Object, old: Object) -> None:
    """A client that leaves the addresses out keeps them; one that knows of one address only speaks for the list."""
    if not new.get("clusterIP"):
        _keep(new, old, "clusterIP")
    if not new.get("clusterIPs") and new.get("clusterIP") == old.get("clusterIP"):
        _keep(new, old, "clusterIPs")


def _match_addresses(new: Object, old: Object) -> None:
    now, then = new.get("clusterIP"), old.get("clusterIP")
    if not new.get("clusterIPs") and now == then:
        _keep(new, old, "clusterIPs")
    if now != then and (new.get("clusterIPs") or []) == (old.get("clusterIPs") or []):
        new["clusterIPs"] = [now] if now else []
        if not now:
            del new["clusterIPs"]


def _keep(new: Object, old: Object, *members: str) -> None:
    for member in members:
        if not new.get(member) and old.get(member):
            new[member] = old[member]


def _keep_ports(new: Object, old: Object) -> None:
    """A port keeps its number by its name, unless another one has taken that."""
    numbers = {port.get("name") or "": port.get("nodePort") for port in old.get("ports") or ()}
    used = {port.get("nodePort") for port in new.get("ports") or ()} & set(numbers.values())
    for port in new.get("ports") or ():
        number = numbers.get(port.get("name") or "")
        if number and not port.get("nodePort") and number not in used:
            port["nodePort"] = number
            used.add(number)
    if _has_health_check(new):
        _keep(new, old, "healthCheckNodePort")


def _drop_unchanged(new: Object, old: Object, *members: str) -> None:
    for member in members:
        if member in new and new[member] == old.get(member):
            del new[member]


def warnings(new: Object, old: Object | None) -> list[str]:
    """Settings that are old, or that do nothing beside others."""
    annotations, spec = new["metadata"].get("annotations") or {}, new["spec"]
    external, kind = spec.get("externalIPs"), spec.get("type")
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    clusters = [] if spec.get("clusterIP") in (None, "", "None") else spec.get("clusterIPs") or []
    found = {
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
        "please use service.kubernetes.io/topology-mode instead": (
            "service.kubernetes.io/topology-aware-hints" in annotations
        ),
        **_odd(clusters, "spec.clusterIPs"),
        "spec.loadBalancerIP is ignored for headless services": headless and spec.get("loadBalancerIP"),
        "spec.externalIPs is ignored for headless services": headless and external,
        "spec.SessionAffinity is ignored for headless services": headless and spec.get("sessionAffinity") != "None",
        **_odd(external or [], "spec.externalIPs"),
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters": (
            external and not headless and kind != "ExternalName"
        ),
        **dict.fromkeys(inet.ip_warnings(spec.get("loadBalancerIP") or "", "spec.loadBalancerIP"), True),
        **dict.fromkeys(_odd_blocks(spec), True),
        'spec.externalIPs is ignored when spec.type is "ExternalName"': external and kind == "ExternalName",
        'spec.externalName is ignored when spec.type is not "ExternalName"': (
            spec.get("externalName") and kind != "ExternalName"
        ),
        'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"': (
            spec.get("trafficDistribution") == "PreferClose"
        ),
    }
    return [text for text, applies in found.items() if applies]


def _odd(addresses: list[str], path: str) -> dict[str, bool]:
    """Addresses that are written in another way than others."""
    return {text: True for index, each in enumerate(addresses) for text in inet.ip_warnings(each, f"{path}[{index}]")}


def _odd_blocks(spec: Object) -> Iterator[str]:
    for index, block in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        yield from inet.cidr_warnings(block, f"spec.loadBalancerSourceRanges[{index}]")


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    storage_prefix="services/specs",
    subresources=("proxy", "status"),
    name_rule="dns-label",
    generation=False,
    fields={"spec.clusterIP": ".spec.clusterIP", "spec.type": ".spec.type"},
    default=default,
    prepare=prepare,
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Type", ".spec.type"),
        Column("Cluster-IP", _cluster_ip),
        Column("External-IP", _external_ip),
        Column("Port(s)", _ports),
        Column.AGE,
        Column("Selector", cells.label_map(".spec.selector"), wide=True),
    ),
    validate=_service_validation.validate,
    validate_status=_service_validation.validate_status,
    warnings=warnings,
)
