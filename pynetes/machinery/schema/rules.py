"""x-kubernetes-validations: CEL rules of custom resources, checked value by value beside the schema.

A rule sees its value as `self`, and where it compares with the value before the update, that as `oldSelf`. Rules of a
value that an update leaves as it is only warn, unless they are about the transition.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from pynetes.machinery import field
from pynetes.machinery.schema import fieldpath

RULES = "x-kubernetes-validations"
#: Bytes of a message that an expression makes.
LONGEST = 5 * 1024
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


def problems(
    schema: Mapping[str, Any], value: Any, old: Any, path: str, warnings: list[str] | None = None, *, same: bool = False
) -> Iterator[field.Error]:
    """Every rule that does not hold, of this value and of those within it. A null has none.

    What an update leaves as it was (same, if that is known of a value around it) is not held against it, but told among
    the warnings; rules about the transition are."""
    if value is None or ((rules := schema.get(RULES)) is None and not isinstance(value, dict | list)):
        return
    same = same or (old is not ABSENT and old == value)
    for rule in rules or ():
        if error := _asked(rule, schema, value, old, path):
            if error.lenient and same:
                if warnings is not None and (text := str(error.problem)) not in warnings:
                    warnings.append(text)
            else:
                yield error.problem
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
            if name in properties:
                place = f"{path}.{name}" if path else name
                yield from problems(properties[name], inner, before, place, warnings, same=same)
            elif isinstance(extra, dict):
                yield from problems(extra, inner, before, f"{path}[{name}]", warnings, same=same)
    elif isinstance(value, list):
        find = correlated(schema, old)
        for index, item in enumerate(value):
            inner = schema.get("items") or {}
            yield from problems(inner, item, find(item), f"{path}[{index}]", warnings, same=same)


class _Failed(NamedTuple):
    """A rule that does not hold; lenient, if it may not hold of what was so before."""

    problem: field.Error
    lenient: bool = False


def correlated(schema: Mapping[str, Any], old: Any) -> Callable[[Any], Any]:
    """Finds what an item of a list was before: known for lists that are maps and sets only."""
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    if not isinstance(old, list) or schema.get("x-kubernetes-list-type") != "map" or not keys:
        return lambda _: ABSENT

    def identity(item: Any) -> Any:
        return [item.get(key) for key in keys] if isinstance(item, dict) else ABSENT

    return lambda item: next((each for each in old if identity(each) == identity(item)), ABSENT)


def _asked(rule: Mapping[str, Any], schema: Mapping[str, Any], value: Any, old: Any, path: str) -> _Failed | None:
    from pynetes.machinery import cel  # a library of 50 MB, which only rules of custom resources need

    source = rule["rule"]
    transition, optional = bool(_OLD.search(source)), bool(rule.get("optionalOldSelf"))
    before = [] if old is ABSENT or old is None else [shaped(schema, old)]
    if transition and not before and not optional:
        return None
    values = {"self": shaped(schema, value), "before": before}
    try:
        if cel.program(bound(source, optional=optional), ("self", "before")).limited(values) is True:
            return None
    except (cel.CompileError, cel.EvalError) as error:
        return _Failed(field.invalid(path or "<nil>", schema.get("type") or "", _unanswered(rule, str(error))))
    place = _place(rule, schema, path)
    return _Failed(_error(rule, schema.get("type"), value, place, _message(rule, values)), lenient=not transition)


def _unanswered(rule: Mapping[str, Any], error: str) -> str:
    """Of a rule that could not be evaluated, named by its message if it has one."""
    named = str(rule.get("message") or rule["rule"]).strip()
    if error.startswith("operation cancelled"):
        return f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {named}"
    if error.startswith("no such overload"):
        text = "call arguments did not match a supported operator, function or macro signature for rule"
        return f"'{error}': {text}: {named}"
    return f"{error} evaluating rule: {named}"


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
            text = cel.program(source, ("self", "before")).limited(values)
        except (cel.CompileError, cel.EvalError):
            text = None
        text = text.strip() if isinstance(text, str) else ""
        if text and "\n" not in text and len(text.encode()) <= LONGEST:
            return text
    return str(rule.get("message") or "").strip() or f"failed rule: {rule['rule'].strip()}"


def _place(rule: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> str:
    """Where the mistake is: at the value, or where the rule says it is within it."""
    where = rule.get("fieldPath")
    inner = fieldpath.resolve(schema, where).path if where else ""
    return f"{path}.{inner}" if path and inner and not inner.startswith("[") else f"{path}{inner}" or "<nil>"


def _error(rule: Mapping[str, Any], kind: Any, value: Any, path: str, message: str) -> field.Error:
    shown = "" if kind in ("object", "array") else f": {field.quote(value)}:"
    match rule.get("reason") or "FieldValueInvalid":
        case "FieldValueForbidden":
            return field.forbidden(path, message)
        case "FieldValueRequired":
            return field.required(path, message)
        case "FieldValueDuplicate":
            # Upstream tells the value and not the message.
            return field.Error("FieldValueDuplicate", path, f"Duplicate value{shown.removesuffix(':')}")
        case reason:
            return field.Error(reason, path, f"Invalid value{shown or ':'} {message}")


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
