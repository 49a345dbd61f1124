"""x-kubernetes-validations: CEL rules of custom resources, checked value by value beside the schema.

A rule sees its value as `self`, and where it compares with the value before the update, that as `oldSelf`. Rules of a
value that an update leaves as it is are not asked again, unless they are about the transition.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pynetes.machinery import field

RULES = "x-kubernetes-validations"
#: There is no value to compare with.
ABSENT: Any = object()
_OLD = re.compile(r"\boldSelf\b")
_RESERVED = frozenset(
    {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import"}
    | {"let", "loop", "package", "namespace", "return", "var", "void", "while"}
)
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def present(schema: Any) -> bool:
    """Whether there is a rule anywhere."""
    if isinstance(schema, list):
        return any(map(present, schema))
    return isinstance(schema, dict) and (bool(schema.get(RULES)) or any(map(present, schema.values())))


def escaped(name: str) -> str:
    """A property's name as expressions write it."""
    if name in _RESERVED:
        return f"__{name}__"
    for plain, written in (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        name = name.replace(plain, written)
    return name


def problems(schema: Mapping[str, Any], value: Any, old: Any, path: str) -> Iterator[field.Error]:
    """Every rule that does not hold, of this value and of those within it. A null has none."""
    if value is None or ((rules := schema.get(RULES)) is None and not isinstance(value, dict | list)):
        return
    for rule in rules or ():
        if error := _asked(rule, schema, value, old, path):
            yield error
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
            if name in properties:
                yield from problems(properties[name], inner, before, f"{path}.{name}" if path else name)
            elif isinstance(extra, dict):
                yield from problems(extra, inner, before, f"{path}[{name}]")
    elif isinstance(value, list):
        find = correlated(schema, old)
        for index, item in enumerate(value):
            yield from problems(schema.get("items") or {}, item, find(item), f"{path}[{index}]")


def correlated(schema: Mapping[str, Any], old: Any) -> Callable[[Any], Any]:
    """Finds what an item of a list was before: known for lists that are maps and sets only."""
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map" or not keys:
        return lambda _: ABSENT

    def identity(item: Any) -> Any:
        return [item.get(key) for key in keys] if isinstance(item, dict) else ABSENT

    return lambda item: next((each for each in old if identity(each) == identity(item)), ABSENT)


def _asked(rule: Mapping[str, Any], schema: Mapping[str, Any], value: Any, old: Any, path: str) -> field.Error | None:
    from pynetes.machinery import cel  # a library of 50 MB, which only rules of custom resources need

    source = rule["rule"]
    transition, optional = bool(_OLD.search(source)), bool(rule.get("optionalOldSelf"))
    if transition and old is ABSENT and not optional:
        return None
    if not transition and old is not ABSENT and old == value:
        return None
    values = {"self": shaped(schema, value), "before": [] if old is ABSENT else [shaped(schema, old)]}
    try:
        if cel.program(bound(source, optional=optional), ("self", "before")).eval(values) is True:
            return None
    except (cel.CompileError, cel.EvalError) as error:
        return field.invalid(path or "<nil>", schema.get("type") or "", f"{error} evaluating rule: {source}")
    return _error(rule, value, path, _message(rule, values))


def bound(source: str, *, optional: bool) -> str:
    """The expression with oldSelf bound to what was before, if there was anything."""
    if not _OLD.search(source):
        return source
    what = "before.size() == 0 ? optional.none() : optional.of(before[0])" if optional else "before[0]"
    return f"cel.bind(oldSelf, {what}, {source}\n)"


def _message(rule: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    if expression := rule.get("messageExpression"):
        from pynetes.machinery import cel  # as above

        try:
            source = bound(expression, optional=bool(rule.get("optionalOldSelf")))
            text = cel.program(source, ("self", "before")).eval(values)
        except (cel.CompileError, cel.EvalError):
            text = None
        if isinstance(text, str) and text.strip() and "\n" not in text:
            return text.strip()
    return str(rule.get("message") or "").strip() or f"failed rule: {rule['rule'].strip()}"


def _error(rule: Mapping[str, Any], value: Any, path: str, message: str) -> field.Error:
    path = path + (rule.get("fieldPath") or "") or "<nil>"
    path = path.removeprefix(".").replace("['", "[").replace("']", "]")
    match rule.get("reason") or "FieldValueInvalid":
        case "FieldValueForbidden":
            return field.forbidden(path, message)
        case "FieldValueRequired":
            return field.required(path, message)
        case reason:
            word = "Duplicate value" if reason == "FieldValueDuplicate" else "Invalid value"
            shown = "" if isinstance(value, dict | list) else f" {field.quote(value)}:"
            return field.Error(reason, path, f"{word}:{shown} {message}")


def shaped(schema: Mapping[str, Any], value: Any) -> Any:
    """A value as expressions see it: by escaped names, with the types that formats mean."""
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    if isinstance(value, dict):
        inner = extra if isinstance(extra, dict) else {}
        return {
            escaped(name) if name in properties else name: shaped(properties.get(name, inner), member)
            for name, member in value.items()
        }
    if isinstance(value, list):
        return [shaped(schema.get("items") or {}, item) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if schema.get("type") == "integer" and isinstance(value, float):
        return int(value)
    if isinstance(value, str) and schema.get("type") == "string":
        return _formatted(schema.get("format") or "", value)
    return value


def _formatted(name: str, text: str) -> Any:
    try:
        if name in ("date", "date-time"):
            read = datetime.fromisoformat(text.replace("Z", "+00:00"))
            return read if read.tzinfo else read.replace(tzinfo=UTC)
        if name == "duration":
            return duration(text)
        if name == "byte":
            return base64.b64decode(text)
    except ValueError:
        return text
    return text


def duration(text: str) -> timedelta:
    """Go's notation: 1h30m, 1.5s. ValueError if it is none."""
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)", text)
    if text != "0" and (not parts or "".join(map("".join, parts)) != text.lstrip("+-")):
        raise ValueError(text)
    seconds = sum(float(number) * _UNIT[unit] for number, unit in parts)
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)
