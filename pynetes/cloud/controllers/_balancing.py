"""From a Service and the nodes to the balancer it wants: pure functions."""

import ipaddress
from collections.abc import Iterable, Sequence

from pynetes.cloud import names
from pynetes.cloud.controllers.node import is_new
from pynetes.cloud.provider import Balancer, Health, Listener, Refused, Target, balancer_name
from pynetes.machinery.meta import Object, is_deleting, key_of, uid_of

#: Where kube-proxy says whether a node can take traffic at all.
PROXY_HEALTH = Health(10256, "/healthz")
EVERYONE = "0.0.0.0/0"


def wants(service: Object) -> bool:
    """Whether the Service asks this cloud for a balancer; one with a class belongs to another implementation."""
    spec = service["spec"]
    return spec.get("type") == "LoadBalancer" and not spec.get("loadBalancerClass") and not is_deleting(service)


def has_finalizer(service: Object) -> bool:
    """Whether there may be a balancer to remove before the Service may go."""
    return names.CLEANUP in (service["metadata"].get("finalizers") or ())


def source_ranges(service: Object) -> tuple[str, ...]:
    """Who may connect, sorted; () for everyone. Raises Refused on what is no network."""
    listed = service["spec"].get("loadBalancerSourceRanges")
    if not listed:
        text = (service["metadata"].get("annotations") or {}).get(names.SOURCE_RANGES, "")
        listed = [part for part in text.split(",") if part.strip()]
    try:
        found = {str(ipaddress.ip_network(part.strip(), strict=False)) for part in listed}
    except ValueError as error:
        raise Refused(f"spec.loadBalancerSourceRanges: {error}; write networks as 10.0.0.0/24") from None
    return () if EVERYONE in found else tuple(sorted(found))


def may_serve(node: Object) -> bool:
    """Whether balancers send to the node: its cloud knows it, and nobody has taken it out.

    Readiness does not count: balancers ask nodes themselves, and a control plane that is cut off must not empty them
    (KEP-3458)."""
    spec, labels = node["spec"], node["metadata"].get("labels") or {}
    taints = {taint["key"] for taint in spec.get("taints") or ()}
    return (
        bool(spec.get("providerID"))
        and not is_new(node)
        and not is_deleting(node)
        and names.EXCLUDE_FROM_BALANCERS not in labels
        and names.TO_BE_DELETED not in taints
    )


def targets(nodes: Iterable[Object]) -> tuple[Target, ...]:
    """The nodes that balancers send to, by name."""
    return tuple(sorted(_target(node) for node in nodes if may_serve(node) and _internal_ip(node)))


def _target(node: Object) -> Target:
    instance = node["spec"]["providerID"].rpartition("/")[2]
    return Target(node["metadata"]["name"], instance, _internal_ip(node))


def _internal_ip(node: Object) -> str:
    addresses = (node.get("status") or {}).get("addresses") or ()
    return next((each["address"] for each in addresses if each["type"] == "InternalIP"), "")


def balancer(service: Object, nodes: Sequence[Target]) -> Balancer:
    """What the Service wants. Raises Refused on what no cloud could do."""
    spec = service["spec"]
    ports = spec.get("ports") or ()
    without = [str(port["port"]) for port in ports if not port.get("nodePort")]
    if without:
        text = f"port {', '.join(without)} has no node port: set spec.allocateLoadBalancerNodePorts to true"
        raise Refused(text)
    local = spec.get("externalTrafficPolicy") == "Local"
    health = Health(spec["healthCheckNodePort"], "/healthz") if local and spec.get("healthCheckNodePort") else None
    return Balancer(
        name=balancer_name(uid_of(service)),
        service=key_of(service),
        listeners=tuple(
            Listener(port.get("name") or "", port.get("protocol") or "TCP", port["port"], port["nodePort"])
            for port in ports
        ),
        targets=tuple(nodes),
        health=health or PROXY_HEALTH,
        source_ranges=source_ranges(service),
        sticky=spec.get("sessionAffinity") == "ClientIP",
        local=local,
        address=spec.get("loadBalancerIP") or "",
        annotations=service["metadata"].get("annotations") or {},
    )


def ingress_of(service: Object) -> list[Object]:
    """status.loadBalancer.ingress."""
    return list(((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ())
