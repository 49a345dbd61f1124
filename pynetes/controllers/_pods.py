"""What controllers ask about a pod, and which of several pods goes first when there are too many."""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pynetes.controllers import _conditions as conditions
from pynetes.machinery import time
from pynetes.machinery.meta import Object, is_deleting

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_NEVER = datetime(1, 1, 1, tzinfo=UTC)


def phase(pod: Object) -> str:
    """status.phase, Pending while the pod has no status."""
    return (pod.get("status") or {}).get("phase") or "Pending"


def is_terminal(pod: Object) -> bool:
    """Whether the pod has Succeeded or Failed."""
    return phase(pod) in ("Succeeded", "Failed")


def is_active(pod: Object) -> bool:
    """Whether the pod counts as a replica: neither terminal nor going away."""
    return not is_terminal(pod) and not is_deleting(pod)


def is_terminating(pod: Object) -> bool:
    """Whether the pod is on its way out and still runs something."""
    return is_deleting(pod) and not is_terminal(pod)


def is_ready(pod: Object) -> bool:
    """Whether its Ready condition is True."""
    return conditions.is_true(pod, "Ready")


def available_in(pod: Object, min_ready_seconds: int, now: datetime) -> timedelta | None:
    """How long until the pod is available: zero or less when it is, None when it is not ready."""
    ready = conditions.find(pod, "Ready")
    if ready is None or ready["status"] != "True" or is_deleting(pod):
        return None
    if not min_ready_seconds:
        return timedelta()
    since = conditions.transition(ready)
    return None if since is None else since + timedelta(seconds=min_ready_seconds) - now


def is_available(pod: Object, min_ready_seconds: int, now: datetime) -> bool:
    """Whether the pod has been ready for min_ready_seconds."""
    left = available_in(pod, min_ready_seconds, now)
    return left is not None and left <= timedelta()


def next_available(pods: Iterable[Object], min_ready_seconds: int, now: datetime) -> timedelta | None:
    """When to look again because a ready pod becomes available; None when none is waiting."""
    waits = (available_in(pod, min_ready_seconds, now) for pod in pods)
    return min((wait for wait in waits if wait is not None and wait > timedelta()), default=None)


def restarts(pod: Object) -> int:
    """The largest restart count of its containers."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return max((status.get("restartCount", 0) for status in statuses), default=0)


def created(obj: Object) -> datetime:
    """metadata.creationTimestamp."""
    text = obj["metadata"].get("creationTimestamp")
    return time.parse(text) if text else _NEVER


def deletion_cost(pod: Object) -> int:
    """The annotation by which a user says what losing this pod costs; 0 when absent or no number."""
    try:
        return int((pod["metadata"].get("annotations") or {}).get(DELETION_COST, 0))
    except ValueError:
        return 0


def ready_since(pod: Object) -> datetime:
    """When the pod became ready."""
    ready = conditions.find(pod, "Ready")
    return (conditions.transition(ready) if ready else None) or _NEVER


def deletion_rank(pod: Object, neighbours: int) -> tuple[Any, ...]:
    """Sorts the pod to delete first to the front; neighbours is how many siblings share its node.

    The order is upstream's: without a node, Pending before Unknown before Running, not ready, cheap, crowded, ready for
    a shorter time, often restarted, young.
    """
    ready = is_ready(pod)
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
        ready,
        deletion_cost(pod),
        -neighbours,
        -ready_since(pod).timestamp() if ready else 0,
        -restarts(pod),
        -created(pod).timestamp(),
    )


def first_to_go(pods: Sequence[Object], count: int, neighbours: Callable[[Object], int]) -> list[Object]:
    """The count pods that a scale-down deletes."""
    return sorted(pods, key=lambda pod: deletion_rank(pod, neighbours(pod)))[:count]


def by_node(pod: Object) -> tuple[str, ...]:
    """Indexes pods by spec.nodeName."""
    return (pod["spec"]["nodeName"],) if pod["spec"].get("nodeName") else ()
