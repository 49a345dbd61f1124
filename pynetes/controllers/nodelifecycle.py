"""Watches over nodes: a node whose Lease stops moving becomes Unknown, and nodes that are not well get taints.

The Lease's time is the node's own clock's; what counts here is when this process last saw it move, on its own clock.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from pynetes.apis.coordination import leases
from pynetes.apis.core import nodes, pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _pods as podinfo
from pynetes.controllers._config import Config
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object, is_deleting

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
#: Condition → status → the NoSchedule taint it stands for.
_TAINTS = {
    "Ready": {"False": NOT_READY, "Unknown": UNREACHABLE},
    "MemoryPressure": {"True": "node.kubernetes.io/memory-pressure"},
    "DiskPressure": {"True": "node.kubernetes.io/disk-pressure"},
    "PIDPressure": {"True": "node.kubernetes.io/pid-pressure"},
    "NetworkUnavailable": {"True": "node.kubernetes.io/network-unavailable"},
}
_OURS = frozenset(key for table in _TAINTS.values() for key in table.values()) | {UNSCHEDULABLE}
_LEASES = "kube-node-lease"
_NEVER = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
_ZONE, _REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
_EVICTIONS = REGISTRY.counter(
    "node_collector_evictions_total",
    "Number of Node evictions that happened since current instance of NodeController started.",
    "zone",
)
_LOOK_SECONDS = REGISTRY.histogram(
    "node_collector_update_node_health_duration_seconds",
    "Duration in seconds for NodeController to update the health of a single node.",
    buckets=tuple(0.001 * 4**step for step in range(8)),
)
_SIZE = REGISTRY.gauge("node_collector_zone_size", "Gauge measuring number of registered Nodes per zones.", "zone")
_HEALTH = REGISTRY.gauge("node_collector_zone_health", "Gauge measuring percentage of healthy nodes per zone.", "zone")
_UNHEALTHY = REGISTRY.gauge(
    "node_collector_unhealthy_nodes_in_zone", "Gauge measuring number of not Ready Nodes per zones.", "zone"
)
_STOPPED = ("NodeStatusUnknown", "Kubelet stopped posting node status.")


def wanted_taints(node: Object, now: datetime) -> list[Object]:
    """The taints that the node should have: ours as its conditions say, others untouched."""
    old: Sequence[Object] = node["spec"].get("taints") or ()
    keys = [
        table[condition["status"]]
        for kind, table in _TAINTS.items()
        if (condition := conditions.find(node, kind)) and condition["status"] in table
    ]
    if node["spec"].get("unschedulable"):
        keys.append(UNSCHEDULABLE)
    ours = [(key, "NoSchedule") for key in keys] + [
        (key, "NoExecute") for key in keys if key in (NOT_READY, UNREACHABLE)
    ]
    kept = [taint for taint in old if taint["key"] not in _OURS or (taint["key"], taint["effect"]) in ours]
    have = {(taint["key"], taint["effect"]) for taint in kept}
    added = [
        {"key": key, "effect": effect} | ({"timeAdded": time.rfc3339(now)} if effect == "NoExecute" else {})
        for key, effect in ours
        if (key, effect) not in have
    ]
    return [*kept, *added]


def silenced(node: Object, now: datetime) -> list[Object] | None:
    """The conditions of a node that has gone silent; None when they say so already."""
    old = (node.get("status") or {}).get("conditions") or []
    new = list(old)
    for kind in ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure"):
        current = conditions.among(new, kind)
        if current is not None and current["status"] == "Unknown":
            continue
        reason, message = _NEVER if current is None else _STOPPED
        beat = (current or {}).get("lastHeartbeatTime")  # kept: that we write is no sign of life
        stamps = {"lastHeartbeatTime": beat} if beat else {}
        new = conditions.put(new, kind, "Unknown", reason, message, now, **stamps)
    return None if new == old else new


def zone_of(node: Object) -> str:
    """What a node's zone is called in metrics: region and zone as upstream joins them, "" without either."""
    tags = node["metadata"].get("labels") or {}
    zone, region = tags.get(_ZONE) or "", tags.get(_REGION) or ""
    return f"{region}:\x00:{zone}" if zone or region else ""


def zones(lookup: Lookup) -> dict[str, tuple[int, int]]:
    """Zone → how many nodes it has, and how many of them are ready."""
    found: dict[str, tuple[int, int]] = {}
    for node in lookup.listed(nodes.RESOURCE):
        size, ready = found.get(zone_of(node), (0, 0))
        found[zone_of(node)] = size + 1, ready + conditions.is_true(node, "Ready")
    return found


def is_evicted(taints: Sequence[Object]) -> bool:
    """Whether they drive the node's pods away because it is not well."""
    return any(taint["effect"] == "NoExecute" and taint["key"] in (NOT_READY, UNREACHABLE) for taint in taints)


class Lifecycle:
    """When each node was last heard of."""

    def __init__(self, config: Config) -> None:
        self._grace = config.node_monitor_grace_period
        #: Node → (what its Lease and status said, when we saw that first).
        self._heard: dict[str, tuple[tuple[str, ...], datetime]] = {}
        #: Nodes that have been told of: what events about them refer to.
        self._known: dict[str, Object] = {}

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        with _LOOK_SECONDS.timing():
            return await self._look(ctx, key)

    async def _look(self, ctx: Context, key: Key) -> timedelta | None:
        node = await ctx.cached(nodes.RESOURCE, key)
        if node is None:
            self._heard.pop(key.name, None)
            if gone := self._known.pop(key.name, None):
                ctx.event(
                    gone, "Normal", "RemovingNode", f"Node {key.name} event: Removing Node {key.name} from Controller"
                )
            return None
        if key.name not in self._known:
            identity = {"name": key.name, "uid": node["metadata"].get("uid", "")}
            self._known[key.name] = {"apiVersion": "v1", "kind": "Node", "metadata": identity}
            message = f"Node {key.name} event: Registered Node {key.name} in Controller"
            ctx.event(node, "Normal", "RegisteredNode", message)
        left = self._silent_in(node, await ctx.cached(leases.RESOURCE, Key(_LEASES, key.name)), ctx.now())
        if left <= timedelta():
            node = await self._mark(ctx, node)
        taints = wanted_taints(node, ctx.now())
        if taints != (node["spec"].get("taints") or []):
            metadata = {"resourceVersion": node["metadata"]["resourceVersion"]}
            await ctx.patch(nodes.RESOURCE, key, {"metadata": metadata, "spec": {"taints": taints}})
            if is_evicted(taints) and not is_evicted(node["spec"].get("taints") or ()):
                _EVICTIONS.inc(zone_of(node))
        return left if left > timedelta() else None

    def _silent_in(self, node: Object, lease: Object | None, now: datetime) -> timedelta:
        """How long until the node counts as silent; only what changes since we look counts as a sign of life."""
        ready = conditions.find(node, "Ready") or {}
        signs = (str((lease or {}).get("spec", {}).get("renewTime")), str(ready.get("lastHeartbeatTime")))
        known = self._heard.get(node["metadata"]["name"])
        if known is None or known[0] != signs:
            known = self._heard[node["metadata"]["name"]] = (signs, now)
        return known[1] + self._grace - now

    async def _mark(self, ctx: Context, node: Object) -> Object:
        told = silenced(node, ctx.now())
        if told is None:
            return node
        status = (node.get("status") or {}) | {"conditions": told}
        was_ready = conditions.is_true(node, "Ready")
        node = await ctx.update_status(nodes.RESOURCE, node | {"status": status})
        if was_ready:
            name = node["metadata"]["name"]
            ctx.event(node, "Normal", "NodeNotReady", f"Node {name} status is now: NodeNotReady")
            for pod in ctx.listed(pods.RESOURCE, index="node", value=name):
                await _unready(ctx, pod)
        return node


async def _unready(ctx: Context, pod: Object) -> None:
    """A pod on a silent node is not ready: Services must not send to it."""
    if not podinfo.is_ready(pod) or is_deleting(pod):
        return
    old = pod["status"]["conditions"]
    told = conditions.put(old, "Ready", "False", "NodeNotReady", "", ctx.now())
    await ctx.update_status(pods.RESOURCE, pod | {"status": pod["status"] | {"conditions": told}})
    ctx.event(pod, "Warning", "NodeNotReady", "Node is not ready")


def of_lease(_lookup: Lookup, lease: Object, _old: Object | None) -> Iterator[Key]:
    """A node's Lease wakes the node."""
    if lease["metadata"]["namespace"] == _LEASES:
        yield Key("", lease["metadata"]["name"])


def controller(config: Config) -> Controller:
    """The controller with this grace period."""
    lifecycle = Lifecycle(config)
    return Controller(
        name="node-lifecycle-controller",
        service_account="node-controller",
        reconcile=partial(Lifecycle.reconcile, lifecycle),
        shows=(
            (_SIZE, lambda lookup: (((zone,), size) for zone, (size, _) in zones(lookup).items())),
            (_HEALTH, lambda lookup: (((zone,), 100 * ready / size) for zone, (size, ready) in zones(lookup).items())),
            (_UNHEALTHY, lambda lookup: (((zone,), size - ready) for zone, (size, ready) in zones(lookup).items())),
        ),
        watches=(
            Watch(nodes.RESOURCE),
            Watch(leases.RESOURCE, keys=of_lease),
            Watch(pods.RESOURCE, keys=lambda *_: (), indexes={"node": podinfo.by_node}),
        ),
        rules=(
            Rule("nodes", "delete,get,list,patch,update,watch"),
            Rule("nodes/status,pods/status", "patch,update"),
            Rule("pods", "delete,get,list,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
