"""Endpoints: the addresses behind a Service, in one object. EndpointSlice replaces it."""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_SHOWN = 3


def default(obj: Object) -> None:
    """Ports are TCP unless told otherwise."""
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            port.setdefault("protocol", "TCP")


def warnings(new: Object, old: Object | None) -> list[str]:
    """The kind is on its way out."""
    return ["v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"]


def _addresses(obj: Object, _: datetime) -> str:
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        for address in subset.get("addresses") or ():
            host = f"[{address['ip']}]" if ":" in address["ip"] else address["ip"]
            ports = subset.get("ports") or ()
            found += [f"{host}:{port['port']}" for port in ports] if ports else [host]
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
    columns=(Column("Endpoints", _addresses), Column.AGE),
)
