"""Where a backend's requests go: the ready endpoints of a Service's port.

Without any ready one, those that still serve while they terminate, as kube-proxy does.
"""

from collections.abc import Iterable, Iterator

from pynetes.ingress.rules import BackendRef
from pynetes.machinery.meta import Object

SERVICE_NAME = "kubernetes.io/service-name"


def port_of(service: Object, wanted: str) -> Object | None:
    """The Service's port that a backend names by name or number."""
    for port in service["spec"].get("ports") or ():
        if wanted in (port.get("name"), str(port["port"])):
            found: Object = port
            return found
    return None


def endpoints(ref: BackendRef, service: Object | None, slices: Iterable[Object]) -> list[tuple[str, int]]:
    """Addresses with ports, in a fixed order; none when the Service or its port is not there."""
    port = port_of(service, ref.port) if service else None
    if service is None or port is None:
        return []
    if ref.direct:
        address = service["spec"].get("clusterIP")
        return [(_literal(address), port["port"])] if address and address != "None" else []
    ready: set[tuple[str, int]] = set()
    leaving: set[tuple[str, int]] = set()
    for each in slices:
        number = _number(each, port)
        if number is None or each.get("addressType") not in ("IPv4", "IPv6"):
            continue
        for address, state in _addresses(each):
            (ready if state == "ready" else leaving).add((_literal(address), number))
    return sorted(ready or leaving)


def _addresses(each: Object) -> Iterator[tuple[str, str]]:
    for endpoint in each.get("endpoints") or ():
        conditions = endpoint.get("conditions") or {}
        if conditions.get("ready", True) in (True, None):
            state = "ready"
        elif conditions.get("serving") and conditions.get("terminating"):
            state = "leaving"
        else:
            continue
        for address in endpoint.get("addresses") or ():
            yield address, state


def _number(each: Object, port: Object) -> int | None:
    """The endpoints' port: slices carry the Service port's name and the resolved target."""
    for candidate in each.get("ports") or ():
        if (candidate.get("name") or "") == (port.get("name") or "") and candidate.get("port"):
            return int(candidate["port"])
    return None


def _literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address
