"""The extension points. A plugin is the methods it defines; a rejection is a value, not an exception.

    pre_enqueue   may keep a pod out of the queue altogether
    filter_nodes  rejects nodes, all in one vector operation
    score_nodes   prefers some of those left, 0 to 100 each
    reserve, unreserve   keep what a placed pod will need, and give it back when it is not bound after all
    pre_bind      does what has to be done before the pod is bound; may take long, and may fail
    follow        names what else of the cluster it has to know
    wakes_on, hint   say which events may make a pod schedulable that this plugin rejected

Order and weights are the visible list in plugins/__init__.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import Mask, NodeColumns
from pynetes.scheduler.pods import PodInfo

Scores = NDArray[np.float64]
MAX_SCORE = 100.0


class Event(NamedTuple):
    """Something that happened in the cluster: ("nodes", "add"). action is add, update or delete."""

    resource: str
    action: str


class Rejection(NamedTuple):
    """Rows that a plugin rejects and why, as the user reads it.

    unresolvable: no preemption on these nodes can help."""

    rows: Mask
    reason: str
    unresolvable: bool = False


class Plugin:
    """Subclass it and define the extension points that matter. The name is the class's."""

    wakes_on: ClassVar[tuple[Event, ...]] = ()
    #: How much the score counts among the others.
    weight: ClassVar[int] = 1

    @property
    def name(self) -> str:
        """As in upstream's configuration."""
        return type(self).__name__

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        """Why the pod must not be scheduled yet; None if it may."""

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        """Which nodes cannot take the pod. A node may be rejected for several reasons."""
        return ()

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        """How well each of these rows suits, 0 to 100; None if all are alike."""

    def follow(self, informers: InformerFactory) -> None:
        """Follow what the plugin has to know besides nodes and pods."""

    def reserve(self, pod: PodInfo, node: Object) -> None:
        """The pod will go to this node. Must not fail."""

    def unreserve(self, pod: PodInfo) -> None:
        """The pod has been bound, or will not be: nothing is kept for it any more. Must not fail."""

    async def pre_bind(self, pod: PodInfo, client: Client) -> None:
        """Do what has to come before the binding. An exception means that the pod is not bound."""

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        """Whether an event of wakes_on may let the pod through; ask only what is cheap to know."""
        return True


@dataclass(kw_only=True)
class Fit:
    """What the filters left over, and why the rest was rejected."""

    rows: NDArray[np.int64]
    total: int
    reasons: dict[str, int] = field(default_factory=dict)
    #: Names of the plugins that rejected any node.
    rejected_by: set[str] = field(default_factory=set)
    unresolvable: Mask = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))

    @property
    def message(self) -> str:
        """0/3 nodes are available: 1 Insufficient cpu, 2 node(s) …. With no node at all, that."""
        if not self.total:
            return "no nodes available to schedule pods"
        causes = sorted(f"{count} {reason}" for reason, count in self.reasons.items())
        return (
            f"0/{self.total} nodes are available: {', '.join(causes)}."
            if causes
            else f"0/{self.total} nodes are available."
        )


#: Told the plugin's name, the extension point, and how many seconds it took.
Told: TypeAlias = Callable[[str, str, float], None]


def fit(plugins: Sequence[Plugin], pod: PodInfo, nodes: NodeColumns, told: Told | None = None) -> Fit:
    """Run the filters in order; a node is charged with the reasons of the first plugin that rejects it."""
    feasible = nodes.alive.copy()
    result = Fit(rows=np.zeros(0, dtype=np.int64), total=len(nodes), unresolvable=np.zeros_like(feasible))
    for plugin in plugins:
        before, began = feasible.copy(), perf_counter()
        for rejection in plugin.filter_nodes(pod, nodes):
            hit = rejection.rows & before
            if count := int(np.count_nonzero(hit)):
                result.reasons[rejection.reason] = result.reasons.get(rejection.reason, 0) + count
                result.rejected_by.add(plugin.name)
                feasible &= ~hit
                if rejection.unresolvable:
                    result.unresolvable |= hit
        if told:
            told(plugin.name, "Filter", perf_counter() - began)
        if not feasible.any():
            break
    result.rows = np.flatnonzero(feasible)
    return result


def best(
    plugins: Sequence[Plugin], pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64], told: Told | None = None
) -> NDArray[np.int64]:
    """The rows with the highest sum of weighted scores: several when they are alike."""
    if len(rows) < 2:
        return rows
    total: Scores = np.zeros(len(rows))
    for plugin in plugins:
        began = perf_counter()
        scores: Any = plugin.score_nodes(pod, nodes, rows)
        if told:
            told(plugin.name, "Score", perf_counter() - began)
        if scores is not None:
            total += plugin.weight * scores
    top: NDArray[np.int64] = rows[total >= total.max() - 1e-9]
    return top


def normalised(raw: Scores, *, reverse: bool = False) -> Scores:
    """Scale to 0..100 by the largest; reverse makes the smallest the best."""
    top = raw.max(initial=0.0)
    if top == 0:
        return np.full_like(raw, MAX_SCORE) if reverse else raw
    scaled = raw * (MAX_SCORE / top)
    result: Scores = MAX_SCORE - scaled if reverse else scaled
    return result
