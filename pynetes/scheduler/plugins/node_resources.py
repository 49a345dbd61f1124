"""NodeResourcesFit and BalancedAllocation: what the pod requests must be free; emptier, balanced nodes are better."""

from collections.abc import Callable, Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import MAX_SCORE, Event, Plugin, Rejection, Scores
from pynetes.scheduler.pods import PodInfo, amount


class NodeResourcesFit(Plugin):
    """Scores with LeastAllocated over cpu and memory."""

    wakes_on = (
        *(Event("nodes", action) for action in ("add", "update")),
        *(Event("pods", action) for action in ("delete", "update")),
        *(Event("deviceclasses", action) for action in ("add", "update")),
    )

    def __init__(self, of_devices: Callable[[], Collection[str]] = tuple) -> None:
        """of_devices: extended resources that a node may serve with devices to claim, when it has none of its own."""
        self._of_devices = of_devices

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        for resource, wanted in sorted(pod.requests.items()):
            if not wanted:
                continue
            column = nodes.column(resource)
            have = nodes.allocatable[:, column]
            short = nodes.requested[:, column] + wanted > have
            if "/" in resource and resource in self._of_devices():
                short &= have > 0
            reason = "Too many pods" if resource == "pods" else f"Insufficient {resource}"
            never = short & (have < wanted)  # not even an empty node has it
            yield Rejection(never, reason, unresolvable=True)
            yield Rejection(short & ~never, reason)

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        free = 1 - _fractions(pod, nodes, rows)
        least: Scores = np.floor(np.clip(free, 0, 1) * MAX_SCORE).mean(axis=1)
        return least

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        if event.resource == "deviceclasses":
            return any("/" in name for name in pod.requests)
        if event.resource == "nodes":
            have = (new.get("status") or {}).get("allocatable") or {}
            known = self._of_devices() if any("/" in name for name in pod.requests) else ()
            enough = all(
                amount(name, have.get(name, 0)) >= wanted or name in known for name, wanted in pod.requests.items()
            )
            return enough and (old is None or have != ((old.get("status") or {}).get("allocatable") or {}))
        after = PodInfo(new).requests if event.action == "update" else {}
        before = PodInfo(old or new).requests
        return any(before.get(name, 0) > after.get(name, 0) for name, wanted in pod.requests.items() if wanted)


class NodeResourcesBalancedAllocation(Plugin):
    """Prefers nodes whose cpu and memory would be used to similar degrees."""

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        if not (pod.requests.get("cpu") or pod.requests.get("memory")):
            return None  # a best-effort pod unbalances nothing
        fractions = np.clip(_fractions(pod, nodes, rows), 0, 1)
        balanced: Scores = np.floor((1 - fractions.std(axis=1)) * MAX_SCORE)
        return balanced


def _fractions(pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Used after placing the pod, of cpu and of memory; a node that has none counts as full."""
    have = nodes.allocatable[rows][:, :2]
    used = nodes.nonzero[rows] + np.array(pod.nonzero, dtype=np.int64)
    return np.divide(used, have, out=np.ones(have.shape), where=have > 0)
