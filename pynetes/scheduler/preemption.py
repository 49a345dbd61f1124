"""DefaultPreemption: which pods must go so that a more important one fits, decided purely.

On every node that could help, all less important pods are taken away in thought; where the pod then fits, they are put
back one by one, the most important first, and those whose disruption budget would be violated before the others. Those
that cannot be put back are the node's victims, and the node whose victims hurt least is chosen, by upstream's order.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pynetes.machinery import labels
from pynetes.machinery.meta import Object
from pynetes.scheduler import framework
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Fit, Plugin
from pynetes.scheduler.pods import PodInfo

#: On at most this many nodes victims are looked for; upstream stops there as well.
MOST_CANDIDATES = 100

_NOT_HELPFUL = "Preemption is not helpful for scheduling"
_NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True)
class Nomination:
    """The node to make room on, and the pods that must leave it."""

    node: str
    victims: tuple[PodInfo, ...]


@dataclass(frozen=True)
class _Candidate:
    row: int
    victims: tuple[PodInfo, ...]
    violations: int


@dataclass
class _Budget:
    namespace: str
    selects: Callable[[PodInfo], bool]
    left: int


def choose(
    plugins: Sequence[Plugin], pod: PodInfo, nodes: NodeColumns, fit: Fit, budgets: Sequence[Object]
) -> Nomination | str:
    """Where and whom to preempt, or, as text for the user, why that would not help."""
    if pod.spec.get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    rows = np.flatnonzero(nodes.alive & ~fit.unresolvable).tolist()
    removable = {row: _lower(pod, nodes, row) for row in rows}
    with _without(nodes, {row: found for row, found in removable.items() if found}):
        fitting = set(framework.fit(plugins, pod, nodes).rows.tolist())
    helped = [row for row in rows if removable[row] and row in fitting][:MOST_CANDIDATES]
    if not helped:
        return _refusal(len(nodes), len(rows))
    candidates = [_victims(plugins, pod, nodes, row, removable[row], budgets) for row in helped]
    best = min(candidates, key=_cost)
    return Nomination(nodes.name(best.row), best.victims)


def _refusal(total: int, possible: int) -> str:
    counts = ((total - possible, _NOT_HELPFUL), (possible, _NO_VICTIMS))
    reasons = sorted(f"{count} {reason}" for count, reason in counts if count)
    return f"0/{total} nodes are available: {', '.join(reasons)}."


def _lower(pod: PodInfo, nodes: NodeColumns, row: int) -> list[PodInfo]:
    return [info for info in nodes.pods[row].values() if info.priority < pod.priority]


@contextmanager
def _without(nodes: NodeColumns, removed: dict[int, list[PodInfo]]) -> Iterator[None]:
    """Take pods away for the time of the block."""
    names = {row: nodes.name(row) for row in removed}
    for row, found in removed.items():
        for info in found:
            nodes.remove_pod(names[row], info)
    try:
        yield
    finally:
        for row, found in removed.items():
            for info in found:
                nodes.add_pod(names[row], info)


def _victims(
    plugins: Sequence[Plugin],
    pod: PodInfo,
    nodes: NodeColumns,
    row: int,
    removable: list[PodInfo],
    budgets: Sequence[Object],
) -> _Candidate:
    ordered = sorted(removable, key=_importance)
    violating = _violating(ordered, budgets)
    gone: list[PodInfo] = []
    violations = 0
    name = nodes.name(row)
    with _without(nodes, {row: ordered}):
        kept: list[PodInfo] = []
        for info in [*violating, *(info for info in ordered if info not in violating)]:
            nodes.add_pod(name, info)
            if row in framework.fit(plugins, pod, nodes).rows:
                kept.append(info)
            else:
                nodes.remove_pod(name, info)
                gone.append(info)
                violations += info in violating
        for info in kept:
            nodes.remove_pod(name, info)
    return _Candidate(row, tuple(sorted(gone, key=_importance)), violations)


def _importance(info: PodInfo) -> tuple[int, str]:
    """Sorts the most important first: higher priority, then running for longer."""
    return -info.priority, _started(info)


def _started(info: PodInfo) -> str:
    return str((info.pod.get("status") or {}).get("startTime") or "9")


def _violating(ordered: Sequence[PodInfo], budgets: Sequence[Object]) -> list[PodInfo]:
    """The pods whose eviction no budget has room for, when all are evicted in this order."""
    counted = [_budget(budget) for budget in budgets]
    found = []
    for info in ordered:
        matching = [b for b in counted if b.namespace == info.key.namespace and info.labels and b.selects(info)]
        for budget in matching:
            budget.left -= 1
        if any(budget.left < 0 for budget in matching):
            found.append(info)
    return found


def _budget(budget: Object) -> _Budget:
    selector = labels.from_label_selector(budget["spec"].get("selector"))
    allowed = int((budget.get("status") or {}).get("disruptionsAllowed") or 0)
    return _Budget(budget["metadata"]["namespace"], lambda info: selector.matches(info.labels), allowed)


def _cost(candidate: _Candidate) -> tuple[int, int, int, int, tuple[int, ...]]:
    """Fewest violated budgets, then the least important victims, the smallest sum, the fewest, the youngest."""
    victims = candidate.victims
    highest = victims[0].priority if victims else -(2**31)
    first = max((_started(v) for v in victims if v.priority == highest), default="")
    youngest = tuple(-ord(character) for character in first)
    return candidate.violations, highest, sum(v.priority + 2**31 for v in victims), len(victims), youngest
