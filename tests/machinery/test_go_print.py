"""Values as Go prints them."""

from pynetes.machinery import fieldset, go_print
from pynetes.machinery.schema import custom


def test_both_forms() -> None:
    """Maps are sorted; the second form is Go source."""
    value = {"b": [1, "x", True], "a": None}
    assert go_print.plain(value) == "map[a:<nil> b:[1 x true]]"
    expected = 'map[string]interface {}{"a":interface {}(nil), "b":[]interface {}{1, "x", true}}'
    assert go_print.syntax(value) == expected


def test_values_that_do_not_fit() -> None:
    """As an applied configuration is refused; what no schema describes may be anything."""
    known = {"type": "object", "properties": {"r": {"type": "string"}, "l": {"type": "array", "items": {}}}}
    open_ = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    type_ = custom.type_of({"type": "object", "properties": {"spec": known, "any": open_}})
    assert list(fieldset.misfits(type_, {"any": {"x": [1, {"y": "z"}]}, "spec": {"r": "a"}})) == []
    assert list(fieldset.misfits(type_, {"spec": {"r": 1, "l": "x"}})) == [
        ".spec.r: expected string, got &value.valueUnstructured{Value:1}",
        ".spec.l: expected list, got &{x}",
    ]
