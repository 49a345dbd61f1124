"""PodTopologySpread: alike pods are spread over zones, nodes or whatever label divides the cluster into domains."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pynetes.machinery import labels
from pynetes.machinery.meta import is_deleting
from pynetes.scheduler.columns import Mask, NodeColumns
from pynetes.scheduler.framework import MAX_SCORE, Event, Plugin, Rejection, Scores
from pynetes.scheduler.plugins.node_affinity import required_rows
from pynetes.scheduler.plugins.taint_toleration import untolerated
from pynetes.scheduler.pods import PodInfo

_REASON = "node(s) didn't match pod topology spread constraints"
_ZONE = "topology.kubernetes.io/zone"
_MISSING = f"{_REASON} (missing required label)"


class _Spread(NamedTuple):
    """One constraint over the present cluster: how many matching pods each domain has."""

    key: str
    skew: int
    counts: Mapping[str, int]
    domains: Mapping[str, set[int]]
    #: 1 if the pod matches its own constraint, as it nearly always does.
    own: int
    fewest: int


class PodTopologySpread(Plugin):
    weight = 2
    wakes_on = tuple(Event(kind, action) for kind in ("nodes", "pods") for action in ("add", "update", "delete"))

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        hard = _constraints(pod, "DoNotSchedule")
        if not hard:
            return
        labelled = _labelled(nodes, hard)
        yield Rejection(~labelled, _MISSING, unresolvable=True)
        for constraint in hard:
            spread = _spread(pod, nodes, constraint, labelled)
            full = (value for value, n in spread.counts.items() if n + spread.own - spread.fewest > spread.skew)
            yield Rejection(nodes.mask(row for value in full for row in spread.domains[value]), _REASON)

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        if not pod.spec.get("topologySpreadConstraints"):
            return _replicas_apart(pod, nodes, rows)
        soft = _constraints(pod, "ScheduleAnyway")
        if not soft:
            return None
        costs: Scores = np.zeros(len(nodes.alive))
        labelled = _labelled(nodes, soft)
        for constraint in soft:
            spread = _spread(pod, nodes, constraint, labelled)
            weight = math.log(len(spread.counts) + 2)
            for value, count in spread.counts.items():
                costs[list(spread.domains[value])] += count * weight + spread.skew - 1
        scores = _cheapest(costs[rows])
        if scores is not None:
            scores[~labelled[rows]] = 0
        return scores


def _cheapest(costs: Scores) -> Scores | None:
    highest = costs.max(initial=0.0)
    if not highest:
        return None
    scores: Scores = MAX_SCORE * (highest + costs.min() - costs) / highest
    return scores


def _replicas_apart(pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
    """Without constraints of its own, a replica keeps away from its siblings: over nodes, and over zones."""
    siblings = nodes.replicas.get(pod.controller)
    if not siblings:
        return None
    costs: Scores = np.zeros(len(nodes.alive))
    weight = math.log(len(nodes) + 2)
    for row, count in siblings.items():
        costs[row] += count * weight
    zones = nodes.labelled.get(_ZONE, {})
    for found in zones.values():
        there = sum(siblings.get(row, 0) for row in found)
        costs[list(found)] += there * math.log(len(zones) + 2)
    return _cheapest(costs[rows])


def _constraints(pod: PodInfo, when: str) -> list[Mapping[str, Any]]:
    return [c for c in pod.spec.get("topologySpreadConstraints") or () if c.get("whenUnsatisfiable") == when]


def _labelled(nodes: NodeColumns, constraints: Iterable[Mapping[str, Any]]) -> Mask:
    """The nodes that have every constraint's topology key; the others are in no domain."""
    rows = nodes.alive.copy()
    for constraint in constraints:
        rows &= nodes.mask(row for found in nodes.labelled.get(constraint["topologyKey"], {}).values() for row in found)
    return rows


def _spread(pod: PodInfo, nodes: NodeColumns, constraint: Mapping[str, Any], labelled: Mask) -> _Spread:
    eligible = labelled.copy()
    if constraint.get("nodeAffinityPolicy") != "Ignore":
        eligible &= required_rows(pod, nodes)
    if constraint.get("nodeTaintsPolicy") == "Honor":
        tolerations = pod.spec.get("tolerations") or ()
        eligible = nodes.rows_where(eligible, lambda node: untolerated(node, tolerations) is None)
    selector = _selector(pod, constraint)
    counts: dict[str, int] = {}
    domains: dict[str, set[int]] = {}
    for value, rows in nodes.labelled.get(constraint["topologyKey"], {}).items():
        inside = {row for row in rows if eligible[row]}
        if inside:
            domains[value] = rows
            counts[value] = sum(_matching(pod, info, selector) for row in inside for info in nodes.pods[row].values())
    fewest = min(counts.values(), default=0)
    if len(counts) < (constraint.get("minDomains") or 1):
        fewest = 0
    own = int(selector.matches(pod.labels))
    return _Spread(constraint["topologyKey"], constraint["maxSkew"], counts, domains, own, fewest)


def _selector(pod: PodInfo, constraint: Mapping[str, Any]) -> labels.Selector:
    given = constraint.get("labelSelector")
    same = {key: pod.labels[key] for key in constraint.get("matchLabelKeys") or () if key in pod.labels}
    if given is not None and same:
        given = {**given, "matchLabels": {**(given.get("matchLabels") or {}), **same}}
    return labels.from_label_selector(given)


def _matching(pod: PodInfo, other: PodInfo, selector: labels.Selector) -> bool:
    return other.key.namespace == pod.key.namespace and not is_deleting(other.pod) and selector.matches(other.labels)
