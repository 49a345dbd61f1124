"""EndpointSlices of the Services that select pods: what kube-proxy and DNS send traffic to."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from pynetes.apis.core import nodes, pods, services
from pynetes.apis.discovery import endpointslices
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _endpoints as endpoints
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers import _slicemetrics as slicemetrics
from pynetes.controllers import _slices as slices
from pynetes.machinery import labels
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, uid_of

MANAGER = "endpointslice-controller.k8s.io"
ZONE = "topology.kubernetes.io/zone"
_SUBSYSTEM = "endpoint_slice_controller"
_METRICS = slicemetrics.SliceMetrics(_SUBSYSTEM)
_SYNCS = REGISTRY.counter(f"{_SUBSYSTEM}_syncs", "Number of EndpointSlice syncs", "result")
_CHANGED = REGISTRY.histogram(
    f"{_SUBSYSTEM}_endpointslices_changed_per_sync",
    "Number of EndpointSlices changed on each Service sync",
    "topology", "traffic_distribution",
)  # fmt: skip
REGISTRY.gauge(
    f"{_SUBSYSTEM}_services_count_by_traffic_distribution",
    "Number of Services using some specific trafficDistribution",
    "traffic_distribution",
    read=_METRICS.distributions,
)


def endpoint(service: Object, pod: Object, address: str, zone: str | None) -> Object:
    """One endpoint: ready takes traffic, serving could, terminating will soon be gone."""
    serving, terminating = podinfo.is_ready(pod), is_deleting(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    made: Object = {
        "addresses": [address],
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": endpoints.target(pod),
    }
    node = pod["spec"].get("nodeName")
    optional = {"hostname": endpoints.hostname(service, pod), "nodeName": node, "zone": zone}
    made |= {name: value for name, value in optional.items() if value}
    hints = _hints(service["spec"].get("trafficDistribution"), node, zone) if ready else {}
    return made | ({"hints": hints} if hints else {})


def _hints(distribution: str | None, node: str | None, zone: str | None) -> Object:
    hints: Object = {}
    if zone and distribution in ("PreferClose", "PreferSameZone", "PreferSameNode"):
        hints["forZones"] = [{"name": zone}]
    if node and distribution == "PreferSameNode":
        hints["forNodes"] = [{"name": node}]
    return hints


def wanted(
    service: Object, selected: Sequence[Object], zone: Callable[[str], str | None]
) -> dict[slices.Group, list[Object]]:
    """The endpoints of every group; an empty group for each family that has no pod."""
    groups: dict[slices.Group, list[Object]] = {}
    for family in endpoints.families(service):
        for pod in selected:
            address = endpoints.address(pod, family)
            if address is None or not endpoints.counts(pod, terminating=True):
                continue
            group = slices.Group(family, endpoints.ports(service, pod))
            made = endpoint(service, pod, address, zone(pod["spec"].get("nodeName") or ""))
            groups.setdefault(group, []).append(made)
        if not any(group.address_type == family for group in groups):
            groups[slices.Group(family, ())] = []
    return groups


def metadata(service: Object, selected: Sequence[Object]) -> Object:
    """What each of the Service's slices bears."""
    inherited = {
        name: text for name, text in (service["metadata"].get("labels") or {}).items() if name != endpoints.HEADLESS
    }
    name = service["metadata"]["name"]
    ours = {slices.SERVICE_NAME: name, slices.MANAGED_BY: MANAGER}
    if endpoints.is_headless(service):
        ours[endpoints.HEADLESS] = ""
    return {
        "generateName": f"{name}-",
        "namespace": service["metadata"]["namespace"],
        "labels": inherited | ours,
        "annotations": {endpoints.TRIGGER: endpoints.trigger(service, selected)},
        "ownerReferences": [owned.reference(services.RESOURCE, service)],
    }


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    result = "error"
    try:
        # "stale" is what upstream calls a look that waits for what was just written to be seen.
        result = "success" if await _sync(ctx, key) else "stale"
    finally:
        _SYNCS.inc(result)
    return None


async def _sync(ctx: Context, key: Key) -> bool:
    """Write the slices; False when the cache is behind."""
    service = await ctx.cached(services.RESOURCE, key)
    # A deleted Service takes its slices along as their owner.
    if service is None or is_deleting(service) or not endpoints.selects_pods(service):
        _METRICS.forget(key)
        return True
    if not ctx.satisfied(key):
        return False
    selector = labels.from_labels(service["spec"]["selector"])
    inside = ctx.listed(pods.RESOURCE, namespace=key.namespace)
    selected = sorted(
        (pod for pod in inside if selector.matches(pod["metadata"].get("labels"))), key=lambda pod: podinfo.created(pod)
    )

    def zone(node: str) -> str | None:
        found = ctx.listed(nodes.RESOURCE, index="name", value=node)
        return next(((each["metadata"].get("labels") or {}).get(ZONE) for each in found), None)

    existing, groups = _existing(ctx, service), wanted(service, selected, zone)
    plan = slices.plan(existing, groups, metadata(service, selected))
    ctx.expect(key, creates=len(plan.create), deletes=[uid_of(each) for each in plan.delete])
    try:
        await slices.carry_out(ctx, plan)
    except StatusError as error:
        if not owned.namespace_is_terminating(error):
            raise
        return True
    distribution = service["spec"].get("trafficDistribution") or ""
    _METRICS.planned(key, existing, groups, plan, distribution)
    # Hints by topology alone, which upstream calls Auto, are not given here.
    _CHANGED.observe(sum(map(len, plan)), "Disabled", distribution)
    return True


def _existing(ctx: Context, service: Object) -> list[Object]:
    owned_ones = ctx.listed(endpointslices.RESOURCE, index="controller", value=uid_of(service))
    return [
        each
        for each in owned_ones
        if (each["metadata"].get("labels") or {}).get(slices.MANAGED_BY) == MANAGER and not is_deleting(each)
    ]


def of_node(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """A node that comes, goes or changes its zone wakes the Services of its pods."""
    if old is None or old is node or _zone(old) != _zone(node):
        yield from endpoints.selecting(
            lookup, lookup.listed(pods.RESOURCE, index="node", value=node["metadata"]["name"])
        )


def _zone(node: Object) -> str | None:
    found: str | None = (node["metadata"].get("labels") or {}).get(ZONE)
    return found


def by_name(node: Object) -> tuple[str, ...]:
    """Indexes nodes by name."""
    return (node["metadata"]["name"],)


CONTROLLER = Controller(
    name="endpointslice-controller",
    reconcile=reconcile,
    watches=(
        Watch(services.RESOURCE),
        Watch(pods.RESOURCE, keys=endpoints.of_pod, indexes={"node": podinfo.by_node}),
        Watch(nodes.RESOURCE, keys=of_node, indexes={"name": by_name}),
        Watch(endpointslices.RESOURCE, owner=services.RESOURCE),
    ),
    rules=(
        Rule("nodes,pods,services", "get,list,watch"),
        Rule("services/finalizers", "update"),
        Rule("endpointslices.discovery.k8s.io", "create,delete,get,list,update,watch"),
        Rule("endpointslices.discovery.k8s.io/restricted", "create"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
