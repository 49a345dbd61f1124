"""The arithmetic of a rollout: from the sizes and the available pods to the sizes wanted next.

Every function takes the Deployment and its ReplicaSets and returns the size of each, by name; nothing here writes.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pynetes.controllers import _pods as podinfo
from pynetes.controllers.deployment import revisions as sets
from pynetes.machinery.meta import Object

#: ReplicaSet name → its next size.
Sizes: TypeAlias = dict[str, int]


def name(replica_set: Object) -> str:
    """metadata.name."""
    return str(replica_set["metadata"]["name"])


def by_age(replica_sets: Sequence[Object]) -> list[Object]:
    """Oldest first."""
    return sorted(replica_sets, key=lambda each: (podinfo.created(each), name(each)))


def grow(deployment: Object, new: Object, old: Sequence[Object]) -> int:
    """The new ReplicaSet's next size: as large as maxSurge lets it be."""
    wanted = sets.replicas(deployment)
    if sets.replicas(new) >= wanted:
        return wanted
    return sets.size_of_new(deployment, [*old, new], new)


def shrink(deployment: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """The sizes of the old ReplicaSets: unhealthy pods go first, then as many as maxUnavailable permits."""
    everything = [*old, new] if new else list(old)
    least = sets.replicas(deployment) - sets.limits(deployment)[1]
    not_yet = sets.replicas(new) - sets.counted([new], "availableReplicas") if new else 0
    budget = sets.total(everything) - least - not_yet
    sizes = {name(each): sets.replicas(each) for each in old}
    if budget <= 0:
        return sizes
    for each in by_age(old):
        unhealthy = sizes[name(each)] - sets.counted([each], "availableReplicas")
        removed = max(0, min(budget, unhealthy))
        sizes[name(each)] -= removed
        budget -= removed
    spare = sets.counted(everything, "availableReplicas") - least
    for each in by_age(old):
        removed = max(0, min(spare, sizes[name(each)]))
        sizes[name(each)] -= removed
        spare -= removed
    return sizes


def is_saturated(deployment: Object, new: Object | None) -> bool:
    """Whether the new ReplicaSet has all its pods, and they are available."""
    if new is None:
        return False
    wanted = sets.replicas(deployment)
    return (
        sets.replicas(new) == wanted
        and sets.number(new, sets.DESIRED) == wanted
        and sets.counted([new], "availableReplicas") == wanted
    )


def scale(deployment: Object, new: Object | None, old: Sequence[Object]) -> Sizes:
    """The sizes after the Deployment itself was scaled, also in the middle of a rollout or while paused."""
    everything = [*old, new] if new else list(old)
    active = [each for each in everything if sets.replicas(each) > 0]
    if len(active) <= 1:
        only = active[0] if active else new or (by_age(old)[-1] if old else None)
        return {} if only is None else {name(only): sets.replicas(deployment)}
    if is_saturated(deployment, new):
        return {name(each): 0 for each in old if sets.replicas(each) > 0}
    if not sets.is_rolling(deployment):
        return {}
    return _proportional(deployment, active)


def _proportional(deployment: Object, active: Sequence[Object]) -> Sizes:
    """Spread what is added or removed over the ReplicaSets by their share; the largest takes what rounding leaves."""
    wanted = sets.replicas(deployment)
    allowed = wanted + sets.limits(deployment)[0] if wanted > 0 else 0
    change = allowed - sets.total(active)
    newest_first = change > 0

    def order(each: Object) -> tuple[float, float]:
        age = podinfo.created(each).timestamp()
        return (-sets.replicas(each), -age if newest_first else age)

    sizes: Sizes = {}
    spread = 0
    ordered = sorted(active, key=order)
    for each in ordered:
        share = _share(deployment, each, change, spread)
        sizes[name(each)] = sets.replicas(each) + share
        spread += share
    if ordered and change:
        first = name(ordered[0])
        sizes[first] = max(0, sizes[first] + change - spread)
    return sizes


def _share(deployment: Object, replica_set: Object, change: int, spread: int) -> int:
    size = sets.replicas(replica_set)
    if not size or not change or change == spread:
        return 0
    left = change - spread
    wanted = sets.replicas(deployment)
    if wanted == 0:
        fraction = -size
    else:
        after = wanted + sets.limits(deployment)[0]
        before = sets.number(replica_set, sets.MAXIMUM) or (deployment.get("status") or {}).get("replicas") or after
        # Rounded half away from zero, as upstream rounds it.
        fraction = (2 * size * after + before) // (2 * before) - size
    return min(fraction, left) if change > 0 else max(fraction, left)


def surplus_history(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """Old ReplicaSets beyond revisionHistoryLimit, lowest revision first, of those that have no pod left."""
    limit = deployment["spec"].get("revisionHistoryLimit")
    if limit is None:
        return []
    alive = [each for each in old if "deletionTimestamp" not in each["metadata"]]
    ordered = sorted(alive, key=lambda each: (sets.number(each, sets.REVISION), podinfo.created(each)))
    return [each for each in ordered[: max(0, len(alive) - limit)] if _is_empty(each)]


def _is_empty(replica_set: Object) -> bool:
    status = replica_set.get("status") or {}
    seen = status.get("observedGeneration", 0) >= replica_set["metadata"].get("generation", 0)
    return seen and not sets.replicas(replica_set) and not status.get("replicas")


def changed(sizes: Mapping[str, int], replica_sets: Sequence[Object]) -> list[tuple[Object, int]]:
    """The ReplicaSets whose size is another, with the new one."""
    return [
        (each, sizes[name(each)]) for each in replica_sets if sizes.get(name(each), -1) not in (-1, sets.replicas(each))
    ]
