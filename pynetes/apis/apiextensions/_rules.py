"""x-kubernetes-validations of a CustomResourceDefinition: each rule must compile against the schema it stands in, and
may not cost more than an API server can afford, however large the objects get that the schema allows.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pynetes.apis.apiextensions import _internal, _keywords
from pynetes.apis.apiextensions._costs import Costs
from pynetes.machinery import cel, field, go_print
from pynetes.machinery.cel import cost, sizes
from pynetes.machinery.cel.syntax import Tree
from pynetes.machinery.cel.typed import Types
from pynetes.machinery.schema import fieldpath

RULES = "x-kubernetes-validations"
_BREAK = re.compile(r"[\n\r]")
REASONS = ("FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueDuplicate")
_UNTYPED = (
    "internal error: failed to construct type information for x-kubernetes-validations rules:"
    " unable to convert structural schema to CEL declarations"
)


def problems(
    schema: Mapping[str, Any], path: str, wrong: Sequence[field.Error], *, unchanged: bool = False
) -> Iterator[field.Error]:
    """Every rule that is wrong, but of values about whose schemas something else is wrong no rule is compiled.

    unchanged: the schema is as it was, so that a rule that costs too much was accepted once and stays."""
    costs = Costs(lenient=unchanged)
    yield from _compiled(schema, _Place(path, root=True), costs, tuple(error.path for error in wrong))
    yield from costs.problems(path)


class _Place(NamedTuple):
    """Where a schema stands: how many values of it an object can have (None for any number), and the place of the list
    or map around it whose items cannot be told apart over an update."""

    path: str
    most: int | None = 1
    uncorrelated: str = ""
    root: bool = False


def _inner(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, member in sorted((schema.get("properties") or {}).items()):
        yield "properties", f"{path}.properties[{name}]", member
    for name in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(name), dict):
            yield name, f"{path}.{name}", inner


def shapes(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    """What cannot be a rule, before any is compiled."""
    for _, place, inner in _inner(schema, path):
        yield from shapes(inner, place)
    for index, rule in enumerate(schema.get(RULES) or ()):
        yield from _shape(rule, schema, f"{path}.{RULES}[{index}]")


def _shape(rule: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    source, message, where = (rule.get(name) or "" for name in ("rule", "message", "fieldPath"))
    if not source.strip():
        yield field.required(f"{path}.rule", "rule is not specified")
    elif message and not message.strip():
        yield field.invalid(f"{path}.message", message, "must be non-empty if specified")
    elif _BREAK.search(message.strip()):
        yield field.invalid(f"{path}.message", message, "must not contain line breaks")
    elif _BREAK.search(source.strip()) and not message.strip():
        yield field.required(f"{path}.message", "message must be specified if rule contains line breaks")
    expression = rule.get("messageExpression") or ""
    if expression and not expression.strip():
        yield field.required(f"{path}.messageExpression", "messageExpression must be non-empty if specified")
    if (reason := rule.get("reason")) and reason not in REASONS:
        yield field.not_supported(f"{path}.reason", reason, sorted(REASONS))
    if where and not where.strip():
        yield field.invalid(f"{path}.fieldPath", where, "must be non-empty if specified")
    if _BREAK.search(where):
        yield field.invalid(f"{path}.fieldPath", where, "must not contain line breaks")
    if where and not _leads_somewhere(schema, where):
        yield field.invalid(f"{path}.fieldPath", where, "must be a valid path")


def _leads_somewhere(schema: Mapping[str, Any], path: str) -> bool:
    """Whether a rule's fieldPath (.a.b, ['key']) names a field of the schema; lists cannot be gone into."""
    try:
        fieldpath.resolve(schema, path)
    except ValueError:
        return bool(_keywords.unreadable(schema))
    return True


def _compiled(schema: Mapping[str, Any], place: _Place, costs: Costs, wrong: tuple[str, ...]) -> Iterator[field.Error]:
    count = _elements(schema)
    count = None if count is None or place.most is None else place.most * count
    for name, path, inner in _inner(schema, place.path):
        keyless = name == "items" and schema.get("x-kubernetes-list-type") != "map"
        yield from _compiled(inner, _Place(path, count, place.path if keyless else place.uncorrelated), costs, wrong)
    rules = schema.get(RULES)
    if not rules or any(each.startswith(f"{place.path}.") for each in wrong):
        return
    root = place.root or bool(schema.get("x-kubernetes-embedded-resource"))
    shape = sizes.shape(schema, root=root)
    if shape is None:
        yield field.internal(f"{place.path}.{RULES}", _UNTYPED)
        return
    types = Types(sizes.with_meta(schema) if root else schema)
    for index, rule in enumerate(rules):
        yield from _rule(rule, types, place._replace(path=f"{place.path}.{RULES}[{index}]"), shape, costs)


def _elements(schema: Mapping[str, Any]) -> int | None:
    """How many values of what is inside one value can have; None if any number."""
    kind = schema.get("type")
    if kind == "array":
        most = schema.get("maxItems")
    elif kind == "object" and schema.get("additionalProperties") is not None:
        most = schema.get("maxProperties")
    else:
        return 1
    return None if most is None else max(most, 0)


def _rule(
    rule: Mapping[str, Any], types: Types, place: _Place, shape: sizes.Shape, costs: Costs
) -> Iterator[field.Error]:
    source, path, optional = rule["rule"], place.path, bool(rule.get("optionalOldSelf"))
    tree, problem = _program(types, source, "bool", optional=optional)
    if tree is not None:
        count = sizes.REQUEST // (shape.least + 1) if place.most is None else place.most
        yield from costs.add(f"{path}.rule", cost.most(tree, shape) * count, "estimated rule cost")
    if problem:
        text = f"compilation failed: {problem}" if "\n" in problem else "cel expression must evaluate to a bool"
        yield _invalid(f"{path}.rule", rule, text)
    elif expression := rule.get("messageExpression"):
        yield from _message(rule, expression, types, path, shape, costs)
    if tree is not None and "oldSelf" in tree.names:
        if place.uncorrelated:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {place.uncorrelated}"
            yield field.invalid(f"{path}.rule", source, text)
    elif rule.get("optionalOldSelf") is not None:
        text = "may not be set if oldSelf is not used in rule"
        yield field.invalid(f"{path}.optionalOldSelf", optional, text)


def _message(
    rule: Mapping[str, Any], source: str, types: Types, path: str, shape: sizes.Shape, costs: Costs
) -> Iterator[field.Error]:
    tree, problem = _program(types, source, "string", optional=bool(rule.get("optionalOldSelf")))
    path = f"{path}.messageExpression"
    if tree is not None:
        yield from costs.add(path, cost.most(tree, shape), "estimated messageExpression cost")
    elif "\n" in problem:
        yield _invalid(path, rule, f"messageExpression compilation failed: {problem}")
    else:
        yield _invalid(path, rule, "messageExpression must evaluate to a string")


def _program(types: Types, source: str, kind: str, *, optional: bool) -> tuple[Tree | None, str]:
    """The tree of an expression that has this type, or what is wrong: the compiler's lines, or another type's name."""
    try:
        program = types.check(source, optional=optional)
    except cel.CompileError as error:
        return None, str(error)
    if program.kind.lower() != kind:
        return None, program.kind
    return program.tree(), ""


def _invalid(path: str, rule: Mapping[str, Any], detail: str) -> field.Error:
    """The rule is shown as upstream's own type has it."""
    text = go_print.json(_internal.rule(rule), ordered=True)
    return field.Error("FieldValueInvalid", path, f"Invalid value: {text}: {detail}")
