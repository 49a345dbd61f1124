"""EndpointSlice: some of the addresses behind a Service."""

from datetime import datetime

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
)
