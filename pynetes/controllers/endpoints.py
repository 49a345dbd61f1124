"""Endpoints, the older form of EndpointSlices: one object per Service, with all its pods."""

from collections.abc import Sequence
from datetime import timedelta

from pynetes.apis.core import endpoints as resource
from pynetes.apis.core import pods, services
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.controllers import _endpoints as endpoints
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import labels
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
#: How many addresses one object holds at most.
CAPACITY = 1000


def subsets(service: Object, selected: Sequence[Object]) -> list[Object]:
    """The addresses, grouped by ports and by readiness."""
    groups: dict[tuple[endpoints.Port, ...], tuple[list[Object], list[Object]]] = {}
    family, publishes = endpoints.families(service)[0], bool(service["spec"].get("publishNotReadyAddresses"))
    for pod in selected:
        address = endpoints.address(pod, family)
        if address is None or not endpoints.counts(pod, terminating=publishes):
            continue
        ports = endpoints.ports(service, pod)
        if not ports and service["spec"].get("ports"):
            continue
        made = {"ip": address, "hostname": endpoints.hostname(service, pod), "nodeName": pod["spec"].get("nodeName")}
        made = {name: value for name, value in made.items() if value} | {"targetRef": endpoints.target(pod)}
        ready, waiting = groups.setdefault(ports, ([], []))
        (ready if publishes or podinfo.is_ready(pod) else waiting).append(made)
    return [_subset(ports, *groups[ports]) for ports in sorted(groups)]


def _subset(ports: Sequence[endpoints.Port], ready: list[Object], waiting: list[Object]) -> Object:
    made: Object = {}
    if ready:
        made["addresses"] = sorted(ready, key=lambda each: str(each["ip"]))
    if waiting:
        made["notReadyAddresses"] = sorted(waiting, key=lambda each: str(each["ip"]))
    if ports:
        made["ports"] = [
            ({"name": port.name} if port.name else {})
            | {"port": port.port, "protocol": port.protocol}
            | ({"appProtocol": port.app_protocol} if port.app_protocol else {})
            for port in ports
        ]
    return made


def truncated(all_subsets: Sequence[Object]) -> tuple[list[Object], bool]:
    """The subsets cut to the capacity, ready addresses first; whether anything was cut."""
    left, cut, kept = CAPACITY, False, []
    chosen: dict[tuple[int, str], list[Object]] = {}
    for name in ("addresses", "notReadyAddresses"):
        for number, subset in enumerate(all_subsets):
            there = subset.get(name) or []
            chosen[number, name] = there[:left]
            cut = cut or len(there) > left
            left -= len(chosen[number, name])
    for number, subset in enumerate(all_subsets):
        parts = {name: chosen[number, name] for name in ("addresses", "notReadyAddresses") if chosen[number, name]}
        if parts:
            kept.append({name: value for name, value in subset.items() if name == "ports"} | parts)
    return kept, cut


def wanted(service: Object, selected: Sequence[Object], existing: Object | None) -> Object | None:
    """The object to write; None when what is there says the same."""
    content, over = truncated(subsets(service, selected))
    tags = dict(service["metadata"].get("labels") or {})
    tags.pop(endpoints.HEADLESS, None)
    if endpoints.is_headless(service):
        tags[endpoints.HEADLESS] = ""
    tags[MANAGED_BY] = MANAGER
    old = (existing or {}).get("metadata") or {}
    annotations = {k: v for k, v in (old.get("annotations") or {}).items() if k != OVER_CAPACITY}
    annotations |= {OVER_CAPACITY: "truncated"} if over else {}
    if existing is not None:
        same = (existing.get("subsets") or []) == content and (old.get("labels") or {}) == tags
        if same and (old.get("annotations") or {}) == annotations:
            return None
    annotations[endpoints.TRIGGER] = endpoints.trigger(service, selected)
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    metadata = {"name": name, "namespace": namespace} | old | {"labels": tags, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": content}


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    service = await ctx.cached(services.RESOURCE, key)
    existing = await ctx.cached(resource.RESOURCE, key)
    if service is None:
        if existing is not None and not is_deleting(existing):
            await _remove(ctx, existing)
        return None
    if not endpoints.selects_pods(service) or is_deleting(service):
        return None
    selector = labels.from_labels(service["spec"]["selector"])
    inside = ctx.listed(pods.RESOURCE, namespace=key.namespace)
    selected = [pod for pod in inside if selector.matches(pod["metadata"].get("labels"))]
    new = wanted(service, selected, existing)
    if new is None:
        return None
    try:
        await (ctx.create if existing is None else ctx.update)(resource.RESOURCE, new)
    except StatusError as error:
        if owned.namespace_is_terminating(error):
            return None
        if error.reason in ("AlreadyExists", "Conflict"):
            raise  # the cache is behind what was just written; the next look finds it caught up
        ctx.event(service, "Warning", "FailedToUpdateEndpoint", f"Failed to update endpoint {key}: {error}")
        raise
    return None


async def _remove(ctx: Context, existing: Object) -> None:
    """A Service is gone; its Endpoints go with it, but not those that somebody else made."""
    if (existing["metadata"].get("labels") or {}).get(MANAGED_BY) == MANAGER:
        await ctx.delete(resource.RESOURCE, existing)


CONTROLLER = Controller(
    name="endpoints-controller",
    service_account="endpoint-controller",
    reconcile=reconcile,
    watches=(
        Watch(services.RESOURCE),
        Watch(pods.RESOURCE, keys=endpoints.of_pod),
        Watch(resource.RESOURCE),
    ),
    rules=(
        Rule("pods,services", "get,list,watch"),
        Rule("endpoints", "create,delete,get,list,update,watch"),
        Rule("endpoints/restricted", "create"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
