"""Endpoints: the addresses behind a Service, in one object. EndpointSlice replaces it."""

import ipaddress
from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_SHOWN = 3


def default(obj: Object) -> None:
    """Ports are TCP unless told otherwise."""
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def warnings(new: Object, old: Object | None) -> list[str]:
    """The kind is on its way out; and addresses that are written in another way than others."""
    found = ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]
    if (new["metadata"].get("labels") or {}).get("endpoints.kubernetes.io/managed-by") == "endpoint-controller":
        return found
    for index, subset in enumerate(new.get("subsets") or ()):
        for name in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(name) or ()):
                found.extend(inet.ip_warnings(address.get("ip", ""), f"subsets[{index}].{name}[{number}].ip"))
    return found


_PROTOCOLS = ("SCTP", "TCP", "UDP")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Subsets of addresses that clients elsewhere can reach, and ports that can be told apart."""
    for index, subset in enumerate(new.get("subsets") or ()):
        path = f"subsets[{index}]"
        ready, waiting = subset.get("addresses") or (), subset.get("notReadyAddresses") or ()
        if not ready and not waiting:
            yield field.required(path, "must specify `addresses` or `notReadyAddresses`")
        for name, given in (("addresses", ready), ("notReadyAddresses", waiting)):
            for number, address in enumerate(given):
                yield from _address_problems(address, f"{path}.{name}[{number}]")
        ports = subset.get("ports") or ()
        for number, port in enumerate(ports):
            yield from _port_problems(port, f"{path}.ports[{number}]", named=len(ports) > 1)


def _address_problems(address: Object, path: str) -> Iterator[field.Error]:
    text = address.get("ip", "")
    yield from validation.checked(text, f"{path}.ip", inet.ip)
    if address.get("hostname"):
        yield from validation.checked(address["hostname"], f"{path}.hostname", names.dns_label)
    if address.get("nodeName") is not None:
        yield from validation.checked(address["nodeName"], f"{path}.nodeName", names.dns_subdomain)
    yield from unreachable(text, f"{path}.ip")


def unreachable(text: str, path: str) -> Iterator[field.Error]:
    """Addresses that mean another host on every host."""
    address = inet.parse(text)
    if address is None:
        yield field.invalid(path, text, "must be a valid IP address")
        return
    if address.is_unspecified:
        yield field.invalid(path, text, f"may not be unspecified ({text})")
    if address.is_loopback:
        yield field.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        yield field.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    multicast = ipaddress.ip_network("224.0.0.0/24" if address.version == 4 else "ff02::/16")
    if address in multicast:
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        yield field.invalid(path, text, detail)


def _port_problems(port: Object, path: str, *, named: bool) -> Iterator[field.Error]:
    if named and not port.get("name"):
        yield field.required(f"{path}.name")
    elif port.get("name"):
        yield from validation.checked(port["name"], f"{path}.name", names.dns_label)
    yield from validation.port(port.get("port", 0), f"{path}.port")
    yield from validation.one_of(port.get("protocol"), f"{path}.protocol", _PROTOCOLS)
    if port.get("appProtocol"):
        yield from validation.checked(port["appProtocol"], f"{path}.appProtocol", names.qualified_name)


def _addresses(obj: Object, _: datetime) -> str:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [item.get("ip") or "" for item in subset.get("addresses") or ()]
        if not subset.get("ports"):
            found += addresses
        for port in subset.get("ports") or ():
            found += [f"[{text}]:{port['port']}" if ":" in text else f"{text}:{port['port']}" for text in addresses]
    if not found:
        return "<none>"
    more = f" + {len(found) - _SHOWN} more..." if len(found) > _SHOWN else ""
    return ",".join(found[:_SHOWN]) + more


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Endpoints",
    plural="endpoints",
    short_names=("ep",),
    storage_prefix="services/endpoints",
    generation=False,
    default=default,
    warnings=warnings,
    validate=validate,
    columns=(Column("Endpoints", _addresses), Column.AGE),
)
