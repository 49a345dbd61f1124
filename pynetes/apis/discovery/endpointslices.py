"""EndpointSlice: some of the addresses behind a Service."""

import ipaddress
from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_SHOWN = 3


def default(obj: Object) -> None:
    """Ports are unnamed TCP unless told otherwise."""
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _joined(texts: list[str]) -> str:
    more = f" + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else ""
    return ",".join(texts[:_SHOWN]) + more if texts else "<unset>"


def _ports(obj: Object, _: datetime) -> str:
    return _joined([str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or ()])


def _endpoints(obj: Object, _: datetime) -> str:
    return _joined([address for item in obj.get("endpoints") or () for address in item.get("addresses") or ()])


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Addresses of the declared family, ports with names that can be told apart."""
    kind = new.get("addressType")
    yield from validation.one_of(kind, "addressType", ("FQDN", "IPv4", "IPv6"))
    seen: set[str] = set()
    for index, port in enumerate(new.get("ports") or ()):
        if (name := port.get("name") or "") in seen:
            yield field.duplicate(f"ports[{index}].name", name)
        seen.add(name)
        yield from validation.one_of(port.get("protocol"), f"ports[{index}].protocol", ("SCTP", "TCP", "UDP"))
        if port.get("name"):
            yield from validation.checked(port["name"], f"ports[{index}].name", names.dns_label)
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        path = f"endpoints[{index}]"
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            yield field.required(f"{path}.addresses", "must contain at least 1 address")
        for number, address in enumerate(addresses):
            if kind in ("IPv4", "IPv6"):
                yield from _address(address, kind, f"{path}.addresses", number)
        if endpoint.get("nodeName") is not None:
            yield from validation.checked(endpoint["nodeName"], f"{path}.nodeName", names.dns_subdomain)
        if endpoint.get("hostname"):
            yield from validation.checked(endpoint["hostname"], f"{path}.hostname", names.dns_label)


def _address(address: str, kind: str, path: str, number: int) -> Iterator[field.Error]:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        parsed = None
    if parsed is None or parsed.version != int(kind[-1]):
        yield field.invalid(path, address, f"must be an {kind} address")
    if parsed is not None and parsed.is_loopback:
        yield field.invalid(f"{path}[{number}]", address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")


RESOURCE = Resource(
    group="discovery.k8s.io",
    versions=("v1",),
    kind="EndpointSlice",
    plural="endpointslices",
    default=default,
    immutable=("addressType",),
    columns=(
        Column("AddressType", ".addressType"),
        Column("Ports", _ports),
        Column("Endpoints", _endpoints),
        Column.AGE,
    ),
    validate=validate,
)
