"""Removes pods nobody will ever finish: of vanished nodes, terminating without a node or on one that is out of service,
and too many terminated ones."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from pynetes.apis.core import nodes, pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _pods as podinfo
from pynetes.controllers._config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

#: How long a node may be unknown before its pods go: its object may only be late.
QUARANTINE = timedelta(seconds=40)
#: A person's word that a node is down for good: its pods do not run any more, whatever the API says of them.
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FORCED = REGISTRY.counter(
    "pod_gc_collector_force_delete_pods_total",
    "Number of pods that are being forcefully deleted since the Pod GC Controller started.",
    "namespace", "reason",
)  # fmt: skip
_NOT_FORCED = REGISTRY.counter(
    "pod_gc_collector_force_delete_pod_errors_total",
    "Number of errors encountered when forcefully deleting the pods since the Pod GC Controller started.",
    "namespace", "reason",
)  # fmt: skip
#: The key of the round that trims terminated pods; no pod has it.
_TRIM = Key("", "")


def surplus(terminated: Sequence[Object], threshold: int) -> list[Object]:
    """The oldest terminated pods beyond the threshold, evicted ones first."""
    if threshold <= 0 or len(terminated) <= threshold:
        return []

    def order(pod: Object) -> tuple[bool, datetime, str]:
        evicted = (pod.get("status") or {}).get("reason") == "Evicted"
        return (not evicted, podinfo.created(pod), pod["metadata"]["name"])

    return sorted(terminated, key=order)[: len(terminated) - threshold]


def is_stuck_unscheduled(pod: Object) -> bool:
    """Whether it was deleted before it got a node, so that no kubelet will end it."""
    return is_deleting(pod) and not pod["spec"].get("nodeName")


def is_out_of_service(node: Object | None) -> bool:
    """Whether a node is tainted so, and does not contradict by being ready."""
    taints = ((node or {}).get("spec") or {}).get("taints") or ()
    tainted = any(one["key"] == OUT_OF_SERVICE for one in taints)
    return node is not None and tainted and not conditions.is_true(node, "Ready")


def terminated(lookup: Lookup) -> list[Object]:
    """All terminal pods that are not being deleted."""
    return [pod for pod in lookup.listed(pods.RESOURCE) if podinfo.is_terminal(pod) and not is_deleting(pod)]


async def reconcile(config: Config, ctx: Context, key: Key) -> timedelta | None:
    if key == _TRIM:
        for old in surplus(terminated(ctx), config.terminated_pod_threshold):
            await _delete(ctx, old, "terminated")
        return None
    pod = await ctx.cached(pods.RESOURCE, key)
    if pod is None:
        return None
    if is_stuck_unscheduled(pod):
        await _delete(ctx, pod, "unscheduled")
        return None
    node = pod["spec"].get("nodeName")
    if node and is_deleting(pod) and is_out_of_service(await ctx.cached(nodes.RESOURCE, Key("", node))):
        await _force(ctx, pod)
        return None
    return await _orphan(ctx, pod)


async def _force(ctx: Context, pod: Object) -> None:
    """End a pod that its kubelet cannot end any more; what it had attached may go elsewhere then."""
    if not podinfo.is_terminal(pod):
        await ctx.patch(pods.RESOURCE, key_of(pod), {"status": {"phase": "Failed"}}, subresource="status")
    await _delete(ctx, pod, "out-of-service")


async def _orphan(ctx: Context, pod: Object) -> timedelta | None:
    """Remove a pod of a node that is gone, live and after a while."""
    node = pod["spec"].get("nodeName")
    if not node or await ctx.cached(nodes.RESOURCE, Key("", node)) is not None:
        return None
    left = podinfo.created(pod) + QUARANTINE - ctx.now()
    if left > timedelta():
        return left
    if await ctx.live(nodes.RESOURCE, Key("", node)) is not None:
        return None
    if not podinfo.is_terminal(pod):
        await ctx.patch(pods.RESOURCE, key_of(pod), {"status": _orphaned(pod, ctx.now())}, subresource="status")
    await _delete(ctx, pod, "orphaned")
    return None


async def _delete(ctx: Context, pod: Object, reason: str) -> None:
    namespace = pod["metadata"]["namespace"]
    try:
        await ctx.delete(pods.RESOURCE, pod, grace=0)
    except StatusError:
        _NOT_FORCED.inc(namespace, reason)
        raise
    FORCED.inc(namespace, reason)


def _orphaned(pod: Object, now: datetime) -> Object:
    old = (pod.get("status") or {}).get("conditions") or ()
    text = "PodGC: node no longer exists"
    told = conditions.put(old, "DisruptionTarget", "True", "DeletionByPodGC", text, now)
    return {"phase": "Failed", "conditions": told}


def of_pod(config: Config, lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """A pod that may need removal, and the trimming round when there are too many terminated ones."""
    if old is pod:
        return
    name = pod["spec"].get("nodeName")
    found = lookup.listed(nodes.RESOURCE, index="name", value=name) if name else ()
    if is_stuck_unscheduled(pod) or (name and not found) or (is_deleting(pod) and any(map(is_out_of_service, found))):
        yield key_of(pod)
    ended = podinfo.is_terminal(pod) and (old is None or not podinfo.is_terminal(old))
    if ended and config.terminated_pod_threshold > 0 and len(terminated(lookup)) > config.terminated_pod_threshold:
        yield _TRIM


def of_node(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """A vanished node wakes its pods, and so does one that is out of service."""
    if old is node or is_out_of_service(node):
        yield from map(key_of, lookup.listed(pods.RESOURCE, index="node", value=node["metadata"]["name"]))


def by_name(obj: Object) -> tuple[str, ...]:
    """Indexes cluster-scoped objects by name."""
    return (obj["metadata"]["name"],)


def controller(config: Config) -> Controller:
    """The collector under this threshold."""
    return Controller(
        name="pod-garbage-collector-controller",
        service_account="pod-garbage-collector",
        reconcile=partial(reconcile, config),
        watches=(
            Watch(pods.RESOURCE, keys=partial(of_pod, config), indexes={"node": podinfo.by_node}),
            Watch(nodes.RESOURCE, keys=of_node, indexes={"name": by_name}),
        ),
        rules=(
            Rule("pods", "delete,list,watch"),
            Rule("nodes", "get,list,watch"),
            Rule("pods/status", "patch"),
        ),
    )
