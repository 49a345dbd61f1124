"""InterPodAffinity: pods that want to be near certain others, or away from them, and others that want the same of them.

A term speaks of a domain: the nodes that share a value of its topology key. Pods that have terms are indexed, so that a
pod without any costs nothing but a look at those.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynetes.machinery import labels
from pynetes.scheduler.columns import Mask, NodeColumns, labels_of
from pynetes.scheduler.framework import MAX_SCORE, Event, Plugin, Rejection, Scores
from pynetes.scheduler.pods import PodInfo

_AFFINITY = "node(s) didn't match pod affinity rules"
_ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
_EXISTING = "node(s) didn't satisfy existing pods anti-affinity rules"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


class Term:
    """A PodAffinityTerm of a pod, compiled."""

    def __init__(self, owner: PodInfo, term: Mapping[str, Any], weight: int = 0) -> None:
        self.topology_key: str = term["topologyKey"]
        self.weight = weight
        self._selector = _selector(owner, term)
        named, by_label = term.get("namespaces") or (), term.get("namespaceSelector")
        self._namespaces = set(named) if named or by_label is not None else {owner.key.namespace}
        self._by_label = labels.from_label_selector(by_label)

    def matches(self, other: PodInfo, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Whether the term speaks of this pod; namespaces has the labels of each."""
        where = other.key.namespace
        if where not in self._namespaces and not self._by_label.matches(namespaces.get(where) or {}):
            return False
        return self._selector.matches(other.labels)


class InterPodAffinity(Plugin):
    weight = 2
    wakes_on = tuple(Event(kind, action) for kind in ("nodes", "pods") for action in ("add", "update", "delete"))

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        affinity, anti = terms(pod, "podAffinity", _REQUIRED), terms(pod, "podAntiAffinity", _REQUIRED)
        if affinity:
            yield Rejection(~_near(pod, affinity, nodes), _AFFINITY, unresolvable=True)
        for term in anti:
            taken = _values(nodes, term, (info for info in _pods(nodes) if term.matches(info[1], nodes.namespaces)))
            yield Rejection(_domain_rows(nodes, term.topology_key, taken), _ANTI_AFFINITY)
        for row, info in _with_terms(nodes):
            for term in terms(info, "podAntiAffinity", _REQUIRED):
                if term.matches(pod, nodes.namespaces):
                    value = labels_of(nodes.node(row)).get(term.topology_key)
                    if value is not None:
                        yield Rejection(_domain_rows(nodes, term.topology_key, (value,)), _EXISTING)

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        points: Scores = np.zeros(len(nodes.alive))
        for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
            for term in terms(pod, kind, _PREFERRED):
                found = (place for place in _pods(nodes) if term.matches(place[1], nodes.namespaces))
                for value, count in _values(nodes, term, found).items():
                    points[_domain_rows(nodes, term.topology_key, (value,))] += sign * term.weight * count
            for row, info in _with_terms(nodes):
                for term in (*terms(info, kind, _PREFERRED), *(terms(info, kind, _REQUIRED) if sign > 0 else ())):
                    if term.matches(pod, nodes.namespaces):
                        value = labels_of(nodes.node(row)).get(term.topology_key, "")
                        points[_domain_rows(nodes, term.topology_key, (value,))] += sign * (term.weight or 1)
        mine = points[rows]
        span = mine.max() - mine.min()
        if not span:
            return None
        scores: Scores = MAX_SCORE * (mine - mine.min()) / span
        return scores


def terms(pod: PodInfo, kind: str, strength: str) -> Sequence[Term]:
    """A pod's terms of podAffinity or podAntiAffinity, compiled once per version of the pod."""
    known = pod.compiled.get((kind, strength))
    if known is None:
        given = ((pod.spec.get("affinity") or {}).get(kind) or {}).get(strength) or ()
        if strength == _PREFERRED:
            known = tuple(Term(pod, item["podAffinityTerm"], item["weight"]) for item in given)
        else:
            known = tuple(Term(pod, item) for item in given)
        pod.compiled[kind, strength] = known
    return known


def _near(pod: PodInfo, affinity: Sequence[Term], nodes: NodeColumns) -> Mask:
    """The nodes in whose domains, of every term, there is a pod that all terms speak of."""
    found = [place for place in _pods(nodes) if all(term.matches(place[1], nodes.namespaces) for term in affinity)]
    rows: Mask = nodes.alive.copy()
    if not found and all(term.matches(pod, nodes.namespaces) for term in affinity):
        for term in affinity:  # the first of its group may go anywhere, or none ever could
            rows &= nodes.mask(row for have in nodes.labelled.get(term.topology_key, {}).values() for row in have)
        return rows
    for term in affinity:
        rows &= _domain_rows(nodes, term.topology_key, _values(nodes, term, found))
    return rows


def _values(nodes: NodeColumns, term: Term, places: Iterable[tuple[int, PodInfo]]) -> Counter[str]:
    """How many of these pods each domain of the term has."""
    found = (labels_of(nodes.node(row)).get(term.topology_key) for row, _ in places)
    return Counter(value for value in found if value is not None)


def _domain_rows(nodes: NodeColumns, key: str, values: Iterable[str]) -> Mask:
    have = nodes.labelled.get(key, {})
    return nodes.mask(row for value in values for row in have.get(value, ()))


def _pods(nodes: NodeColumns) -> Iterator[tuple[int, PodInfo]]:
    for row in nodes.rows.values():
        for info in nodes.pods[row].values():
            yield row, info


def _with_terms(nodes: NodeColumns) -> Iterator[tuple[int, PodInfo]]:
    for row, found in nodes.affine.items():
        for info in found.values():
            yield row, info


def _selector(owner: PodInfo, term: Mapping[str, Any]) -> labels.Selector:
    given = term.get("labelSelector")
    if given is None:
        return labels.from_label_selector(None)
    expressions = list(given.get("matchExpressions") or ())
    for name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        for key in term.get(name) or ():
            if key in owner.labels:
                expressions.append({"key": key, "operator": operator, "values": [owner.labels[key]]})
    return labels.from_label_selector({**given, "matchExpressions": expressions})
