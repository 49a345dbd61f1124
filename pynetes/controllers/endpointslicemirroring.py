"""Mirrors Endpoints that somebody else made into EndpointSlices, for Services without selector."""

from datetime import timedelta

from pynetes.apis.core import endpoints, services
from pynetes.apis.discovery import endpointslices
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.controllers import _endpoints as shared
from pynetes.controllers import _owned as owned
from pynetes.controllers import _slicemetrics as slicemetrics
from pynetes.controllers import _slices as slices
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, uid_of

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_OWN = "endpoints.kubernetes.io/managed-by"
_METRICS = slicemetrics.SliceMetrics("endpoint_slice_mirroring_controller")


def is_mirrored(found: Object, service: Object | None) -> bool:
    """Whether these Endpoints are somebody's own: not a controller's, not opted out, not a lock."""
    if service is None or service["spec"].get("selector") or is_deleting(found):
        return False
    tags, notes = found["metadata"].get("labels") or {}, found["metadata"].get("annotations") or {}
    return tags.get(SKIP) != "true" and _OWN not in tags and _LEADER not in notes


def wanted(found: Object) -> dict[slices.Group, list[Object]]:
    """The endpoints of every address family and set of ports."""
    groups: dict[slices.Group, list[Object]] = {}
    for subset in found.get("subsets") or ():
        ports = tuple(
            sorted(
                shared.Port(p.get("name") or "", p.get("protocol") or "TCP", p["port"], p.get("appProtocol") or "")
                for p in subset.get("ports") or ()
            )
        )
        for name, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(name) or ():
                family = "IPv6" if ":" in address["ip"] else "IPv4"
                groups.setdefault(slices.Group(family, ports), []).append(_endpoint(address, ready=ready))
    return groups


def _endpoint(address: Object, *, ready: bool) -> Object:
    made: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    return made | {name: address[name] for name in ("hostname", "nodeName", "targetRef") if address.get(name)}


def metadata(found: Object) -> Object:
    """What each mirrored slice bears."""
    name = found["metadata"]["name"]
    ours = {slices.SERVICE_NAME: name, slices.MANAGED_BY: MANAGER}
    return {
        "generateName": f"{name}-",
        "namespace": found["metadata"]["namespace"],
        "labels": (found["metadata"].get("labels") or {}) | ours,
        "ownerReferences": [owned.reference(endpoints.RESOURCE, found)],
    }


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    found = await ctx.cached(endpoints.RESOURCE, key)
    if found is None:
        _METRICS.forget(key)
    if found is None or not ctx.satisfied(key):
        return None  # without its owner a slice is collected
    mine = ctx.listed(endpointslices.RESOURCE, index="controller", value=uid_of(found))
    groups = wanted(found) if is_mirrored(found, await ctx.cached(services.RESOURCE, key)) else {}
    existing = [each for each in mine if not is_deleting(each)]
    plan = slices.plan(existing, groups, metadata(found))
    ctx.expect(key, creates=len(plan.create), deletes=[uid_of(each) for each in plan.delete])
    try:
        await slices.carry_out(ctx, plan)
    except StatusError as error:
        if not owned.namespace_is_terminating(error):
            raise
        return None
    if groups or existing:
        _METRICS.planned(key, existing, groups, plan)
    return None


CONTROLLER = Controller(
    name="endpointslice-mirroring-controller",
    service_account="endpointslicemirroring-controller",
    reconcile=reconcile,
    watches=(
        Watch(endpoints.RESOURCE),
        Watch(services.RESOURCE),
        Watch(endpointslices.RESOURCE, owner=endpoints.RESOURCE),
    ),
    rules=(
        Rule("endpoints,services", "get,list,watch"),
        Rule("services/finalizers,endpoints/finalizers", "update"),
        Rule("endpointslices.discovery.k8s.io", "create,delete,get,list,update,watch"),
        Rule("endpointslices.discovery.k8s.io/restricted", "create"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
