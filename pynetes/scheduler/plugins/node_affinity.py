"""NodeAffinity: nodeSelector and required node affinity pick nodes by label, preferred terms make some better.

Labels are indexed, so a term is set operations on the rows that have a value, not a walk over all nodes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import Mask, NodeColumns, labels_of
from pynetes.scheduler.framework import Event, Plugin, Rejection, Scores, normalised
from pynetes.scheduler.pods import PodInfo

_REASON = "node(s) didn't match Pod's node affinity/selector"


class NodeAffinity(Plugin):
    weight = 2
    wakes_on = (Event("nodes", "add"), Event("nodes", "update"))

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        if pod.spec.get("nodeSelector") or _affinity(pod).get(_REQUIRED):
            yield Rejection(~required_rows(pod, nodes), _REASON, unresolvable=True)

    def score_nodes(self, pod: PodInfo, nodes: NodeColumns, rows: NDArray[np.int64]) -> Scores | None:
        preferred = _affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution")
        if not preferred:
            return None
        total: Scores = np.zeros(len(rows))
        for term in preferred:
            total += term["weight"] * term_rows(nodes, term["preference"])[rows]
        return normalised(total)

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        return old is None or labels_of(new) != labels_of(old)


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _affinity(pod: PodInfo) -> Mapping[str, Any]:
    return (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}


def required_rows(pod: PodInfo, nodes: NodeColumns) -> Mask:
    """The rows that nodeSelector and required node affinity allow."""
    matching: Mask = np.ones_like(nodes.alive)
    for key, value in (pod.spec.get("nodeSelector") or {}).items():
        matching &= nodes.mask(nodes.labelled.get(key, {}).get(value, ()))
    if required := _affinity(pod).get(_REQUIRED):
        terms = [term_rows(nodes, term) for term in required.get("nodeSelectorTerms") or ()]
        matching &= np.logical_or.reduce(terms) if terms else False
    return matching


def term_rows(nodes: NodeColumns, term: Mapping[str, Any]) -> Mask:
    """The rows that a NodeSelectorTerm matches: all of its expressions; an empty term matches none."""
    expressions, names = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not names:
        return nodes.mask()
    rows: Mask = np.ones_like(nodes.alive)
    for expression in expressions:
        rows &= _label_rows(nodes, expression["key"], expression["operator"], expression.get("values") or ())
    for expression in names:  # metadata.name is the only field
        listed = nodes.mask(nodes.rows[value] for value in expression["values"] if value in nodes.rows)
        rows &= listed if expression["operator"] == "In" else ~listed
    return rows


def _label_rows(nodes: NodeColumns, key: str, operator: str, values: Sequence[str]) -> Mask:
    have = nodes.labelled.get(key, {})
    match operator:
        case "In" | "NotIn":
            listed = nodes.mask(row for value in values for row in have.get(value, ()))
            return listed if operator == "In" else ~listed
        case "Exists" | "DoesNotExist":
            present = nodes.mask(row for rows in have.values() for row in rows)
            return present if operator == "Exists" else ~present
        case _:
            bound = int(values[0])
            compare: Callable[[int], bool] = (lambda n: n > bound) if operator == "Gt" else (lambda n: n < bound)
            return nodes.mask(row for text, rows in have.items() if _integer(text, compare) for row in rows)


def _integer(text: str, compare: Callable[[int], bool]) -> bool:
    try:
        return compare(int(text))
    except ValueError:
        return False
