"""A Deployment's status: its counts, and the conditions Available, Progressing and ReplicaFailure."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pynetes.controllers import _conditions as conditions
from pynetes.controllers.deployment import revisions as sets
from pynetes.machinery import time
from pynetes.machinery.meta import Object

_LATEST = "NewReplicaSetAvailable"
_TIMED_OUT = "ProgressDeadlineExceeded"


def put(status: Object, kind: str, value: str, reason: str, message: str, now: datetime) -> None:
    """Set a condition of status in place; one with the same status and reason stays as it is."""
    old = conditions.among(status.get("conditions"), kind)
    if old is not None and (old["status"], old.get("reason")) == (value, reason):
        return
    kept = conditions.put(status.get("conditions") or (), kind, value, reason, message, now, lastUpdateTime="")
    # The one just written goes last, as upstream writes it.
    status["conditions"] = [*conditions.without(kept, kind), conditions.among(kept, kind)]


def counts(deployment: Object, new: Object | None, everything: Sequence[Object], now: datetime) -> Object:
    """The counts and Available; other conditions as they were."""
    before = deployment.get("status") or {}
    replicas, available = sets.counted(everything, "replicas"), sets.counted(everything, "availableReplicas")
    numbers = {
        "replicas": replicas,
        "updatedReplicas": sets.counted([new], "replicas") if new else 0,
        "readyReplicas": sets.counted(everything, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, sets.total(everything) - available),
    }
    status: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    status |= {name: count for name, count in numbers.items() if count}
    status["terminatingReplicas"] = sets.counted(everything, "terminatingReplicas")
    if before.get("collisionCount"):
        status["collisionCount"] = before["collisionCount"]
    status["conditions"] = list(before.get("conditions") or ())
    if available >= sets.replicas(deployment) - sets.limits(deployment)[1]:
        text = "Deployment has minimum availability."
        put(status, "Available", "True", "MinimumReplicasAvailable", text, now)
    else:
        text = "Deployment does not have minimum availability."
        put(status, "Available", "False", "MinimumReplicasUnavailable", text, now)
    return status


def is_complete(deployment: Object, status: Object) -> bool:
    """Whether the rollout is over: all pods are of the new template and available."""
    wanted = sets.replicas(deployment)
    numbers = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    seen = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and all(count == wanted for count in numbers)


def is_progressing(before: Object, status: Object) -> bool:
    """Whether the rollout moved since the last status."""

    def outdated(each: Object) -> int:
        return int(each.get("replicas", 0) - each.get("updatedReplicas", 0))

    names = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated(status) < outdated(before) or any(status.get(name, 0) > before.get(name, 0) for name in names)


def deadline(deployment: Object, status: Object, now: datetime) -> timedelta | None:
    """How long until the rollout counts as stuck; None when no deadline runs."""
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    progressing = conditions.among(status.get("conditions"), "Progressing")
    if not seconds or seconds >= 2**31 - 1 or progressing is None or deployment["spec"].get("paused"):
        return None
    if progressing.get("reason") in (_LATEST, _TIMED_OUT) or is_complete(deployment, status):
        return None
    since = progressing.get("lastUpdateTime")
    return time.parse(since) + timedelta(seconds=seconds) - now if since else None


def has_deadline(deployment: Object) -> bool:
    """Whether progress is watched at all."""
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds < 2**31 - 1


def rollout(deployment: Object, new: Object | None, everything: Sequence[Object], now: datetime) -> Object:
    """The status during and after a rollout."""
    status = counts(deployment, new, everything, now)
    before = deployment.get("status") or {}
    if not has_deadline(deployment):
        status["conditions"] = conditions.without(status["conditions"], "Progressing")
    current = conditions.among(before.get("conditions"), "Progressing")
    updated = status.get("updatedReplicas", 0) == status.get("replicas", 0)
    finished = updated and current is not None and current.get("reason") == _LATEST
    if has_deadline(deployment) and not finished:
        _progress(deployment, new, before, status, now)
    failures = [failure for each in everything if (failure := conditions.find(each, "ReplicaFailure"))]
    status["conditions"] = conditions.without(status["conditions"], "ReplicaFailure")
    if failures:
        status["conditions"] += [conditions.find(deployment, "ReplicaFailure") or _copied(failures[0])]
    return status


def _copied(failure: Object) -> Object:
    return failure | {"lastUpdateTime": failure["lastTransitionTime"]}


def _progress(deployment: Object, new: Object | None, before: Object, status: Object, now: datetime) -> None:
    what = f'ReplicaSet "{new["metadata"]["name"]}"' if new else f'Deployment "{deployment["metadata"]["name"]}"'
    if is_complete(deployment, status):
        put(status, "Progressing", "True", _LATEST, f"{what} has successfully progressed.", now)
    elif is_progressing(before, status):
        old = conditions.among(status["conditions"], "Progressing")
        status["conditions"] = conditions.without(status["conditions"], "Progressing")
        put(status, "Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.", now)
        if old is not None and old["status"] == "True" and old.get("lastTransitionTime"):
            status["conditions"][-1]["lastTransitionTime"] = old["lastTransitionTime"]
    else:
        left = deadline(deployment, status, now)
        if left is not None and left < timedelta():
            put(status, "Progressing", "False", _TIMED_OUT, f"{what} has timed out progressing.", now)
