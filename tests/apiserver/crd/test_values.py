"""Values of custom resources: rules, lists that are sets and maps, replicas, finalizers; in upstream's words."""

from typing import Any

import pytest

from pynetes.apiserver.crd import compiled, finalizers
from pynetes.machinery.schema.custom import CustomSchema

_RULES = "x-kubernetes-validations"
_SCALE = {"scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.l"}}


def schema(properties: dict[str, Any], *, subresources: Any = None, **spec: Any) -> CustomSchema:
    """Of a definition whose spec has these properties."""
    inner = {"type": "object", "properties": properties, **spec}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    source = {"type": "object", "properties": {"spec": inner, "status": status}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": source}}
    names = {"plural": "widgets", "kind": "Widget"}
    about = {"group": "e.com", "scope": "Namespaced", "names": names}
    definition = {"metadata": {}, "spec": {**about, "versions": [{**version, "subresources": subresources}]}}
    return CustomSchema(compiled.record(definition), "v1", source)


def wrong(of: CustomSchema, spec: Any, old: Any = None, warnings: list[str] | None = None, **more: Any) -> list[str]:
    """What is said of an object with this spec."""

    def whole(spec: Any) -> dict[str, Any]:
        return {"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec, **more}

    return [str(error) for error in of.validate(whole(spec), None if old is None else whole(old), warnings)]


def test_what_did_not_hold_before_is_warned_of() -> None:
    """A rule about a value that the update leaves alone only warns; a transition is held to."""
    rules = [{"rule": "self != 'bad'", "message": "not that"}]
    of = schema({"a": {"type": "string", _RULES: rules}, "b": {"type": "string"}})
    warnings: list[str] = []
    assert wrong(of, {"a": "bad"}) == ['spec.a: Invalid value: "bad": not that']
    assert wrong(of, {"a": "bad", "b": "x"}, {"a": "bad"}, warnings) == []
    assert warnings == ['spec.a: Invalid value: "bad": not that']
    assert wrong(of, {"a": "bad"}, {"a": "good"}, warnings) == ['spec.a: Invalid value: "bad": not that']


def test_items_without_keys_are_as_old_as_their_list() -> None:
    """Nobody can tell which item one was; if the list is what it was, so is every item."""
    items = {"type": "string", _RULES: [{"rule": "self != 'bad'"}]}
    of = schema({"l": {"type": "array", "items": items}, "b": {"type": "string"}})
    warnings: list[str] = []
    assert wrong(of, {"l": ["bad"], "b": "x"}, {"l": ["bad"]}, warnings) == []
    assert len(warnings) == 1
    assert len(wrong(of, {"l": ["bad", "new"]}, {"l": ["bad"]})) == 1


def test_a_rule_that_cannot_be_asked_names_its_message() -> None:
    """Types that are only known when it is asked have words of their own."""
    rules = [{"rule": "self.i.size() > 1", "message": "more"}, {"rule": "1 / self.n > 0", "message": "less"}]
    members = {"i": {"x-kubernetes-int-or-string": True}, "n": {"type": "integer"}}
    of = schema(members, **{_RULES: rules})
    signature = "call arguments did not match a supported operator, function or macro signature for rule: more"
    assert wrong(of, {"i": 1, "n": 0}) == [
        f"spec: Invalid value: \"object\": 'no such overload': {signature}",
        'spec: Invalid value: "object": division by zero evaluating rule: less',
    ]


@pytest.mark.parametrize("made", ["'a'.matches('b') ? '' : ' '", "'a' + '\\n' + 'b'", "'abcdefghij'.replace('', self)"])
def test_a_message_that_is_none_gives_way(made: str) -> None:
    """Nothing, several lines, more than 5 KiB: the fixed message is told."""
    of = schema({"a": {"type": "string", _RULES: [{"rule": "false", "message": " fixed ", "messageExpression": made}]}})
    (error,) = wrong(of, {"a": "x" * 600})
    assert error.endswith(": fixed")


def test_items_that_come_again_are_told_once() -> None:
    """Sets by their values, maps by their keys; not where the object had such items before."""
    each = {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string"}}}
    keyed = {"type": "array", "items": each, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    of = schema({"m": keyed, "s": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-list-type": "set"}})
    spec = {"s": [1, 2, 1, 1], "m": [{"k": "x"}, {"k": "y"}, {"k": "x", "v": "1"}]}
    expected = ["spec.s[2]: Duplicate value: 1", 'spec.m[2]: Duplicate value: {"k":"x"}']
    assert wrong(of, spec) == expected
    assert wrong(of, spec, {"s": [1]}) == expected
    assert wrong(of, spec, {"s": [1, 1]}) == []
    assert wrong(of, {"m": [{"v": "1"}, {"v": "2"}]}) == ["spec.m[1]: Duplicate value: {}"]


@pytest.mark.parametrize(
    ("spec", "status", "expected"),
    [
        ({"n": -1}, {}, ".spec.n: Invalid value: -1: should be a non-negative integer"),
        ({"n": 2**31}, {}, ".spec.n: Invalid value: 2147483648: should be less than or equal to 2147483647"),
        ({}, {"n": -2}, ".status.n: Invalid value: -2: should be a non-negative integer"),
        (
            {},
            {"l": 1},
            '.status.l: Invalid value: "": .status.l accessor error: 1 is of the type int64, expected string',
        ),
    ],
)
def test_replicas_are_counted_from_zero(spec: Any, status: Any, expected: str) -> None:
    """Where the definition has a scale subresource."""
    of = schema({"n": {"type": "integer"}}, subresources=_SCALE)
    assert wrong(of, spec, status=status) == [expected]
    assert not wrong(schema({"n": {"type": "integer"}}), spec, status=status)


def test_finalizers_that_could_be_anybodys_are_warned_of() -> None:
    """Only new ones, in alphabetical order."""

    def named(*finalizer: str) -> dict[str, Any]:
        return {"metadata": {"finalizers": list(finalizer)}}

    prefer, ending = (
        "prefer a domain-qualified finalizer name",
        "to avoid accidental conflicts with other finalizer writers",
    )
    assert finalizers.warnings(named("z", "orphan", "e.com/a", "e.com"), None) == [
        f'metadata.finalizers: "e.com": {prefer} including a path (/) {ending}',
        f'metadata.finalizers: "z": {prefer} {ending}',
    ]
    assert finalizers.warnings(named("z"), named("z")) == []
