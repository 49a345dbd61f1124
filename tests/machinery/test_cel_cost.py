"""What CEL expressions can cost at most, as upstream's estimator tells it: the figures are its own."""

from typing import Any

import pytest

from pynetes.machinery.cel import cost, sizes
from pynetes.machinery.cel.typed import Types

_LEAF: dict[str, dict[str, Any]] = {
    "int-or-string": {"x-kubernetes-int-or-string": True},
    **{form: {"type": "string", "format": form} for form in ("duration", "date", "date-time")},
}


def _leaf(kind: str) -> dict[str, Any]:
    return _LEAF.get(kind) or {"type": kind}


def _list(items: dict[str, Any], most: int | None = None) -> dict[str, Any]:
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def _map(values: dict[str, Any], most: int | None = None) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": values} | ({} if most is None else {"maxProperties": most})


def _text(longest: int | None = None) -> dict[str, Any]:
    return {"type": "string"} | ({} if longest is None else {"maxLength": longest})


def _of(schema: dict[str, Any], rule: str) -> int:
    return cost.most(Types(schema).check(rule).tree(), sizes.shape(schema))


@pytest.mark.parametrize(
    ("kind", "rule", "unbounded", "most", "bounded"),
    [
        ("number", "self.all(x, true)", 4718591, 10, 32),
        ("string", "self.all(x, true)", 3145727, 20, 62),
        ("boolean", "self.all(x, true)", 1887437, 5, 17),
        ("number", "self[1] == 0.0", 2, 5000, 2),
        ("string", "self[1] == self[1]", 314577, 8, 314577),
        ("int-or-string", "self.all(x, true)", 4718591, 10, 32),
        ("int-or-string", "self[0] == 5", 3, 10, 3),
        ("duration", "self.all(x, true)", 2359295, 5, 17),
        ("duration", "self[0].getHours() == 2", 4, 525, 4),
        ("date", "self.all(x, true)", 725936, 15, 47),
        ("date-time", "self.all(x, true)", 428963, 25, 77),
        ("number", "self.all(x, x == 0.0)", 6291454, 6291456, 25165826),
    ],
)
def test_lists_cost_by_what_a_request_can_hold(kind: str, rule: str, unbounded: int, most: int, bounded: int) -> None:
    """Without maxItems as many items count as fit into the largest request."""
    assert _of(_list(_leaf(kind)), rule) == unbounded
    assert _of(_list(_leaf(kind), most), rule) == bounded


@pytest.mark.parametrize(
    ("kind", "rule", "unbounded", "most", "bounded"),
    [
        ("number", "self.all(x, true)", 1348169, 10, 32),
        ("string", "self.all(x, true)", 1179647, 3, 11),
        ("boolean", "self.all(x, true)", 943718, 100, 302),
        ("number", "has(self.x)", 1, 100, 1),
        ("number", 'self["x"] == 0.0', 2, 0, 2),
    ],
)
def test_maps_cost_by_their_keys_too(kind: str, rule: str, unbounded: int, most: int, bounded: int) -> None:
    """An entry takes its key, quotes, colon and comma."""
    assert _of(_map(_leaf(kind)), rule) == unbounded
    assert _of(_map(_leaf(kind), most), rule) == bounded


@pytest.mark.parametrize(
    ("rule", "unbounded", "longest", "bounded"),
    [
        ("self.contains('test')", 314574, 10, 5),
        ("self.startsWith('test')", 2, 15, 2),
        ('size(self + "hello") > size("hello")', 314578, 4, 7),
        ('self.matches("x")', 314574, 50, 22),
        ('"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
        ('self.matches("")', 1, 100, 1),
        ('self == "x"', 2, 0, 1),
    ],
)
def test_texts_cost_by_their_characters(rule: str, unbounded: int, longest: int, bounded: int) -> None:
    """A character may take four bytes."""
    assert _of(_text(), rule) == unbounded
    assert _of(_text(longest), rule) == bounded


def test_nested_loops_multiply() -> None:
    """Two loops over one list cost its square."""
    numbers = _list({"type": "number"})
    assert _of(numbers, "self.all(x, self.all(y, true))") > 10_000_000
    numbers["maxItems"] = 10
    assert _of(numbers, "self.all(x, self.all(y, true))") == 352
    assert _of(numbers, "self.all(x, self.all(y, self.all(z, true)))") == 3552


def test_lists_of_lists_and_of_maps() -> None:
    """What is inside counts by its own least size."""
    assert _of(_list(_list({"type": "number"})), "self.all(x, true)") == 3145727
    assert _of(_list(_list({"type": "number"})), "self[0][0] == -1.0") == 3
    assert _of(_list(_map({"type": "number"})), "self.all(x, x.y == 25.2)") == 6291452
    assert _of(_list(_map({"type": "number"})), "self[0].x > 2.0") == 4
