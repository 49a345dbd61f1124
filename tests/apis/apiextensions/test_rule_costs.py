"""Rules of definitions: what they may cost, what they see, and how upstream says so."""

from typing import Any

from pynetes.apis.apiextensions import _structural

REMEDY = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are"
    " declared)"
)
_RULES = "x-kubernetes-validations"


def wrong(schema: dict[str, Any], *, unchanged: bool = False) -> list[str]:
    """What is said of a whole schema."""
    return [str(error) for error in _structural.problems({"type": "object", **schema}, "s", unchanged=unchanged)]


def ruled(rule: str, **about: Any) -> list[str]:
    """What is said of a property with this rule, without its place."""
    schema = {"type": "object", "properties": {"a": {**about, _RULES: [{"rule": rule}]}}}
    return [error.removeprefix("s.properties[a].") for error in wrong(schema)]


def test_a_loop_in_a_loop_over_lists_without_limits_is_too_dear() -> None:
    """By more than anybody would count."""
    numbers: dict[str, Any] = {"type": "array", "items": {"type": "integer"}}
    rule = "self.all(x, self.exists_one(y, x == y))"
    errors = ruled(rule, **numbers)
    assert errors[0] == (
        f"{_RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {REMEDY}"
    )
    assert not ruled(rule, **numbers, maxItems=100)


def test_the_factor_is_told() -> None:
    """With one digit, and more where one would say 1.0."""
    numbers: dict[str, Any] = {"type": "array", "items": {"type": "integer"}}
    (error,) = ruled("self.all(x, self.all(y, true))", **numbers, maxItems=3000)
    assert f"estimated rule cost exceeds budget by factor of 2.7x {REMEDY}" in error
    (error,) = ruled("self.all(x, self.all(y, true))", **numbers, maxItems=1830)
    assert f"estimated rule cost exceeds budget by factor of 1.005585x {REMEDY}" in error


def test_a_rule_costs_as_often_as_its_value_can_be_there() -> None:
    """The limits of the lists around it are multiplied."""
    text = {"type": "string", _RULES: [{"rule": "self.contains('xy')"}]}
    schema = {"properties": {"a": {"type": "array", "items": text}}}
    assert "more than 100x" in wrong(schema)[0]
    text["maxLength"] = 10
    schema["properties"]["a"]["maxItems"] = 20
    assert not wrong(schema)


def test_all_rules_together_have_a_limit() -> None:
    """The dearest four are named, then the whole."""
    items = {"type": "array", "maxItems": 1200, "items": {"type": "integer"}}
    members = {
        f"a{number:02}": {**items, _RULES: [{"rule": "self.all(x, self.all(y, x != y))"}]} for number in range(20)
    }
    errors = wrong({"properties": members})
    part = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
    assert [error.endswith(f".rule: Forbidden: {part}") for error in errors] == [True] * 4 + [False]
    assert errors[-1].startswith(
        "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by"
    )


def test_what_was_accepted_once_stays() -> None:
    """A schema that an update leaves as it is may have rules that are too dear."""
    numbers = {"type": "array", "items": {"type": "integer"}, "maxItems": 3000}
    schema = {"properties": {"a": {**numbers, _RULES: [{"rule": "self.all(x, self.all(y, true))"}]}}}
    assert wrong(schema)
    assert not wrong(schema, unchanged=True)


def test_a_message_expression_has_a_price_and_a_type() -> None:
    """And its compiler's errors are told as its own."""

    def message(expression: str, **about: Any) -> list[str]:
        rule = {"rule": "true", "messageExpression": expression}
        return wrong({"properties": {"a": {**about, _RULES: [rule]}}})

    text = {"type": "string"}
    assert not message("'no ' + self", **text)
    assert message("1", **text)[0].endswith(": messageExpression must evaluate to a string")
    assert (
        "messageExpression compilation failed: ERROR: <input>:1:1: undeclared reference to 'x'"
        in message("x", **text)[0]
    )
    error, *_ = message("self.map(x, self).map(x, x.join('abc')).join('abcdef')", type="array", items=text, maxItems=9)
    assert (
        "messageExpression: Forbidden: estimated messageExpression cost exceeds budget by factor of more than" in error
    )


def test_a_rule_must_be_a_boolean_for_sure() -> None:
    """What may be anything is none."""
    (error,) = ruled("self", **{"x-kubernetes-int-or-string": True})
    assert error.endswith("cel expression must evaluate to a bool")


def test_rules_see_what_has_a_type() -> None:
    """Unknown fields and untyped ones are not there; nullable ones have their type."""
    open_: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    assert "undefined field 'x'" in ruled("self.x == 1", **open_)[0]
    untyped = {"x-kubernetes-preserve-unknown-fields": True}
    assert "undefined field 'u'" in ruled("self.u == 1", type="object", properties={"u": untyped})[0]
    assert (
        "'(string, null)'"
        in ruled("self.n == null", type="object", properties={"n": {"type": "string", "nullable": True}})[0]
    )
    (error,) = ruled("true", **untyped)
    assert error.startswith(f"{_RULES}: Internal error: internal error: failed to construct type information")


def test_of_metadata_rules_see_names() -> None:
    """At the root and in embedded resources, whether the schema says so or not."""
    assert not wrong({_RULES: [{"rule": "self.metadata.name.size() < 64 && self.metadata.generateName == ''"}]})
    (error,) = wrong({_RULES: [{"rule": "'a' in self.metadata.labels"}]})
    assert "undefined field 'labels'" in error
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    assert not ruled("self.kind == 'Pod' && self.metadata.name != ''", **embedded)
    assert "undefined field 'spec'" in ruled("has(self.spec)", **embedded)[0]


def test_a_literal_that_names_old_self_is_no_transition() -> None:
    """The compiler says what is used, not the text."""
    text = {"type": "string", _RULES: [{"rule": "self != 'oldSelf'", "optionalOldSelf": True}]}
    (error,) = wrong({"properties": {"a": text}})
    assert error.endswith("optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule")
