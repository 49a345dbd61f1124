"""Service: one stable address in front of pods. Addresses and node ports are allocated by the API server's registry."""

import ipaddress
from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_AFFINITY_SECONDS = 10800


def default(obj: Object) -> None:
    """Fill in type, affinity, traffic policies and ports."""
    spec = obj.get("spec")
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


def _external_ip(obj: Object, _: datetime) -> str:
    spec = obj["spec"]
    given = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ExternalName":
            return str(spec.get("externalName") or "<none>")
        case "LoadBalancer":
            ingress = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
            addresses = [item.get("ip") or item.get("hostname") or "" for item in ingress]
            return ",".join(addresses + given) or "<pending>"
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


_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_AFFINITY_LIMIT = 86400


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
    if before.get("type") in _EXTERNAL and after.get("type") in _EXTERNAL:
        _keep_ports(after, before)
    if before.get("type") in _EXTERNAL and after.get("type") not in _EXTERNAL:
        _drop_unchanged(after, before, "externalTrafficPolicy", "healthCheckNodePort")
        for port, previous in zip(after.get("ports") or (), before.get("ports") or (), strict=False):
            _drop_unchanged(port, previous, "nodePort")
    if before.get("type") == "LoadBalancer" and after.get("type") != "LoadBalancer":
        _drop_unchanged(after, before, "allocateLoadBalancerNodePorts", "loadBalancerClass")


def _keep_addresses(new: Object, old: Object) -> None:
    if not new.get("clusterIP") and not new.get("clusterIPs"):
        _keep(new, old, "clusterIP", "clusterIPs")
    elif new.get("clusterIP") == old.get("clusterIP"):
        _keep(new, old, "clusterIPs")
    _keep(new, old, "ipFamilies", "ipFamilyPolicy")


def _keep(new: Object, old: Object, *members: str) -> None:
    for member in members:
        if not new.get(member) and old.get(member):
            new[member] = old[member]


def _keep_ports(new: Object, old: Object) -> None:
    numbers = {(port.get("protocol"), port["port"]): port.get("nodePort") for port in old.get("ports") or ()}
    used = {port.get("nodePort") for port in new.get("ports") or ()}
    for port in new.get("ports") or ():
        number = numbers.get((port.get("protocol"), port.get("port")))
        if number and not port.get("nodePort") and number not in used:
            port["nodePort"] = number
    if new.get("type") == "LoadBalancer" and new.get("externalTrafficPolicy") == "Local":
        _keep(new, old, "healthCheckNodePort")


def _drop_unchanged(new: Object, old: Object, *members: str) -> None:
    for member in members:
        if member in new and new[member] == old.get(member):
            del new[member]


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Ports, type, addresses and policies; the allocators check the ranges."""
    spec = new["spec"]
    kind, headless = spec.get("type", ""), spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield field.required("spec.ports")
    yield from validation.one_of(kind, "spec.type", _TYPES)
    yield from _validate_ports(spec)
    yield from validation.label_map(spec.get("selector"), "spec.selector")
    if kind == "ExternalName":
        yield from validation.checked(spec.get("externalName", ""), "spec.externalName", names.dns_subdomain)
    yield from _affinity(spec)
    yield from _addresses(spec)
    if kind in ("ClusterIP", "ExternalName") and spec.get("externalTrafficPolicy") and not spec.get("externalIPs"):
        detail = "may only be set for externally-accessible services"
        yield field.invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], detail)
    if old is not None:
        yield from _unchanged(spec, old["spec"])


def _validate_ports(spec: Object) -> Iterator[field.Error]:
    ports = spec.get("ports") or ()
    names_seen: set[str] = set()
    seen: set[tuple[object, object]] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            yield field.required(f"{path}.name")
        elif name:
            yield from validation.checked(name, f"{path}.name", names.dns_label)
            if name in names_seen:
                yield field.duplicate(f"{path}.name", name)
            names_seen.add(name)
        yield from validation.port(port.get("port", 0), f"{path}.port")
        yield from validation.one_of(port.get("protocol"), f"{path}.protocol", _PROTOCOLS)
        if spec.get("type") != "ExternalName":
            yield from validation.port(port.get("targetPort", 0), f"{path}.targetPort")
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            yield field.duplicate(
                path,
                {
                    "Name": "",
                    "Protocol": key[0],
                    "AppProtocol": None,
                    "Port": key[1],
                    "TargetPort": 0,
                    "NodePort": 0,
                },
            )
        seen.add(key)


def _affinity(spec: Object) -> Iterator[field.Error]:
    affinity = spec.get("sessionAffinity")
    yield from validation.one_of(affinity, "spec.sessionAffinity", ("ClientIP", "None"))
    seconds = ((spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}).get("timeoutSeconds")
    if affinity == "ClientIP" and seconds is not None and not 0 < seconds <= _AFFINITY_LIMIT:
        detail = f"must be greater than 0 and less than {_AFFINITY_LIMIT}"
        yield field.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, detail)


def _addresses(spec: Object) -> Iterator[field.Error]:
    given = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    if given and spec.get("clusterIP") and given[0] != spec["clusterIP"]:
        yield field.invalid("spec.clusterIPs", given, "first value must match `clusterIP`")
    for index, address in enumerate(given):
        if address not in ("None", ""):
            yield from validation.checked(address, f"spec.clusterIPs[{index}]", names.ip)
    for index, address in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        if texts := names.ip(address):
            yield from (field.invalid(path, address, text) for text in texts)
        elif ipaddress.ip_address(address).is_loopback:
            yield field.invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    kept = "ExternalName" not in (new.get("type"), old.get("type"))
    before, after = old.get("clusterIPs") or [], new.get("clusterIPs") or []
    if kept and before and after[:1] != before[:1]:
        yield field.invalid("spec.clusterIPs[0]", after or None, "may not change once set")
    balanced = old.get("type") == new.get("type") == "LoadBalancer"
    before, after = old.get("loadBalancerClass"), new.get("loadBalancerClass")
    if balanced and before is not None and after != before:
        yield field.invalid("spec.loadBalancerClass", after, "may not change once set")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Settings that are old, or that do nothing beside others."""
    annotations, spec = new["metadata"].get("annotations") or {}, new["spec"]
    external, kind = spec.get("externalIPs"), spec.get("type")
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    found = {
        "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
        "please use service.kubernetes.io/topology-mode instead": (
            "service.kubernetes.io/topology-aware-hints" in annotations
        ),
        "spec.loadBalancerIP is ignored for headless services": headless and spec.get("loadBalancerIP"),
        "spec.externalIPs is ignored for headless services": headless and external,
        "spec.SessionAffinity is ignored for headless services": headless and spec.get("sessionAffinity") != "None",
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters": (
            external and not headless and kind != "ExternalName"
        ),
        'spec.externalIPs is ignored when spec.type is "ExternalName"': external and kind == "ExternalName",
        'spec.externalName is ignored when spec.type is not "ExternalName"': (
            spec.get("externalName") and kind != "ExternalName"
        ),
        'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"': (
            spec.get("trafficDistribution") == "PreferClose"
        ),
    }
    return [text for text, applies in found.items() if applies]


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
    validate=validate,
    warnings=warnings,
)
