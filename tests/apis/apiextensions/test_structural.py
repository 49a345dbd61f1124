"""Schemas of definitions: what upstream refuses, in its words."""

import pytest

from pynetes.apis.apiextensions import _structural, _versions
from pynetes.machinery.meta import Object


def wrong(**properties: Object) -> list[str]:
    """What is said of a schema with these properties."""
    schema = {"type": "object", "properties": properties}
    return [str(error) for error in _structural.problems(schema, "s")]


@pytest.mark.parametrize(
    ("member", "expected"),
    [
        ({"type": "array"}, "s.properties[a].items: Required value: must be specified"),
        ({"properties": {}}, "s.properties[a].type: Required value: must not be empty for specified object fields"),
        (
            {"type": "object", "anyOf": [{"type": "object"}]},
            "s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "allOf": [{"properties": {"b": {"description": "d"}}}]},
            "s.properties[a].allOf[0].properties[b].description: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "x-kubernetes-embedded-resource": True},
            "s.properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true"
            " without x-kubernetes-preserve-unknown-fields",
        ),
        (
            {"type": "integer", "default": "x"},
            's.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"',
        ),
        (
            {"type": "object", "properties": {"b": {"type": "string"}}, "default": {"c": 1}},
            's.properties[a].default: Invalid value: {"c":1}: must not have unknown fields',
        ),
        (
            {"type": "string", "x-kubernetes-map-type": "atomic"},
            's.properties[a].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified',
        ),
        (
            {"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True},
            "s.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if"
            " x-kubernetes-int-or-string is true",
        ),
    ],
)
def test_what_is_no_structural_schema(member: Object, expected: str) -> None:
    """One mistake each."""
    assert wrong(a=member) == [expected]


def test_integer_or_string_may_be_said_in_the_usual_ways() -> None:
    """The two patterns that are not taken for structure."""
    either = [{"type": "integer"}, {"type": "string"}]
    assert not wrong(
        a={"x-kubernetes-int-or-string": True, "anyOf": either},
        b={"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": either}, {"pattern": "^a"}]},
    )


def test_metadata_is_not_described() -> None:
    """But for its name."""
    name = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}
    assert not wrong(metadata=name)
    labels = {"type": "object", "properties": {"labels": {"type": "object"}}}
    (error,) = wrong(metadata=labels)
    assert error.startswith("s.properties[metadata]: Forbidden: must not specify anything other than name and")


def test_a_transition_rule_needs_items_that_can_be_told_apart() -> None:
    """In a list without keys nobody knows what an item was before."""
    rule = {"rule": "self == oldSelf"}
    items = {"type": "integer", "x-kubernetes-validations": [rule]}
    (error,) = wrong(a={"type": "array", "items": items})
    assert error.endswith("oldSelf cannot be used on the uncorrelatable portion of the schema within s.properties[a]")


def test_an_old_value_that_may_be_absent_is_asked_as_such() -> None:
    """optionalOldSelf changes the type of oldSelf, and stands only where oldSelf does."""

    def ruled(**rule: object) -> list[str]:
        return wrong(a={"type": "integer", "x-kubernetes-validations": [rule]})

    assert not ruled(rule="!oldSelf.hasValue() || self >= oldSelf.value()", optionalOldSelf=True)
    assert "optional_type(int), int" in ruled(rule="oldSelf > 1", optionalOldSelf=True)[0]
    assert ruled(rule="self > 1", optionalOldSelf=True)[0].endswith("may not be set if oldSelf is not used in rule")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (".spec.l[0]", "is an invalid path: array notation is not allowed"),
        ("spec.a", "is an invalid path: expected [ or . but got: spec"),
        (".spec.", "is an invalid path: unexpected end of JSON path"),
        (".spec.zz", "is an invalid path: does not refer to a valid field"),
        (".metadata.name", "must not point to fields in metadata"),
        (".spec.l", "must point to a field of type string, boolean or integer."),
    ],
)
def test_selectable_fields_are_fields(path: str, text: str) -> None:
    """By a path of names, to a field of the schema that is one value."""
    name = {"type": "object", "properties": {"name": {"type": "string"}}}
    spec = {"type": "object", "properties": {"a": {"type": "string"}, "l": {"type": "array"}}}
    schema = {"type": "object", "properties": {"metadata": name, "spec": spec}}
    assert not list(_versions._selectable(".spec.a", schema, "p", set()))
    (error,) = _versions._selectable(path, schema, "p", set())
    assert text in str(error)
