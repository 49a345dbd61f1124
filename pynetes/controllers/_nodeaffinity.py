"""Whether a pod's node selector, node affinity and tolerations let it be on a node."""

from collections.abc import Sequence

from pynetes.apis.core import _node_selector
from pynetes.machinery import labels
from pynetes.machinery.meta import Object


def matches(spec: Object, node: Object) -> bool:
    """Whether the node is what the pod's nodeSelector and required node affinity ask for."""
    if not labels.from_labels(spec.get("nodeSelector")).matches(node["metadata"].get("labels")):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return _node_selector.matches(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"), node)


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
