"""Whether a pod's node selector, node affinity and tolerations let it be on a node."""

from collections.abc import Sequence

from pynetes.machinery import labels
from pynetes.machinery.labels import Requirement, Selector
from pynetes.machinery.meta import Object

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


def _selector(expressions: Sequence[Object]) -> Selector:
    made = (Requirement(e["key"], _OPERATORS[e["operator"]], tuple(e.get("values") or ())) for e in expressions)
    return Selector(tuple(made))


def _term_matches(term: Object, node: Object) -> bool:
    by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not by_label and not by_field:
        return False
    fields = {"metadata.name": node["metadata"]["name"]}
    return _selector(by_label).matches(node["metadata"].get("labels")) and _selector(by_field).matches(fields)


def matches(spec: Object, node: Object) -> bool:
    """Whether the node is what the pod's nodeSelector and required node affinity ask for."""
    if not labels.from_labels(spec.get("nodeSelector")).matches(node["metadata"].get("labels")):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether one toleration is about this taint."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if (toleration.get("operator") or "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated(tolerations: Sequence[Object], node: Object, effects: Sequence[str]) -> list[Object]:
    """The node's taints of these effects that no toleration is about."""
    taints = node["spec"].get("taints") or ()
    return [
        taint
        for taint in taints
        if taint["effect"] in effects and not any(tolerates(each, taint) for each in tolerations)
    ]
