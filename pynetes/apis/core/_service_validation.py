"""What Services may not be; the allocators check what only they know: ranges, and what is taken."""

import ipaddress
from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_FAMILIES, _FAMILY_POLICIES = ("IPv4", "IPv6"), ("PreferDualStack", "RequireDualStack", "SingleStack")
_TRAFFIC_POLICIES, _DISTRIBUTIONS = ("Cluster", "Local"), ("PreferClose", "PreferSameNode", "PreferSameZone")
_AFFINITY_LIMIT = 86400
_IP_MODES = ("Proxy", "VIP")
_TOPOLOGY_MODE, _TOPOLOGY_HINTS = "service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"
_RANGES_ANNOTATION = "service.beta.kubernetes.io/load-balancer-source-ranges"
_FIXED = "may not change once set"
_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def validate(new: Object, old: Object | None) -> Errors:
    """Ports, type, addresses and policies."""
    if old is not None:
        yield from _unchanged(new["spec"], old["spec"])
    spec, annotations = new["spec"], new["metadata"].get("annotations") or {}
    kind, headless = spec.get("type", ""), spec.get("clusterIP") == "None"
    mode, hints = annotations.get(_TOPOLOGY_MODE), annotations.get(_TOPOLOGY_HINTS)
    if mode is not None and hints is not None and mode != hints:
        detail = f"must match annotations[{_TOPOLOGY_HINTS}] when both are specified"
        yield field.invalid(f"metadata.annotations[{_TOPOLOGY_MODE}]", mode, detail)
    if not spec.get("ports") and not headless and kind != "ExternalName":
        yield field.required("spec.ports")
    yield from _by_type(spec, kind, headless=headless)
    yield from _ports(spec)
    yield from validation.label_map(spec.get("selector"), "spec.selector")
    yield from _affinity(spec)
    if kind != "ExternalName":
        yield from related_addresses(spec)
    yield from _external_ips(spec)
    yield from validation.one_of(kind, "spec.type", _TYPES)
    yield from _taken_twice(spec, kind)
    yield from _load_balancer(spec, kind)
    if not spec.get("loadBalancerSourceRanges"):
        yield from _annotated_ranges(annotations, kind)
    yield from _policies(spec, kind)


def validate_status(new: Object, old: Object | None) -> Errors:
    """Where a load balancer is: only of such Services, addresses and names that are ones."""
    kind, path = new["spec"].get("type"), "status.loadBalancer.ingress"
    found = ((new.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    before = (((old or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    if found and kind != "LoadBalancer":
        yield field.forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")
        return
    known = [item.get("ip") for item in before]
    for index, item in enumerate(found):
        yield from _ingress(item, f"{path}[{index}]", known)


def _ingress(item: Object, path: str, known: list[Any]) -> Errors:
    address, mode, host = item.get("ip"), item.get("ipMode"), item.get("hostname")
    if address and address not in known:
        yield from validation.checked(address, f"{path}.ip", inet.ip)
    if mode is None and address:
        yield field.required(f"{path}.ipMode", "must be specified when `ip` is set")
    elif mode is not None and not address:
        yield field.forbidden(f"{path}.ipMode", "may not be specified when `ip` is not set")
    elif mode is not None and mode not in _IP_MODES:
        yield field.not_supported(f"{path}.ipMode", mode, _IP_MODES)
    if host:
        yield from validation.checked(host, f"{path}.hostname", names.dns_subdomain)
        if not inet.ip(host):
            yield field.invalid(f"{path}.hostname", host, "must be a DNS name, not an IP address")


def _annotated_ranges(annotations: Object, kind: str) -> Errors:
    text = annotations.get(_RANGES_ANNOTATION)
    if text is None:
        return
    path = f"metadata.annotations[{_RANGES_ANNOTATION}]"
    if kind != "LoadBalancer":
        yield field.forbidden(path, _BALANCED)
    for part in text.strip().split(",") if text.strip() else ():
        yield from validation.checked(part.strip(), path, inet.cidr)


def _by_type(spec: Object, kind: str, *, headless: bool) -> Errors:
    if kind in ("LoadBalancer", "NodePort") and headless:
        yield field.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")
    if kind == "ExternalName":
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name) or (name == "clusterIPs" and spec.get("clusterIP")):
                yield field.forbidden(f"spec.{name}", "may not be set for ExternalName services")
        target = (spec.get("externalName") or "").removesuffix(".")
        if not target:
            yield field.required("spec.externalName")
        else:
            yield from validation.checked(target, "spec.externalName", names.dns_subdomain)


def _ports(spec: Object) -> Errors:
    ports = spec.get("ports") or ()
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"spec.ports[{index}]", port.get("name", "")
        if not name and len(ports) > 1:
            yield field.required(f"{path}.name")
        elif name:
            yield from validation.checked(name, f"{path}.name", names.dns_label)
            if name in seen:
                yield field.duplicate(f"{path}.name", name)
            seen.add(name)
        yield from validation.port(port.get("port", 0), f"{path}.port")
        yield from validation.one_of(port.get("protocol"), f"{path}.protocol", _PROTOCOLS)
        yield from validation.port(port.get("targetPort", 0), f"{path}.targetPort")
        if (protocol := port.get("appProtocol")) is not None:
            yield from validation.checked(protocol, f"{path}.appProtocol", names.qualified_name)


def _affinity(spec: Object) -> Errors:
    affinity, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    yield from validation.one_of(affinity, "spec.sessionAffinity", ("ClientIP", "None"))
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if affinity == "ClientIP" and seconds is not None and not 0 < seconds <= _AFFINITY_LIMIT:
        detail = f"must be greater than 0 and less than {_AFFINITY_LIMIT}"
        yield field.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, detail)
    elif affinity == "None" and config is not None:
        yield field.forbidden("spec.sessionAffinityConfig", "must not be set when session affinity is None")


def related_addresses(spec: Object) -> Errors:
    """Families, and addresses that fit them. What is wrong with one address hides what is wrong between them."""
    one, given, asked = spec.get("clusterIP"), spec.get("clusterIPs") or [], spec.get("ipFamilies") or ()
    if one and given and given[0] != one:
        yield field.invalid("spec.clusterIPs", given, "first value must match `clusterIP`")
    elif given and not one:
        yield field.invalid("spec.clusterIPs", given, "must be empty when `clusterIP` is not specified")
    for index, family in enumerate(asked):
        if family not in _FAMILIES:
            yield field.not_supported(f"spec.ipFamilies[{index}]", family, _FAMILIES)
        if family in asked[:index]:
            yield field.duplicate(f"spec.ipFamilies[{index}]", family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        yield field.not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES)
    given = given or ([one] if one else [])
    wrong = list(_each_address(given))
    yield from wrong
    if len(given) > len(_FAMILIES):
        yield field.invalid("spec.clusterIPs", given, "may only hold up to 2 values")
    if wrong or "None" in given:
        return
    versions = [f"IPv{ipaddress.ip_address(address).version}" for address in given]
    if len(given) == len(_FAMILIES) and len(set(versions)) == 1:
        yield field.invalid("spec.clusterIPs", given, "may specify no more than one IP for each IP family")
        return
    for index, (address, found, family) in enumerate(zip(given, versions, asked, strict=False)):
        if found != family and family in _FAMILIES:
            detail = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            yield field.invalid(f"spec.clusterIPs[{index}]", address, detail)


def _each_address(given: list[str]) -> Errors:
    for index, address in enumerate(given):
        if index == 0 and address == "None":
            if len(given) > 1:
                yield field.invalid("spec.clusterIPs", given, "'None' must be the first and only value")
        else:
            yield from validation.checked(address, f"spec.clusterIPs[{index}]", inet.ip)


def _external_ips(spec: Object) -> Errors:
    for index, text in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{index}]"
        if texts := inet.ip(text):
            yield from (field.invalid(path, text, why) for why in texts)
            continue
        address = inet.parse(text)
        assert address is not None
        for applies, range_ in (
            (address.is_unspecified, f"may not be unspecified ({text})"),
            (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
            (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
            (_is_local_multicast(address), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
        ):
            if applies:
                yield field.invalid(path, text, range_)


def _is_local_multicast(address: Any) -> bool:
    return address in ipaddress.ip_network("224.0.0.0/24" if address.version == 4 else "ff02::/16")


def _taken_twice(spec: Object, kind: str) -> Errors:
    ports = spec.get("ports") or ()
    for index, port in enumerate(ports):
        if kind == "ClusterIP" and port.get("nodePort"):
            yield field.forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
    numbers: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("nodePort"))
        if key[1] and key in numbers:
            yield field.duplicate(f"spec.ports[{index}].nodePort", key[1])
        numbers.add(key)
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            shown = {"Name": "", "Protocol": key[0], "AppProtocol": None, "Port": key[1]}
            yield field.duplicate(f"spec.ports[{index}]", {**shown, "TargetPort": 0, "NodePort": 0})
        seen.add(key)


def _load_balancer(spec: Object, kind: str) -> Errors:
    balanced = kind == "LoadBalancer"
    if ranges := spec.get("loadBalancerSourceRanges"):
        # Upstream's own spelling.
        path = "spec.LoadBalancerSourceRanges"
        if not balanced:
            yield field.forbidden(path, _BALANCED)
        for index, text in enumerate(ranges):
            yield from validation.checked(text.strip(), f"{path}[{index}]", inet.cidr)
    if spec.get("allocateLoadBalancerNodePorts") is not None and not balanced:
        yield field.forbidden("spec.allocateLoadBalancerNodePorts", _BALANCED)
    yield from _balancer_class(spec)


def _balancer_class(spec: Object) -> Errors:
    if (name := spec.get("loadBalancerClass")) is None:
        return
    if spec.get("type") == "LoadBalancer":
        yield from validation.checked(name, "spec.loadBalancerClass", names.qualified_name)
    else:
        yield field.forbidden("spec.loadBalancerClass", _BALANCED)


def _policies(spec: Object, kind: str) -> Errors:
    policy, port = spec.get("externalTrafficPolicy"), spec.get("healthCheckNodePort")
    if kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and spec.get("externalIPs")):
        yield from validation.one_of(policy, "spec.externalTrafficPolicy", _TRAFFIC_POLICIES)
    elif policy:
        detail = "may only be set for externally-accessible services"
        yield field.invalid("spec.externalTrafficPolicy", policy, detail)
    if port and not (kind == "LoadBalancer" and policy == "Local"):
        detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        yield field.invalid("spec.healthCheckNodePort", port, detail)
    inner, spread = spec.get("internalTrafficPolicy"), spec.get("trafficDistribution")
    if inner is not None and inner not in _TRAFFIC_POLICIES:
        yield field.not_supported("spec.internalTrafficPolicy", inner, _TRAFFIC_POLICIES)
    if spread is not None and spread not in _DISTRIBUTIONS:
        yield field.not_supported("spec.trafficDistribution", spread, _DISTRIBUTIONS)


def _unchanged(new: Object, old: Object) -> Errors:
    kept = "ExternalName" not in (new.get("type"), old.get("type"))
    before, after = old.get("clusterIPs") or [], new.get("clusterIPs") or []
    if kept and len(before) == len(after):
        for index, address in enumerate(before):
            if after[index] != address:
                yield field.invalid(f"spec.clusterIPs[{index}]", after, _FIXED)
    elif kept and before and after[:1] != before[:1]:
        yield field.invalid("spec.clusterIPs[0]", after or None, _FIXED)
    yield from _class_changed(new, old)
    if _health_checked(new) and _health_checked(old):
        number = new.get("healthCheckNodePort")
        if number and number != old.get("healthCheckNodePort"):
            yield field.forbidden("spec.healthCheckNodePort", "field is immutable")


def _class_changed(new: Object, old: Object) -> Errors:
    """A load balancer's class is chosen when the Service becomes one."""
    before, after = old.get("loadBalancerClass"), new.get("loadBalancerClass")
    if old.get("type") == new.get("type") == "LoadBalancer" and after != before:
        yield field.invalid("spec.loadBalancerClass", after, _FIXED)
    # Upstream looks at it twice, here and among the rest.
    yield from _balancer_class(new)


def _health_checked(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def families_changed(new: Object, old: Object) -> Errors:
    """The first family stays, the second may come and go. Of Services without addresses all may change."""
    headless = "None" in (new.get("clusterIP"), old.get("clusterIP"))
    if headless or "ExternalName" in (new.get("type"), old.get("type")):
        return
    before, after = old.get("ipFamilies") or [], new.get("ipFamilies") or []
    same = len(before) == len(after)
    for one, other in zip(before if same else before[:1], after, strict=False):
        if one != other:
            yield field.invalid("spec.ipFamilies[0]", after if same else new.get("clusterIPs"), _FIXED)
