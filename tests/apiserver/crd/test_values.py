"""Values of custom resources: rules, lists that are sets and maps, replicas, finalizers; in upstream's words."""

from typing import Any

import pytest

from pynetes.apiserver.crd import compiled, finalizers
from pynetes.machinery import fieldset
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


MEMBERS = {
    "e": {"type": "string", "enum": ["a", "b"]},
    "ie": {"type": "integer", "enum": [1, 2]},
    "d": {"type": "string", "format": "date"},
    "i32": {"type": "integer", "format": "int32"},
    "all": {"type": "string", "allOf": [{"minLength": 3}, {"pattern": "^a"}]},
    "p": {"type": "string", "pattern": r"^\pL+\z"},
    "n": {"type": "integer", "minimum": 1.5},
    "closed": {"type": "object", "additionalProperties": False},
    "any": {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "anyOf": [{"required": ["x"]}, {"required": ["y", "z"], "properties": {"y": {"minLength": 3}}}],
    },
}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (
            {"e": 5},
            [
                'spec.e: Invalid value: "integer": spec.e in body must be of type string: "integer"',
                'spec.e: Unsupported value: 5: supported values: "a", "b"',
            ],
        ),
        ({"ie": 3}, ['spec.ie: Unsupported value: 3: supported values: "1", "2"']),
        ({"d": 5}, ['spec.d: Invalid value: "int64": spec.d in body must be of type date: "int64"']),
        ({"d": True}, ['spec.d: Invalid value: "": spec.d in body must be of type date: ""']),
        ({"d": ["x"]}, []),
        ({"i32": True}, ['spec.i32: Invalid value: "": spec.i32 in body must be of type int32: ""']),
        (
            {"all": "bcd"},
            [
                "spec.all: Invalid value: \"bcd\": spec.all in body should match '^a'",
                '<nil>: Invalid value: "": "spec.all" must validate all the schemas (allOf)',
            ],
        ),
        ({"p": "é"}, []),
        ({"p": "é\n"}, ["spec.p: Invalid value: \"é\\n\": spec.p in body should match '^\\pL+\\z'"]),
        (
            {"n": 1},
            [
                '<nil>: Invalid value: "": Minimum boundary value must be of type integer (default format) in spec.n',
                "spec.n: Invalid value: 1: spec.n in body should be greater than or equal to 1.5",
            ],
        ),
        ({"closed": {"k": 1}}, ['spec.closed: Invalid value: "k": spec.closed.k in body is a forbidden property']),
        (
            {"any": {"y": "ab"}},
            [
                '<nil>: Invalid value: "": "spec.any" must validate at least one schema (anyOf)',
                'spec.any.y: Invalid value: "ab": spec.any.y in body should be at least 3 chars long',
                "spec.any.z: Required value",
            ],
        ),
    ],
)
def test_every_keyword_is_asked(spec: Any, said: list[str]) -> None:
    """Also where the type is wrong already; of branches that fail the one is told in which the most was right."""
    assert wrong(schema(MEMBERS), spec) == said


def test_nulls_that_are_not_allowed_go() -> None:
    """Unless there is a default, which takes their place; those of lists stay."""
    members = {
        "a": {"type": "string"},
        "n": {"type": "string", "nullable": True},
        "d": {"type": "string", "default": "x"},
        "l": {"type": "array", "items": {"type": "string"}},
        "m": {"type": "object", "additionalProperties": {"type": "string"}},
    }
    of = schema(members)
    spec = {"a": None, "n": None, "d": None, "l": [None], "m": {"k": None}}
    obj = {"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}
    assert of.decode(obj) == []
    of.default(obj)
    assert obj["spec"] == {"n": None, "d": "x", "l": [None], "m": {}}


def test_unknown_fields_are_told_in_order() -> None:
    """Those of the metadata first, those of objects within the object last."""
    inner = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    of = schema({"o": {"type": "object", "properties": {"a": {"type": "string"}}}, "e": inner})
    spec = {"z": 1, "e": {"apiVersion": "v1", "kind": "Pod", "metadata": {"zz": 1}, "any": 1}, "o": {"b": 1}}
    obj = {"apiVersion": "e.com/v1", "kind": "Widget", "metadata": {"name": "w", "y": 1}, "spec": spec, "b": 1}
    assert of.decode(obj) == ["metadata.y", "b", "spec.o.b", "spec.z", "spec.e.metadata.zz"]


def test_a_key_that_is_left_out_counts_by_its_default() -> None:
    """Items of lists are told apart by all their keys; what does not fit is told by them."""
    member = {"k": {"type": "string"}, "p": {"type": "integer", "default": 1}}
    about = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "p"]}
    type_ = schema({"m": {"type": "array", **about, "items": {"type": "object", "properties": member}}}).type

    def of(*items: Any) -> dict[str, Any]:
        return {"spec": {"m": list(items)}}

    assert ("f:spec", "f:m", 'k:{"k":"a","p":1}') in fieldset.of_object(type_, of({"k": "a"}))
    assert list(fieldset.misfits(type_, of({"k": "a"}, {"k": "a", "p": 1, "q": 2}))) == [
        '.spec.m: duplicate entries for key [k="a",p=1]',
        '.spec.m[k="a",p=1].q: field not declared in schema',
    ]
    del member["p"]["default"]
    type_ = schema({"m": {"type": "array", **about, "items": {"type": "object", "properties": member}}}).type
    assert list(fieldset.misfits(type_, of({"x": 1}))) == [
        '.spec.m: element 0: associative list with keys has an element that omits all key fields ["k" "p"]'
        " (and doesn't have default values for any key fields)"
    ]
