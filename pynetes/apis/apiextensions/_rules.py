"""x-kubernetes-validations of a CustomResourceDefinition: each rule must compile against the schema it stands in."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from pynetes.machinery import cel, field
from pynetes.machinery.cel.typed import Types

RULES = "x-kubernetes-validations"
_OLD = re.compile(r"\boldSelf\b")
_BREAK = re.compile(r"[\n\r]")
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\['([^']*)'\]")
REASONS = ("FieldValueRequired", "FieldValueInvalid", "FieldValueForbidden", "FieldValueDuplicate")
_ROOT = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


def problems(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    """Every rule that is wrong. What cannot be a rule is told first, and then no rule is compiled, as upstream."""
    shapes = list(_shapes(schema, path))
    yield from shapes or _compiled(schema, path, root=True, uncorrelated="")


def _inner(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, member in sorted((schema.get("properties") or {}).items()):
        yield "properties", f"{path}.properties[{name}]", member
    for name in ("items", "additionalProperties"):
        if isinstance(inner := schema.get(name), dict):
            yield name, f"{path}.{name}", inner


def _shapes(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    for _, place, inner in _inner(schema, path):
        yield from _shapes(inner, place)
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
    node: Any = schema
    rest = path.strip()
    while rest:
        step = _STEP.match(rest)
        if step is None or not isinstance(node, Mapping):
            return False
        name, rest = step[1] or step[2], rest[step.end() :]
        extra = node.get("additionalProperties")
        node = (node.get("properties") or {}).get(name) if not isinstance(extra, Mapping) else extra
        if node is None:
            return False
    return True


def _compiled(schema: Mapping[str, Any], path: str, *, root: bool, uncorrelated: str) -> Iterator[field.Error]:
    """uncorrelated is the place of the list or map around it whose items cannot be told apart over an update."""
    for name, place, inner in _inner(schema, path):
        within = uncorrelated
        keyless = name == "items" and schema.get("x-kubernetes-list-type") != "map"
        if keyless or (name == "properties" and schema.get("x-kubernetes-map-type") == "atomic"):
            within = within or path
        yield from _compiled(inner, place, root=False, uncorrelated=within)
    if rules := schema.get(RULES):
        about = {**schema, "properties": {**(schema.get("properties") or {}), **_ROOT}} if root else schema
        types = Types(about)
        for index, rule in enumerate(rules):
            yield from _rule(rule, types, f"{path}.{RULES}[{index}]", uncorrelated)


def _rule(rule: Mapping[str, Any], types: Types, path: str, uncorrelated: str) -> Iterator[field.Error]:
    source, optional = rule["rule"], bool(rule.get("optionalOldSelf"))
    wrong = list(_compiles(types, source, rule, f"{path}.rule", "BOOL", optional=optional))
    yield from wrong
    if expression := rule.get("messageExpression"):
        yield from _compiles(types, expression, rule, f"{path}.messageExpression", "STRING", optional=optional)
    if not wrong and _OLD.search(source):
        if uncorrelated:
            text = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
            yield field.invalid(f"{path}.rule", source, text)
    elif "optionalOldSelf" in rule:
        text = "may not be set if oldSelf is not used in rule"
        yield field.invalid(f"{path}.optionalOldSelf", optional, text)


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
