"""Evaluations that could take too long are not begun."""

import pytest

from pynetes.machinery.cel import EvalError, OverLimit, program

_SQUARE = "self.all(x, self.all(y, x != y || x == y))"


def test_a_loop_in_a_loop_over_a_long_list_is_not_begun() -> None:
    """It has upstream's words."""
    with pytest.raises(OverLimit, match="operation cancelled: actual cost limit exceeded"):
        program(_SQUARE, ("self",)).limited({"self": list(range(5000))})


def test_short_lists_in_large_objects_are_looked_at() -> None:
    """Where the size of all is too much, that of each value counts."""
    source = "object.l.all(x, object.l.all(y, object.l.all(z, x + y + z > 0)))"
    data = {"object": {"l": [1] * 10, "other": "x" * 100_000}}
    assert program(source, ("object",)).limited(data) is True


@pytest.mark.parametrize(
    "source",
    [
        "string(object.n).matches('^[0-9]+$')",
        "object.t.split(',').map(x, x.trim()).join(';').size() > 0",
        "quantity(object.q).isGreaterThan(quantity('1'))",
        "object.m.all(k, object.m[k].contains('a'))",
        "object.t.replace('a', 'bb').size() > 0",
        "[1, 2, 3].map(x, x * 2).exists(x, x == 4)",
    ],
)
def test_what_is_usual_is_cheap(source: str) -> None:
    """Also with values of 12 KB."""
    data = {"object": {"n": 5, "t": "a,b," * 1000, "q": "2Gi", "m": {f"k{i}": "a" * 10 for i in range(500)}}}
    assert program(source, ("object",)).limited(data) is True


def test_failures_stay_what_they_are() -> None:
    """Only costs are a matter of limits."""
    with pytest.raises(EvalError, match="division by zero"):
        program("1 / self > 0", ("self",)).limited({"self": 0})


def test_the_runtimes_own_limit_has_the_same_words() -> None:
    """It goes through 10,000 elements in one evaluation."""
    with pytest.raises(EvalError, match="operation cancelled: actual cost limit exceeded"):
        program("self.all(x, x >= 0)", ("self",)).limited({"self": list(range(20_000))})
