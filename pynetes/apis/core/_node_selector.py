"""NodeSelector: which nodes its terms match, by labels and by name."""

from collections.abc import Sequence

from pynetes.machinery.labels import Requirement, Selector
from pynetes.machinery.meta import Object

_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!", "Gt": "gt", "Lt": "lt"}


def _selector(expressions: Sequence[Object]) -> Selector:
    made = (Requirement(e["key"], _OPERATORS[e["operator"]], tuple(e.get("values") or ())) for e in expressions)
    return Selector(tuple(made))


def term_matches(term: Object, node: Object) -> bool:
    """Whether all of a term's expressions hold; an empty term matches no node."""
    by_label, by_field = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not by_label and not by_field:
        return False
    fields = {"metadata.name": node["metadata"]["name"]}
    return _selector(by_label).matches(node["metadata"].get("labels")) and _selector(by_field).matches(fields)


def matches(selector: Object | None, node: Object) -> bool:
    """Whether any of a NodeSelector's terms matches; no selector matches every node."""
    return selector is None or any(term_matches(term, node) for term in selector.get("nodeSelectorTerms") or ())
