"""x-kubernetes-validations of a CustomResourceDefinition: each rule must compile against the schema it stands in."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pynetes.machinery import cel, field
from pynetes.machinery.cel.typed import Types

RULES = "x-kubernetes-validations"
REASONS = ("FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueDuplicate")
_ROOT = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


def problems(schema: Mapping[str, Any], path: str, *, root: bool = True) -> Iterator[field.Error]:
    """Every rule that is wrong, in this schema and those within it."""
    if rules := schema.get(RULES):
        about = {**schema, "properties": {**(schema.get("properties") or {}), **_ROOT}} if root else schema
        types = Types(about)
        for index, rule in enumerate(rules):
            yield from _rule(rule, types, f"{path}.{RULES}[{index}]")
    for name, member in sorted((schema.get("properties") or {}).items()):
        yield from problems(member, f"{path}.properties[{name}]", root=False)
    for name in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(name), dict):
            yield from problems(inner, f"{path}.{name}", root=False)


def _rule(rule: Mapping[str, Any], types: Types, path: str) -> Iterator[field.Error]:
    source = rule.get("rule") or ""
    if not source.strip():
        yield field.required(f"{path}.rule", "rule is not specified")
        return
    message = rule.get("message") or ""
    if message and not message.strip():
        yield field.invalid(f"{path}.message", message, "message must be non-empty if specified")
    elif "\n" in message.strip():
        yield field.invalid(f"{path}.message", message, "message must not contain line breaks")
    elif not message and "\n" in source.strip():
        yield field.required(f"{path}.message", "message must be specified if rule contains line breaks")
    if (reason := rule.get("reason")) and reason not in REASONS:
        yield field.not_supported(f"{path}.reason", reason, REASONS)
    optional = bool(rule.get("optionalOldSelf"))
    yield from _compiles(types, source, rule, f"{path}.rule", "BOOL", optional=optional)
    if expression := rule.get("messageExpression"):
        yield from _compiles(types, expression, rule, f"{path}.messageExpression", "STRING", optional=optional)


def _compiles(
    types: Types, source: str, rule: Mapping[str, Any], path: str, kind: str, *, optional: bool
) -> Iterator[field.Error]:
    try:
        program = types.check(source, optional=optional)
    except cel.CompileError as error:
        yield _invalid(path, rule, f"compilation failed: {error}" if kind == "BOOL" else str(error))
        return
    if program.kind not in (kind, "DYN"):
        what = (
            "cel expression must evaluate to a bool"
            if kind == "BOOL"
            else "messageExpression must evaluate to a string"
        )
        yield _invalid(path, rule, what)


def _invalid(path: str, rule: Mapping[str, Any], detail: str) -> field.Error:
    """The rule is shown as upstream's own type has it."""
    shown = {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
    text = orjson.dumps(shown).decode()
    for plain, written in ((">", "\\u003e"), ("<", "\\u003c"), ("&", "\\u0026")):
        text = text.replace(plain, written)
    return field.Error("FieldValueInvalid", path, f"Invalid value: {text}: {detail}")
