"""Ends pods whose devices have a NoExecute taint that their claims do not tolerate, or tolerate only for a while.

What a claim tolerates stands in its allocation, as it was when the device was chosen. A pod that has not been bound yet
needs no ending: the scheduler does not give it the device.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from pynetes.apis.core import pods
from pynetes.apis.resource import resourceclaims as claims
from pynetes.apis.resource import resourceslices as slices
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _pods as podinfo
from pynetes.controllers import tainteviction
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

#: A device's driver, pool and name in it.
Device = tuple[str, str, str]
_DELETED = REGISTRY.counter(
    "device_taint_eviction_controller_pod_deletions_total",
    "Total number of Pods deleted by DeviceTaintEvictionController since its start.",
)
_LATE = REGISTRY.histogram(
    "device_taint_eviction_controller_pod_deletion_duration_seconds",
    "Latency, in seconds, between the time when a taint effect has been activated for the Pod and its deletion via "
    "DeviceTaintEvictionController.",
    buckets=tainteviction.BUCKETS,
)


def deadline(claim: Object, tainted: dict[Device, list[Object]], now: datetime) -> datetime | None:
    """When the pods that have a claim must go; None when they may stay."""
    allocation = (claim.get("status") or {}).get("allocation") or {}
    found = []
    for result in (allocation.get("devices") or {}).get("results") or ():
        taints = tainted.get((result["driver"], result["pool"], result["device"])) or ()
        tolerant: Object = {"spec": {"tolerations": result.get("tolerations") or ()}}
        found.append(tainteviction.evict_at(tolerant, taints, now))
    return min((moment for moment in found if moment is not None), default=None)


def tainted(listed: Sequence[Object]) -> dict[Device, list[Object]]:
    """The devices of slices that have NoExecute taints, and these; of a pool the newest generation counts."""
    newest: dict[tuple[str, str], int] = {}
    for one in listed:
        pool = one["spec"]["driver"], one["spec"]["pool"]["name"]
        newest[pool] = max(newest.get(pool, 0), one["spec"]["pool"].get("generation", 0))
    return {
        (*_pool(one), device["name"]): taints
        for one in listed
        if one["spec"]["pool"].get("generation", 0) == newest[_pool(one)]
        for device in one["spec"].get("devices") or ()
        if (taints := tainteviction.no_execute({"spec": device}))
    }


def _pool(one: Object) -> tuple[str, str]:
    return one["spec"]["driver"], one["spec"]["pool"]["name"]


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    claim = await ctx.cached(claims.RESOURCE, key)
    moment = deadline(claim, tainted(ctx.listed(slices.RESOURCE)), ctx.now()) if claim else None
    if claim is None or moment is None:
        return None
    if moment > ctx.now():
        return moment - ctx.now()
    for consumer in claim["status"].get("reservedFor") or ():
        pod = await ctx.live(pods.RESOURCE, Key(key.namespace, consumer["name"]))
        here = pod is not None and pod["metadata"]["uid"] == consumer["uid"]
        if pod is not None and here and not is_deleting(pod) and not podinfo.is_terminal(pod):
            await _end(ctx, pod, claim, moment)
    return None


async def _end(ctx: Context, pod: Object, claim: Object, moment: datetime) -> None:
    key = key_of(pod)
    ctx.event(pod, "Normal", "DeviceTaintManagerEviction", f"Marking for deletion Pod {key}")
    old = (pod.get("status") or {}).get("conditions") or ()
    text = f"Device taint manager: deleting due to NoExecute taint of a device of {claim['metadata']['name']}"
    told = conditions.put(old, "DisruptionTarget", "True", "DeletionByDeviceTaintManager", text, ctx.now())
    await ctx.patch(pods.RESOURCE, key, {"status": {"conditions": told}}, subresource="status")
    await ctx.delete(pods.RESOURCE, pod)
    _DELETED.inc()
    _LATE.observe(max(0.0, (ctx.now() - moment).total_seconds()))


def of_claim(lookup: Lookup, claim: Object, old: Object | None) -> Iterator[Key]:
    """A claim that has got devices, or consumers."""
    if old is not claim and (claim.get("status") or {}).get("reservedFor"):
        yield key_of(claim)


def of_slice(lookup: Lookup, one: Object, old: Object | None) -> Iterator[Key]:
    """The claims on devices of a slice that has NoExecute taints."""
    if old is one or tainted([one]) == tainted([old] if old else []):
        return
    for claim in lookup.listed(claims.RESOURCE):
        results = (((claim.get("status") or {}).get("allocation") or {}).get("devices") or {}).get("results") or ()
        if any((result["driver"], result["pool"]) == _pool(one) for result in results):
            yield key_of(claim)


CONTROLLER = Controller(
    name="device-taint-eviction-controller",
    reconcile=reconcile,
    watches=(
        Watch(claims.RESOURCE, keys=of_claim),
        Watch(slices.RESOURCE, keys=of_slice),
    ),
    rules=(
        Rule("resourceclaims.resource.k8s.io", "get,list,watch"),
        Rule("resourceslices.resource.k8s.io", "get,list,watch"),
        Rule("deviceclasses.resource.k8s.io", "get,list,watch"),
        Rule("pods", "delete,get,list,watch"),
        Rule("pods/status", "patch,update"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
