"""What should be forwarded: pure functions from a Service and its EndpointSlices to forwards, one per port and family.

The rules are those of the Service documentation and KEPs 1669 (proxy terminating endpoints), 2086 (internal traffic
policy), 1860 (ipMode) and 563 (dual stack).
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pynetes.machinery.meta import Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
#: Its presence hands a Service to another proxy.
PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"
DEFAULT_AFFINITY_SECONDS = 10800


class Target(NamedTuple):
    """Where a packet is sent to in the end."""

    ip: str
    port: int


class Endpoint(NamedTuple):
    """An endpoint as its slice describes it; local means on this node."""

    target: Target
    ready: bool
    serving: bool
    terminating: bool
    local: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """One port of a Service in one address family, ready to be turned into rules."""

    #: ns/name:port name (without the colon when the port has no name), as in upstream's comments.
    name: str
    namespace: str
    service: str
    port_name: str
    #: 4 or 6.
    family: int
    #: tcp, udp or sctp.
    protocol: str
    cluster_ip: str
    port: int
    external_ips: tuple[str, ...] = ()
    load_balancer_ips: tuple[str, ...] = ()
    #: Who may use the load balancer's addresses; empty means everyone.
    source_ranges: tuple[str, ...] = ()
    node_port: int = 0
    #: Seconds for which a client stays with its endpoint; 0 means it does not.
    affinity: int = 0
    #: Whether traffic from within the cluster, or from outside it, may only go to endpoints on this node.
    internal_local: bool = False
    external_local: bool = False
    #: Usable endpoints anywhere, and those of them on this node.
    cluster: tuple[Target, ...] = ()
    local: tuple[Target, ...] = ()
    health_check_node_port: int = 0

    @property
    def external(self) -> bool:
        """Whether it can be reached from outside the cluster at all."""
        return bool(self.external_ips or self.load_balancer_ips or self.node_port)

    @property
    def internal_targets(self) -> tuple[Target, ...]:
        """Where traffic to the cluster IP goes."""
        return self.local if self.internal_local else self.cluster

    @property
    def external_targets(self) -> tuple[Target, ...]:
        """Where traffic from outside goes."""
        return self.local if self.external_local else self.cluster


def family_of(address: str) -> int:
    """4 or 6."""
    return 6 if ":" in address else 4


def is_proxied(service: Object) -> bool:
    """Whether this proxy forwards for the Service at all: it has a cluster IP and no other proxy claims it."""
    spec, labels = service["spec"], service["metadata"].get("labels") or {}
    return (
        spec.get("type") != "ExternalName"
        and (spec.get("clusterIP") or "None") != "None"
        and PROXY_NAME_LABEL not in labels
    )


def forwards(service: Object, slices: Iterable[Object], *, node: str) -> Iterator[Forward]:
    """All forwards of a Service as this node needs them."""
    if not is_proxied(service):
        return
    slices = list(slices)
    spec = service["spec"]
    for address in spec.get("clusterIPs") or [spec["clusterIP"]]:
        for port in spec.get("ports") or ():
            endpoints = list(_endpoints(slices, port, family_of(address), node))
            yield _forward(service, port, address, endpoints)


def _forward(service: Object, port: Object, cluster_ip: str, endpoints: Sequence[Endpoint]) -> Forward:
    spec, metadata = service["spec"], service["metadata"]
    family, port_name = family_of(cluster_ip), port.get("name") or ""
    load_balanced = spec.get("type") == "LoadBalancer"
    return Forward(
        name=f"{metadata['namespace']}/{metadata['name']}" + (f":{port_name}" if port_name else ""),
        namespace=metadata["namespace"],
        service=metadata["name"],
        port_name=port_name,
        family=family,
        protocol=(port.get("protocol") or "TCP").lower(),
        cluster_ip=cluster_ip,
        port=port["port"],
        external_ips=_of_family(spec.get("externalIPs"), family),
        load_balancer_ips=_of_family(_ingress_ips(service), family) if load_balanced else (),
        source_ranges=_ranges(spec.get("loadBalancerSourceRanges"), family) if load_balanced else (),
        node_port=port.get("nodePort") or 0,
        affinity=_affinity(spec),
        internal_local=spec.get("internalTrafficPolicy") == "Local",
        external_local=spec.get("externalTrafficPolicy") == "Local",
        cluster=usable(endpoints),
        local=usable(endpoint for endpoint in endpoints if endpoint.local),
        health_check_node_port=spec.get("healthCheckNodePort") or 0,
    )


def usable(endpoints: Iterable[Endpoint]) -> tuple[Target, ...]:
    """The ready ones; when none is ready, those that still serve while they terminate (KEP-1669). Sorted."""
    endpoints = list(endpoints)
    ready = {each.target for each in endpoints if each.ready}
    return tuple(sorted(ready or {each.target for each in endpoints if each.serving and each.terminating}))


def _endpoints(slices: Iterable[Object], port: Object, family: int, node: str) -> Iterator[Endpoint]:
    wanted = (port.get("name") or "", port.get("protocol") or "TCP")
    for each in slices:
        if each.get("addressType") != f"IPv{family}":
            continue
        for number in _port_numbers(each, wanted):
            for endpoint in each.get("endpoints") or ():
                yield from _endpoint(endpoint, number, node)


def _port_numbers(each: Object, wanted: tuple[str, str]) -> Iterator[int]:
    for port in each.get("ports") or ():
        if (port.get("name") or "", port.get("protocol") or "TCP") == wanted and port.get("port"):
            yield port["port"]


def _endpoint(endpoint: Object, port: int, node: str) -> Iterator[Endpoint]:
    conditions = endpoint.get("conditions") or {}
    # What is not said counts as ready, and serving follows ready: slices of older writers.
    ready = conditions.get("ready") is not False
    serving = ready if conditions.get("serving") is None else bool(conditions["serving"])
    # Further addresses of an endpoint are equivalent to the first, so the first is used.
    for address in (endpoint.get("addresses") or ())[:1]:
        yield Endpoint(
            target=Target(address, port),
            ready=ready,
            serving=serving,
            terminating=bool(conditions.get("terminating")),
            local=endpoint.get("nodeName") == node,
        )


def _ingress_ips(service: Object) -> list[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    # ipMode Proxy: the balancer changes the destination itself and wants to be reached (KEP-1860).
    return [each["ip"] for each in ingress if each.get("ip") and each.get("ipMode", "VIP") == "VIP"]


def _of_family(addresses: Iterable[str] | None, family: int) -> tuple[str, ...]:
    return tuple(sorted({each for each in addresses or () if family_of(each) == family}))


def _ranges(texts: Iterable[str] | None, family: int) -> tuple[str, ...]:
    """Source ranges, the overlapping ones merged: a set of intervals refuses overlaps."""
    networks = [ipaddress.ip_network(text.strip(), strict=False) for text in texts or ()]
    if family == 4:
        merged = ipaddress.collapse_addresses([each for each in networks if isinstance(each, ipaddress.IPv4Network)])
        return tuple(str(each) for each in merged)
    merged6 = ipaddress.collapse_addresses([each for each in networks if isinstance(each, ipaddress.IPv6Network)])
    return tuple(str(each) for each in merged6)


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    client_ip = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return client_ip.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS
