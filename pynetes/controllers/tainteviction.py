"""Evicts pods from nodes with NoExecute taints that they do not tolerate, or tolerate only for a while."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pynetes.apis.core import nodes, pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _nodeaffinity as affinity
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

#: Seconds from when a pod had to go until it was deleted.
BUCKETS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240)
_DELETED = REGISTRY.counter(
    "taint_eviction_controller_pod_deletions_total",
    "Total number of Pods deleted by TaintEvictionController since its start.",
)
_LATE = REGISTRY.histogram(
    "taint_eviction_controller_pod_deletion_duration_seconds",
    "Latency, in seconds, between the time when a taint effect has been activated for the Pod and its deletion via "
    "TaintEvictionController.",
    buckets=BUCKETS,
)


def evict_at(pod: Object, taints: Sequence[Object], now: datetime) -> datetime | None:
    """When the pod has to go; None when it may stay. The taints are the node's NoExecute ones."""
    deadlines: list[datetime] = []
    for taint in taints:
        using = [each for each in pod["spec"].get("tolerations") or () if affinity.tolerates(each, taint)]
        if not using:
            return now
        limits = [each["tolerationSeconds"] for each in using if each.get("tolerationSeconds") is not None]
        if limits:
            since = time.parse(taint["timeAdded"]) if taint.get("timeAdded") else now
            deadlines.append(since + timedelta(seconds=max(0, min(limits))))
    return min(deadlines, default=None)


def no_execute(node: Object | None) -> list[Object]:
    """The NoExecute taints of a node."""
    return [taint for taint in (node or {}).get("spec", {}).get("taints") or () if taint["effect"] == "NoExecute"]


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    pod = await ctx.cached(pods.RESOURCE, key)
    if pod is None or is_deleting(pod) or not pod["spec"].get("nodeName"):
        return None
    taints = no_execute(await ctx.cached(nodes.RESOURCE, Key("", pod["spec"]["nodeName"])))
    deadline = evict_at(pod, taints, ctx.now()) if taints else None
    if deadline is None:
        return None
    if deadline > ctx.now():
        return deadline - ctx.now()
    ctx.event(pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}")
    old = (pod.get("status") or {}).get("conditions") or ()
    text = "Taint manager: deleting due to NoExecute taint"
    told = conditions.put(old, "DisruptionTarget", "True", "DeletionByTaintManager", text, ctx.now())
    await ctx.patch(pods.RESOURCE, key, {"status": {"conditions": told}}, subresource="status")
    await ctx.delete(pods.RESOURCE, pod)
    _DELETED.inc()
    _LATE.observe(max(0.0, (ctx.now() - deadline).total_seconds()))
    return None


def of_pod(lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """A pod that is on a tainted node."""
    name = pod["spec"].get("nodeName")
    if name and old is not pod and any(map(no_execute, lookup.listed(nodes.RESOURCE, index="name", value=name))):
        yield key_of(pod)


def of_node(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """All pods of a node whose NoExecute taints changed."""
    if old is not node and no_execute(node) != no_execute(old):
        yield from map(key_of, lookup.listed(pods.RESOURCE, index="node", value=node["metadata"]["name"]))


def by_name(node: Object) -> tuple[str, ...]:
    """Indexes nodes by name."""
    return (node["metadata"]["name"],)


CONTROLLER = Controller(
    name="taint-eviction-controller",
    service_account="node-controller",
    reconcile=reconcile,
    watches=(
        Watch(nodes.RESOURCE, keys=of_node, indexes={"name": by_name}),
        Watch(pods.RESOURCE, keys=of_pod, indexes={"node": podinfo.by_node}),
    ),
    rules=(
        Rule("nodes", "get,list,watch"),
        Rule("pods", "delete,get,list,watch"),
        Rule("pods/status", "patch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
