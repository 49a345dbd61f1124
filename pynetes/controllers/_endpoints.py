"""From a Service and its pods to endpoints: which pods count, at which address and ports, in which condition."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from pynetes.apis.core import services
from pynetes.client.controller import Lookup
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import labels, time
from pynetes.machinery.meta import Key, Object, is_deleting, key_of, uid_of

HEADLESS = "service.kubernetes.io/headless"
TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"


class Port(NamedTuple):
    """A port as the endpoints have it; sortable, so that sets of ports are comparable."""

    name: str
    protocol: str
    port: int
    app_protocol: str = ""


def is_headless(service: Object) -> bool:
    """Whether the Service has no cluster IP by choice."""
    return bool(service["spec"].get("clusterIP") == "None")


def selects_pods(service: Object) -> bool:
    """Whether a selector says which pods are behind it."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def families(service: Object) -> list[str]:
    """IPv4 and IPv6, as the Service has them."""
    return list(service["spec"].get("ipFamilies") or ()) or [
        "IPv6" if ":" in (service["spec"].get("clusterIP") or "") else "IPv4"
    ]


def address(pod: Object, family: str) -> str | None:
    """The pod's address of a family."""
    status = pod.get("status") or {}
    found = [each["ip"] for each in status.get("podIPs") or () if each.get("ip")] or [status.get("podIP") or ""]
    return next((ip for ip in found if ip and (":" in ip) == (family == "IPv6")), None)


def counts(pod: Object, *, terminating: bool) -> bool:
    """Whether the pod can be an endpoint at all."""
    return not podinfo.is_terminal(pod) and (terminating or not is_deleting(pod))


def ports(service: Object, pod: Object) -> tuple[Port, ...]:
    """The pod's ports behind the Service; one that names a port the pod lacks is left out."""
    found = (_port(each, pod) for each in service["spec"].get("ports") or ())
    return tuple(sorted(port for port in found if port is not None))


def _port(wanted: Object, pod: Object) -> Port | None:
    target, protocol = wanted.get("targetPort") or wanted["port"], wanted.get("protocol") or "TCP"
    if isinstance(target, str):
        number = next(
            (
                port["containerPort"]
                for container in _containers(pod)
                for port in container.get("ports") or ()
                if port.get("name") == target and (port.get("protocol") or "TCP") == protocol
            ),
            None,
        )
    else:
        number = target
    return None if number is None else Port(wanted.get("name") or "", protocol, number, wanted.get("appProtocol") or "")


def _containers(pod: Object) -> Iterator[Object]:
    yield from pod["spec"]["containers"]
    yield from (each for each in pod["spec"].get("initContainers") or () if each.get("restartPolicy") == "Always")


def hostname(service: Object, pod: Object) -> str | None:
    """The DNS name that the pod has of its own below the Service."""
    spec = pod["spec"]
    return spec.get("hostname") or None if spec.get("subdomain") == service["metadata"]["name"] else None


def target(pod: Object) -> Object:
    """A reference to the pod."""
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": uid_of(pod)}


def trigger(service: Object, pods: Sequence[Object]) -> str:
    """When what the endpoints show last changed: the newest readiness of a pod, or the Service's birth."""
    moments = [podinfo.created(service)]
    moments += [moment for pod in pods if (moment := _changed_at(pod))]
    return time.rfc3339(max(moments))


def _changed_at(pod: Object) -> datetime | None:
    ready = conditions.find(pod, "Ready")
    return conditions.transition(ready) if ready else None


def _visible(pod: Object) -> tuple[object, ...]:
    """All of a pod that endpoints depend on."""
    status, spec = pod.get("status") or {}, pod["spec"]
    shown = (status.get("podIPs"), status.get("podIP"), podinfo.is_ready(pod), podinfo.is_terminal(pod))
    return (*shown, is_deleting(pod), spec.get("nodeName"), spec.get("hostname"), spec.get("subdomain"))


def selecting(lookup: Lookup, pods: Iterable[Object]) -> Iterator[Key]:
    """The Services that select one of these pods."""
    for pod in pods:
        for service in lookup.listed(services.RESOURCE, namespace=pod["metadata"]["namespace"]):
            selector = service["spec"].get("selector")
            if selector and labels.from_labels(selector).matches(pod["metadata"].get("labels")):
                yield key_of(service)


def of_pod(lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """Wakes the Services that select the pod, or did, when something they show has changed."""
    if old is None or old is pod:
        yield from selecting(lookup, (pod,))
        return
    relabelled = old["metadata"].get("labels") != pod["metadata"].get("labels")
    if relabelled or _visible(old) != _visible(pod):
        yield from selecting(lookup, (old, pod) if relabelled else (pod,))
