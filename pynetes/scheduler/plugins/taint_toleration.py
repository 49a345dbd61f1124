"""TaintToleration: a node's taints keep away pods that do not tolerate them, or make it the worse choice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection, Scores, normalised
from pynetes.scheduler.pods import PodInfo


def tolerates(tolerations: Sequence[Mapping[str, Any]], taint: Mapping[str, Any]) -> bool:
    """Whether any toleration matches the taint: an empty key with Exists matches all, an empty effect every effect."""
    return any(_matches(toleration, taint) for toleration in tolerations)


def _matches(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated(node: Object, tolerations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The node's first NoSchedule or NoExecute taint that nothing tolerates."""
    taints = (node.get("spec") or {}).get("taints") or ()
    hard = (taint for taint in taints if taint["effect"] in ("NoSchedule", "NoExecute"))
    return next((taint for taint in hard if not tolerates(tolerations, taint)), None)


class TaintToleration(Plugin):
    weight = 3
    wakes_on = (Event("nodes", "add"), Event("nodes", "update"))

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        tolerations = pod.spec.get("tolerations") or ()
        found: dict[str, list[int]] = {}
        for row in np.flatnonzero(nodes.tainted & nodes.alive).tolist():
            if taint := untolerated(nodes.node(row), tolerations):
                reason = f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
                found.setdefault(reason, []).append(row)
        for reason, rows in found.items():
            yield Rejection(nodes.mask(rows), reason, unresolvable=True)

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        tolerations = [
            t for t in pod.spec.get("tolerations") or () if t.get("effect") in (None, "", "PreferNoSchedule")
        ]
        counts: Scores = np.zeros(len(rows))
        for place in np.flatnonzero(nodes.soft_tainted[rows]).tolist():
            counts[place] = _disliked(nodes.node(int(rows[place])), tolerations)
        return normalised(counts, reverse=True) if counts.any() else None

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        return untolerated(new, pod.spec.get("tolerations") or ()) is None


def _disliked(node: Object, tolerations: Sequence[Mapping[str, Any]]) -> int:
    taints = node["spec"]["taints"]
    return sum(taint["effect"] == "PreferNoSchedule" and not tolerates(tolerations, taint) for taint in taints)
