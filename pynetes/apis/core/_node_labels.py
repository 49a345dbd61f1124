"""Labels of nodes that go by another name now, wherever nodes are chosen by them."""

from collections.abc import Iterator

from pynetes.machinery import names
from pynetes.machinery.meta import Object


def _since(version: str, instead: str) -> str:
    return f'deprecated since {version}; use "{instead}" instead'


#: Label → what is said of it.
_OLD = {
    "beta.kubernetes.io/arch": _since("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": _since("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": _since("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": _since("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": _since("v1.17", "node.kubernetes.io/instance-type"),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": "deprecated since v1.22; use Taints and Tolerations instead",
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}


def old(label: str) -> str:
    """What is said of a label; nothing of most."""
    return _OLD.get(label, "")


def in_term(term: Object, path: str, *, values: bool) -> Iterator[str]:
    """Warnings about a term of a node selector; values, too, that no label can have."""
    for index, expression in enumerate(term.get("matchExpressions") or ()):
        place = f"{path}.matchExpressions[{index}]"
        yield from _key(expression, place)
        for number, value in enumerate((expression.get("values") or ()) if values else ()):
            for text in names.label_value(value):
                yield f"{place}.values[{number}]: {value} is invalid, {text}"


def in_selector(selector: Object | None, path: str) -> Iterator[str]:
    """Warnings about a label selector of nodes."""
    for index, expression in enumerate((selector or {}).get("matchExpressions") or ()):
        yield from _key(expression, f"{path}.matchExpressions[{index}]")
    for label in (selector or {}).get("matchLabels") or {}:
        if text := old(label):
            yield f"{path}.matchLabels.{label}: {text}"


def _key(expression: Object, path: str) -> Iterator[str]:
    if text := old(expression.get("key", "")):
        yield f"{path}.key: {expression['key']} is {text}"
