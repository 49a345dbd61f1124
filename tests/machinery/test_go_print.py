"""Values as Go prints them."""

from pynetes.machinery import go_print


def test_both_forms() -> None:
    """Maps are sorted; the second form is Go source."""
    value = {"b": [1, "x", True], "a": None}
    assert go_print.plain(value) == "map[a:<nil> b:[1 x true]]"
    expected = 'map[string]interface {}{"a":interface {}(nil), "b":[]interface {}{1, "x", true}}'
    assert go_print.syntax(value) == expected
