"""Go's words for texts that are no JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynetes.machinery import go_json


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", go_json.END),
        (b"{", go_json.END),
        (b'{"a":1', go_json.END),
        (b"apiVersion: v1", "invalid character 'a' looking for beginning of value"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b'"a\nb"', "invalid character '\\n' in string literal"),
        (b'"\\q"', "invalid character 'q' in string escape code"),
        (b"trux", "invalid character 'x' in literal true (expecting 'e')"),
        (b"[-a]", "invalid character 'a' in numeric literal"),
        (b"[1.a]", "invalid character 'a' after decimal point in numeric literal"),
        (b"[01]", "invalid character '1' after array element"),
    ],
)
def test_problems_are_worded_as_go_does(text: bytes, problem: str) -> None:
    """The first wrong character and what was being read."""
    assert go_json.problem(text) == problem


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON)
def test_what_is_json_has_no_problem(value: object) -> None:
    """Whatever a JSON writer makes is read to its end."""
    assert not go_json.problem(json.dumps(value, indent=1).encode())


@given(st.binary(max_size=40))
def test_no_text_breaks_the_reader(text: bytes) -> None:
    """Any bytes give a text or none."""
    assert isinstance(go_json.problem(text), str)
