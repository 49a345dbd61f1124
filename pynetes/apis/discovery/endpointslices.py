"""EndpointSlice: some of the addresses behind a Service."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from pynetes.apis.core import endpoints
from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_SHOWN = 3
_ADDRESS_LIMIT, _HINT_LIMIT, _TOPOLOGY_LIMIT = 100, 8, 16
_ENDPOINT_LIMIT, _PORT_LIMIT = 1000, 20_000
_PROTOCOLS = ("SCTP", "TCP", "UDP")


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
    yield from _port_problems(new.get("ports") or ())
    given = new.get("endpoints") or ()
    if len(given) > _ENDPOINT_LIMIT:
        yield field.too_many("endpoints", len(given), _ENDPOINT_LIMIT)
        return
    for index, endpoint in enumerate(given):
        yield from _endpoint(endpoint, kind, f"endpoints[{index}]")


def _port_problems(ports: Sequence[Object]) -> Iterator[field.Error]:
    if len(ports) > _PORT_LIMIT:
        yield field.too_many("ports", len(ports), _PORT_LIMIT)
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        name = port.get("name") or ""
        if name:
            yield from validation.checked(name, f"ports[{index}].name", names.dns_label)
        if name in seen:
            yield field.duplicate(f"ports[{index}].name", name)
        seen.add(name)
        protocol = port.get("protocol")
        if protocol is None:
            yield field.required(f"ports[{index}].protocol")
        elif protocol not in _PROTOCOLS:
            yield field.not_supported(f"ports[{index}].protocol", protocol, _PROTOCOLS)
        if port.get("appProtocol") is not None:
            yield from validation.checked(port["appProtocol"], f"ports[{index}].appProtocol", names.qualified_name)


def _endpoint(endpoint: Object, kind: str | None, path: str) -> Iterator[field.Error]:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        yield field.required(f"{path}.addresses", "must contain at least 1 address")
    elif len(addresses) > _ADDRESS_LIMIT:
        yield field.too_many(f"{path}.addresses", len(addresses), _ADDRESS_LIMIT)
    for number, address in enumerate(addresses):
        if kind in ("IPv4", "IPv6"):
            yield from _address(address, kind, f"{path}.addresses", number)
        elif kind == "FQDN":
            yield from _domain(address, f"{path}.addresses[{number}]")
    if endpoint.get("nodeName") is not None:
        yield from validation.checked(endpoint["nodeName"], f"{path}.nodeName", names.dns_subdomain)
    topology, place = endpoint.get("deprecatedTopology") or {}, f"{path}.deprecatedTopology"
    if len(topology) > _TOPOLOGY_LIMIT:
        yield field.too_many(place, len(topology), _TOPOLOGY_LIMIT)
    yield from validation.label_map(topology, place)
    if endpoint.get("hostname") is not None:
        yield from validation.checked(endpoint["hostname"], f"{path}.hostname", names.dns_label)
    hints = endpoint.get("hints") or {}
    for member, rule in (("forZones", names.label_value), ("forNodes", names.dns_subdomain)):
        given = hints.get(member) or ()
        if len(given) > _HINT_LIMIT:
            yield field.too_many(f"{path}.hints.{member}", len(given), _HINT_LIMIT)
            return
        yield from _hints(given, f"{path}.hints.{member}", rule)


def _hints(given: Sequence[Object], path: str, rule: names.Rule) -> Iterator[field.Error]:
    seen: set[str] = set()
    for index, hint in enumerate(given):
        name = hint.get("name", "")
        if name in seen:
            yield field.duplicate(f"{path}[{index}].name", name)
        seen.add(name)
        yield from validation.checked(name, f"{path}[{index}].name", rule)


def _domain(text: str, path: str) -> Iterator[field.Error]:
    """A domain of two labels or more; a dot may end it."""
    name = text.removesuffix(".")
    if not text:
        yield field.required(path)
    elif problems := names.dns_subdomain(name):
        yield field.invalid(path, name, ",".join(problems))
    elif "." not in name:
        yield field.invalid(path, name, "should be a domain with at least two segments separated by dots")
    else:
        for label in name.split("."):
            if problems := names.dns_label(label):
                yield field.invalid(path, label, ",".join(problems))
                return


def _address(address: str, kind: str, path: str, number: int) -> Iterator[field.Error]:
    parsed = inet.parse(address)
    if parsed is None or inet.ip(address):
        yield from validation.checked(address, f"{path}[{number}]", inet.ip)
        return
    if parsed.version != int(kind[-1]):
        yield field.invalid(path, address, f"must be an {kind} address")
    yield from endpoints.unreachable(address, f"{path}[{number}]")


_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
_CONTROLLERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")


def warnings(new: Object, old: Object | None) -> list[str]:
    """A type that is old, and addresses that are written in another way than others."""
    found = []
    if old is None and new.get("addressType") == "FQDN":
        found.append("spec.addressType: FQDN endpoints are deprecated")
    if (new["metadata"].get("labels") or {}).get(_MANAGED_BY) in _CONTROLLERS:
        return found
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        for number, address in enumerate(endpoint.get("addresses") or ()):
            found.extend(inet.ip_warnings(address, f"endpoints[{index}].addresses[{number}]"))
    return found


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
    warnings=warnings,
)
