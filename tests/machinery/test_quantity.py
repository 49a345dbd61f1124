"""Quantities: exact values and canonical texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynetes.machinery import quantity


@pytest.mark.parametrize(
    ("text", "canonical", "value", "milli"),
    [
        ("1000m", "1", 1, 1000),
        ("0.5", "500m", 1, 500),
        ("1024Mi", "1Gi", 2**30, 2**30 * 1000),
        ("1.5Gi", "1536Mi", 3 * 2**29, 3 * 2**29 * 1000),
        ("1e3", "1e3", 1000, 1_000_000),
        ("1500k", "1500k", 1_500_000, 1_500_000_000),
        ("-1", "-1", -1, -1000),
        ("100n", "100n", 1, 1),
        ("0", "0", 0, 0),
    ],
)
def test_canonical(text: str, canonical: str, value: int, milli: int) -> None:
    """A quantity is stored in the largest suffix that keeps it whole; value and milli round away from zero."""
    parsed = quantity.parse(text)
    assert (str(parsed), parsed.value(), parsed.milli()) == (canonical, value, milli)


@pytest.mark.parametrize("text", ["", "x", "1x", "1 Gi", ".", "1Gi5", "--1"])
def test_refused(text: str) -> None:
    """Anything else is refused with the expression it should have matched."""
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.parse(text)


@given(st.integers(-(10**15), 10**15), st.sampled_from(["", "m", "k", "Mi", "Gi", "u"]))
def test_canonical_is_stable(number: int, suffix: str) -> None:
    """The canonical text means the same amount and is its own canonical text."""
    text = f"{number}{suffix}"
    canonical = quantity.canonical(text)
    assert quantity.parse(canonical) == quantity.parse(text)
    assert quantity.canonical(canonical) == canonical
