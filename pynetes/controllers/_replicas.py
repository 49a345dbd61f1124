"""Keeps a number of equal pods: what ReplicaSet and ReplicationController share.

The two differ in how they write their selector and in what their status shows, which is the Kind record here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pynetes.apis.core import pods
from pynetes.client.controller import Context, Reconcile
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import labels
from pynetes.machinery.labels import Selector
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting, uid_of
from pynetes.machinery.resource import Resource

#: How many pods one reconcile creates or deletes at most, so that no controller floods the API server.
BURST = 500
_AGE_RATIO = REGISTRY.histogram(
    "replicaset_controller_sorting_deletion_age_ratio",
    "The ratio of chosen deleted pod's ages to the current youngest pod's age (at the time).",
    buckets=exponential(0.25, 2, 6),
)


@dataclass(frozen=True)
class Kind:
    """What tells the two kinds apart."""

    resource: Resource
    selector: Callable[[Object], Selector]
    counts_terminating: bool


def change(replicas: Object, active: Sequence[Object]) -> int:
    """How many pods are missing (positive) or too many (negative)."""
    wanted = int(replicas["spec"].get("replicas", 1))
    return max(-BURST, min(BURST, wanted - len(active)))


def status(
    replicas: Object, kind: Kind, children: Sequence[Object], now: datetime, failure: tuple[str, str] | None
) -> Object:
    """The status that the pods amount to; failure is (reason, message) of what went wrong in this round."""
    template = labels.from_labels(((replicas["spec"].get("template") or {}).get("metadata") or {}).get("labels"))
    minimum = replicas["spec"].get("minReadySeconds", 0)
    active = [pod for pod in children if podinfo.is_active(pod)]
    new: Object = {"replicas": len(active)}
    counts = {
        "fullyLabeledReplicas": sum(template.matches(pod["metadata"].get("labels")) for pod in active),
        "readyReplicas": sum(podinfo.is_ready(pod) for pod in active),
        "availableReplicas": sum(podinfo.is_available(pod, minimum, now) for pod in active),
    }
    new |= {name: count for name, count in counts.items() if count}
    if kind.counts_terminating:
        new["terminatingReplicas"] = sum(podinfo.is_terminating(pod) for pod in children)
    new["observedGeneration"] = replicas["metadata"].get("generation", 0)
    old = (replicas.get("status") or {}).get("conditions") or []
    if failure is None:
        kept = conditions.without(old, "ReplicaFailure")
    elif conditions.among(old, "ReplicaFailure") is None:
        kept = conditions.put(old, "ReplicaFailure", "True", failure[0], failure[1], now)
    else:
        kept = old  # the first failure is told until it is over
    return new | ({"conditions": kept} if kept else {})


def reconciler(kind: Kind) -> Reconcile:
    """The reconcile function of a kind."""

    async def reconcile(ctx: Context, key: Key) -> timedelta | None:
        replicas = await ctx.cached(kind.resource, key)
        if replicas is None:
            return None
        known = ctx.satisfied(key)
        children = await owned.claim(ctx, kind.resource, replicas, pods.RESOURCE, kind.selector(replicas))
        failure: tuple[str, str] | None = None
        error: Exception | None = None
        if known and not is_deleting(replicas):
            created, failure, error = await _manage(ctx, kind, key, replicas, children)
            if created and error is None:
                return None  # the pods' arrival wakes this again: a status without them would be a write for nothing
        now = ctx.now()
        await ctx.update_status(kind.resource, replicas | {"status": status(replicas, kind, children, now, failure)})
        if error is not None:
            raise error
        return podinfo.next_available(children, replicas["spec"].get("minReadySeconds", 0), now)

    return reconcile


async def _manage(
    ctx: Context, kind: Kind, key: Key, replicas: Object, children: Sequence[Object]
) -> tuple[int, tuple[str, str] | None, Exception | None]:
    """How many pods were created, and what went wrong."""
    active = [pod for pod in children if podinfo.is_active(pod)]
    difference = change(replicas, active)
    if difference > 0:
        created, error = await _create(ctx, kind, key, replicas, difference)
        return created, (("FailedCreate", str(error)) if error else None), error
    if difference < 0:
        victims = surplus(ctx, kind, replicas, active, -difference)
        for ratio in age_ratios(active, victims, ctx.now()):
            _AGE_RATIO.observe(ratio)
        error = await _delete(ctx, key, replicas, victims)
        return 0, (("FailedDelete", str(error)) if error else None), error
    return 0, None, None


def age_ratios(active: Sequence[Object], victims: Sequence[Object], now: datetime) -> list[float]:
    """Of each ready pod to delete: how many times as old it is as the youngest ready pod."""
    youngest = max((podinfo.created(pod) for pod in active if podinfo.is_ready(pod)), default=now)
    if youngest >= now:
        return []
    return [(now - podinfo.created(pod)) / (now - youngest) for pod in victims if podinfo.is_ready(pod)]


def surplus(ctx: Context, kind: Kind, replicas: Object, active: Sequence[Object], count: int) -> list[Object]:
    """The pods to delete; those that share a node with pods of sibling ReplicaSets go early, as a rollout wants it."""
    siblings = Counter(pod["spec"].get("nodeName") for pod in _related(ctx, kind, replicas) if podinfo.is_active(pod))
    return podinfo.first_to_go(active, count, lambda pod: siblings[pod["spec"].get("nodeName")])


def _related(ctx: Context, kind: Kind, replicas: Object) -> Iterable[Object]:
    """Pods of all ReplicaSets with the same controller, this one's included."""
    namespace = replicas["metadata"]["namespace"]
    owner = controller_of(replicas)
    family = [replicas]
    if owner is not None:
        family = list(ctx.listed(kind.resource, namespace=namespace, index="controller", value=owner["uid"]))
    for member in family:
        yield from ctx.listed(pods.RESOURCE, namespace=namespace, index="controller", value=uid_of(member))


async def _create(ctx: Context, kind: Kind, key: Key, replicas: Object, count: int) -> tuple[int, Exception | None]:
    ctx.expect(key, creates=count)

    async def create(_number: int) -> None:
        pod = owned.pod_from_template(replicas["spec"]["template"], kind.resource, replicas)
        await owned.create_pod(ctx, pods.RESOURCE, replicas, pod)

    created, error = await owned.slow_start(count, create)
    if error is not None and owned.namespace_is_terminating(error):
        return created, None
    return created, error


async def _delete(ctx: Context, key: Key, replicas: Object, victims: Sequence[Object]) -> Exception | None:
    ctx.expect(key, deletes=[uid_of(pod) for pod in victims])

    async def delete(number: int) -> None:
        await owned.delete_pod(ctx, pods.RESOURCE, replicas, victims[number])

    _, error = await owned.slow_start(len(victims), delete)
    return error
