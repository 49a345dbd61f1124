"""Which records an object stands for: pure functions after the Kubernetes DNS specification 1.1.0."""

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from pynetes.dns import wire
from pynetes.machinery.meta import Object

SCHEMA_VERSION = "1.1.0"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Name(NamedTuple):
    """A record set's name (lower case, no last dot) and type."""

    name: str
    type: int


#: Record sets with their encoded data.
Records: TypeAlias = dict[Name, tuple[bytes, ...]]


def of_service(service: Object, slices: Iterable[Object], *, domain: str) -> Records:
    """All records of a Service."""
    metadata, spec = service["metadata"], service["spec"]
    name = f"{metadata['name']}.{metadata['namespace']}.svc.{domain}"
    if spec.get("type") == "ExternalName":
        external = (spec.get("externalName") or "").lower()
        return {Name(name, wire.CNAME): (wire.encode_name(external),)} if external else {}
    if (spec.get("clusterIP") or "None") == "None":
        return _collect(_headless(name, slices))
    return _collect(_cluster_ip(name, spec))


def of_zone(domain: str, *, dns_addresses: Iterable[str] = ()) -> Records:
    """What every cluster has: the schema version, and the zone's own name server."""
    server = f"ns.dns.{domain}"
    pairs = [
        (Name(f"dns-version.{domain}", wire.TXT), bytes((len(SCHEMA_VERSION),)) + SCHEMA_VERSION.encode()),
        (Name(domain, wire.NS), wire.encode_name(server)),
        *(address(server, each) for each in dns_addresses),
    ]
    return _collect(pairs)


def soa(domain: str, *, serial: int) -> bytes:
    """The data of the zone's start of authority; its last number is how long an absence may be remembered."""
    names = wire.encode_name(f"ns.dns.{domain}") + wire.encode_name(f"hostmaster.{domain}")
    return names + struct.pack("!IIIII", serial, 7200, 1800, 86400, 5)


def pod_address(label: str) -> str | None:
    """The address in a pod's name: 10-244-0-7, or fd00--1 for fd00::1; None if it is none."""
    for text in (label.replace("-", "."), label.replace("-", ":")):
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            continue
    return None


def address(name: str, ip: str) -> tuple[Name, bytes]:
    """An A or AAAA record."""
    parsed = ipaddress.ip_address(ip)
    return Name(name, wire.A if parsed.version == 4 else wire.AAAA), parsed.packed


def reverse(ip: str) -> str:
    """The name under which an address's name is looked up."""
    return ipaddress.ip_address(ip).reverse_pointer


def _cluster_ip(name: str, spec: Object) -> Iterator[tuple[Name, bytes]]:
    for ip in spec.get("clusterIPs") or [spec["clusterIP"]]:
        yield address(name, ip)
        yield Name(reverse(ip), wire.PTR), wire.encode_name(name)
    for port in spec.get("ports") or ():
        yield from _srv(name, port, name)


def _headless(name: str, slices: Iterable[Object]) -> Iterator[tuple[Name, bytes]]:
    for each in slices:
        if each.get("addressType") not in ("IPv4", "IPv6"):
            continue
        for endpoint in each.get("endpoints") or ():
            # publishNotReadyAddresses makes the slice say ready, so there is one rule.
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for ip in endpoint.get("addresses") or ():
                host = f"{endpoint.get('hostname') or ip.replace('.', '-').replace(':', '-')}.{name}".lower()
                yield address(name, ip)
                yield address(host, ip)
                yield Name(reverse(ip), wire.PTR), wire.encode_name(host)
                for port in each.get("ports") or ():
                    yield from _srv(name, port, host)


def _srv(name: str, port: Object, target: str) -> Iterator[tuple[Name, bytes]]:
    if port.get("name") and port.get("port"):
        protocol = (port.get("protocol") or "TCP").lower()
        data = struct.pack("!HHH", 0, 100, port["port"]) + wire.encode_name(target)
        yield Name(f"_{port['name']}._{protocol}.{name}".lower(), wire.SRV), data


def _collect(pairs: Iterable[tuple[Name, bytes]]) -> Records:
    found: dict[Name, dict[bytes, None]] = {}
    for name, data in pairs:
        found.setdefault(name, {})[data] = None
    return {name: tuple(data) for name, data in found.items()}
