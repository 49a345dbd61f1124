"""Says in each PodDisruptionBudget's status how many of its pods may be evicted now."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pynetes.apis.apps import deployments, replicasets, statefulsets
from pynetes.apis.core import pods, replicationcontrollers
from pynetes.apis.policy import poddisruptionbudgets as budgets
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import intstr, labels, time
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting, key_of, uid_of

#: An eviction that was allowed and has not deleted its pod by then did not happen.
DELETION_TIMEOUT = timedelta(minutes=2)
_SCALED = {
    "ReplicaSet": replicasets.RESOURCE,
    "StatefulSet": statefulsets.RESOURCE,
    "ReplicationController": replicationcontrollers.RESOURCE,
}


class Counts(NamedTuple):
    """How many pods there should be, and how many have to be healthy."""

    expected: int
    desired: int


def counts(budget: Object, present: int, scale: int) -> Counts:
    """present pods match; their controllers ask for scale."""
    spec = budget["spec"]
    if (unavailable := spec.get("maxUnavailable")) is not None:
        return Counts(scale, max(0, scale - intstr.scaled(unavailable, scale, round_up=True)))
    least = spec.get("minAvailable", 1)
    if isinstance(least, int):
        return Counts(present, least)
    return Counts(scale, intstr.scaled(least, scale, round_up=True))


def still_disrupted(budget: Object, selected: Sequence[Object], now: datetime) -> dict[str, str]:
    """The evictions that were allowed and are not seen yet."""
    alive = {pod["metadata"]["name"] for pod in selected if not is_deleting(pod)}
    noted = (budget.get("status") or {}).get("disruptedPods") or {}
    return {
        name: moment for name, moment in noted.items() if name in alive and now - time.parse(moment) < DELETION_TIMEOUT
    }


def status(budget: Object, selected: Sequence[Object], scale: int, now: datetime) -> Object:
    """The new status."""
    active = [pod for pod in selected if not podinfo.is_terminal(pod)]
    disrupted = still_disrupted(budget, active, now)
    expected, desired = counts(budget, len(active), scale)
    healthy = sum(
        podinfo.is_ready(pod) and not is_deleting(pod) and pod["metadata"]["name"] not in disrupted for pod in active
    )
    allowed = max(0, healthy - desired) if expected > 0 else 0
    made: Object = {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
    }
    made |= {"disruptedPods": disrupted} if disrupted else {}
    generation = budget["metadata"].get("generation", 0)
    value, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    told = conditions.put(
        (budget.get("status") or {}).get("conditions") or (), "DisruptionAllowed", value, reason, "", now
    )
    # message is a required field of metav1.Condition, the empty one too.
    return made | {"conditions": [{"message": "", "observedGeneration": generation} | each for each in told]}


def scale_of(lookup: Lookup, selected: Sequence[Object]) -> int:
    """What the controllers of the pods ask for, each counted once; a pod without one stands for itself."""
    found: dict[str, int] = {}
    for pod in selected:
        ref = controller_of(pod)
        if ref is None:
            found[uid_of(pod)] = 1
            continue
        uid, size = _root(lookup, pod, ref)
        if size is not None:
            found[uid] = size
    return sum(found.values())


def _root(lookup: Lookup, pod: Object, ref: Object) -> tuple[str, int | None]:
    resource, namespace = _SCALED.get(ref["kind"]), pod["metadata"]["namespace"]
    if resource is None:
        return ref["uid"], None
    owner = next((each for each in lookup.listed(resource, namespace=namespace) if uid_of(each) == ref["uid"]), None)
    above = controller_of(owner) if owner else None
    if above is not None and above["kind"] == "Deployment":
        all_above = lookup.listed(deployments.RESOURCE, namespace=namespace)
        owner = next((each for each in all_above if uid_of(each) == above["uid"]), owner)
    return (uid_of(owner), int(owner["spec"].get("replicas", 1))) if owner else (ref["uid"], None)


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    budget = await ctx.cached(budgets.RESOURCE, key)
    if budget is None or is_deleting(budget):
        return None
    selector = labels.from_label_selector(budget["spec"].get("selector"))
    inside = ctx.listed(pods.RESOURCE, namespace=key.namespace)
    selected = [pod for pod in inside if selector.matches(pod["metadata"].get("labels"))]
    if not selected:
        ctx.event(budget, "Normal", "NoPods", "No matching pods found")
    new = status(budget, selected, scale_of(ctx, selected), ctx.now())
    await ctx.update_status(budgets.RESOURCE, budget | {"status": new})
    waits = [time.parse(moment) + DELETION_TIMEOUT - ctx.now() for moment in (new.get("disruptedPods") or {}).values()]
    return min(waits, default=None)


def of_pod(lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """Wakes the budgets of a pod that came, went, or changed its health or labels."""
    if old is not None and old is not pod and _shown(old) == _shown(pod):
        return
    for budget in lookup.listed(budgets.RESOURCE, namespace=pod["metadata"]["namespace"]):
        selector = labels.from_label_selector(budget["spec"].get("selector"))
        if any(selector.matches(each["metadata"].get("labels")) for each in (pod, old or pod)):
            yield key_of(budget)


def _shown(pod: Object) -> tuple[object, ...]:
    return pod["metadata"].get("labels"), podinfo.is_ready(pod), podinfo.is_terminal(pod), is_deleting(pod)


def of_owner(lookup: Lookup, owner: Object, old: Object | None) -> Iterator[Key]:
    """Scaling wakes the budgets of the namespace."""
    if old is None or old["spec"].get("replicas") != owner["spec"].get("replicas"):
        yield from map(key_of, lookup.listed(budgets.RESOURCE, namespace=owner["metadata"]["namespace"]))


CONTROLLER = Controller(
    name="disruption-controller",
    reconcile=reconcile,
    watches=(
        Watch(budgets.RESOURCE),
        Watch(pods.RESOURCE, keys=of_pod),
        Watch(deployments.RESOURCE, keys=of_owner),
        Watch(replicasets.RESOURCE, keys=of_owner),
        Watch(statefulsets.RESOURCE, keys=of_owner),
        Watch(replicationcontrollers.RESOURCE, keys=of_owner),
    ),
    rules=(
        Rule("deployments.apps,replicasets.apps,statefulsets.apps,replicationcontrollers", "get,list,watch"),
        Rule("poddisruptionbudgets.policy", "get,list,watch"),
        Rule("poddisruptionbudgets.policy/status", "update"),
        Rule("pods/status", "patch,update"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
