"""Value validation by an OpenAPI v3 schema, worded as upstream words it for custom resources."""

from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import field, regexp
from pynetes.machinery.schema import formats
from pynetes.machinery.schema.rules import ABSENT, correlated

_INT_OR_STRING = "x-kubernetes-int-or-string"
_JSON_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def problems(schema: Mapping[str, Any], value: Any, path: str, old: Any = ABSENT) -> Iterator[field.Error]:
    """Every mistake in a value; what an update leaves as it was (old) is not held against it."""
    if old is not ABSENT and old == value:
        return
    if value is None:
        if not schema.get("nullable") and schema.get("type"):
            yield _wrong_type(path, "null", schema["type"])
        return
    if not _fits(schema, value):
        yield from _misfit(schema, value, path)
        return
    if "enum" in schema and value not in schema["enum"]:
        shown = ", ".join(field.quote(choice) for choice in schema["enum"])
        text = f"Unsupported value: {field.quote(value)}: supported values: {shown}"
        yield field.Error("FieldValueNotSupported", path, text)
    if isinstance(value, str):
        yield from _text(schema, value, path)
    elif isinstance(value, dict):
        yield from _object(schema, value, path, old)
    elif isinstance(value, list):
        yield from _array(schema, value, path, old)
    elif not isinstance(value, bool):
        yield from _number(schema, value, path)
    yield from _combined(schema, value, path)


def _misfit(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[field.Error]:
    wanted = schema.get("type") or "integer,string"
    if wanted == "integer" and isinstance(value, float):
        yield _nowhere(f"Checked value must be of type integer {_format_of(schema)} in {path}")
    yield _wrong_type(path, _JSON_NAMES.get(type(value), "value"), wanted)
    if wanted == "integer" and isinstance(value, float):
        yield from _number(schema, value, path)


def _format_of(schema: Mapping[str, Any]) -> str:
    return f"with format {schema['format']}" if schema.get("format") else "(default format)"


def _nowhere(text: str) -> field.Error:
    """A mistake that upstream gives without its place."""
    return field.Error("FieldValueInvalid", "<nil>", f'Invalid value: "": {text}')


def _wrong_type(path: str, found: str, wanted: str) -> field.Error:
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return field.Error("FieldValueTypeInvalid", path, text)


def _fits(schema: Mapping[str, Any], value: Any) -> bool:
    if schema.get(_INT_OR_STRING):
        return isinstance(value, int | str) and not isinstance(value, bool)
    match schema.get("type"):
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and (
                isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            )
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case _:
            return True


def _invalid(path: str, value: Any, detail: str) -> field.Error:
    return field.invalid(path, value, f"{path} in body {detail}")


def _text(schema: Mapping[str, Any], value: str, path: str) -> Iterator[field.Error]:
    if (limit := schema.get("maxLength")) is not None and len(value) > limit:
        yield field.too_long(path, limit)
    elif (least := schema.get("minLength")) is not None and len(value) < least:
        yield _invalid(path, value, f"should be at least {least} chars long")
    elif (pattern := schema.get("pattern")) and not regexp.search(pattern, value):
        yield _invalid(path, value, f"should match '{pattern}'")
    if (name := schema.get("format")) and not formats.fits(name, value):
        text = f"Invalid value: {field.quote(value)}: {path} in body must be of type {name}: {field.quote(value)}"
        yield field.Error("FieldValueTypeInvalid", path, text)


def _number(schema: Mapping[str, Any], value: float, path: str) -> Iterator[field.Error]:
    bits = {"int32": 31, "int64": 63}.get(schema.get("format") or "")
    if bits and schema.get("type") == "integer" and not -(2**bits) <= value < 2**bits:
        yield _nowhere(f"Checked value must be of type integer {_format_of(schema)} in {path}")
    if (most := schema.get("maximum")) is not None:
        if schema.get("exclusiveMaximum") and value >= most:
            yield _invalid(path, value, f"should be less than {_plain(most)}")
        elif value > most:
            yield _invalid(path, value, f"should be less than or equal to {_plain(most)}")
    if (least := schema.get("minimum")) is not None:
        if schema.get("exclusiveMinimum") and value <= least:
            yield _invalid(path, value, f"should be greater than {_plain(least)}")
        elif value < least:
            yield _invalid(path, value, f"should be greater than or equal to {_plain(least)}")
    if (step := schema.get("multipleOf")) and value % step:
        yield _invalid(path, value, f"should be a multiple of {_plain(step)}")


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _object(schema: Mapping[str, Any], value: dict[str, Any], path: str, old: Any) -> Iterator[field.Error]:
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for name in schema.get("required") or ():
        if value.get(name) is None:
            yield field.required(_under(path, name))
    if (most := schema.get("maxProperties")) is not None and len(value) > most:
        yield field.too_many(path, len(value), most)
    if (least := schema.get("minProperties")) is not None and len(value) < least:
        yield _invalid(path, len(value), f"should have at least {least} properties")
    if schema.get("x-kubernetes-embedded-resource"):
        for name in ("apiVersion", "kind"):
            if not value.get(name):
                yield field.required(_under(path, name))
    required = schema.get("required") or ()
    for name, inner in value.items():
        if inner is None and name in required:
            continue
        before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
        if name in properties:
            yield from problems(properties[name], inner, _under(path, name), before)
        elif isinstance(extra, dict):
            yield from problems(extra, inner, _under(path, name), before)


def _under(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _array(schema: Mapping[str, Any], value: list[Any], path: str, old: Any) -> Iterator[field.Error]:
    if (most := schema.get("maxItems")) is not None and len(value) > most:
        yield field.too_many(path, len(value), most)
    if (least := schema.get("minItems")) is not None and len(value) < least:
        yield _invalid(path, len(value), f"should have at least {least} items")
    find = correlated(schema, old)
    for index, item in enumerate(value):
        yield from problems(schema.get("items") or {}, item, f"{path}[{index}]", find(item))


def _combined(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[field.Error]:
    for inner in schema.get("allOf") or ():
        yield from problems(inner, value, path)
    if (choices := schema.get("anyOf")) and not any(_good(choice, value, path) for choice in choices):
        yield _nowhere(f'"{path}" must validate at least one schema (anyOf)')
        yield from problems(choices[0], value, path)
    if choices := schema.get("oneOf"):
        fitting = sum(_good(choice, value, path) for choice in choices)
        if fitting != 1:
            found = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
            yield _nowhere(f'"{path}" must validate one and only one schema (oneOf). {found}')
        if not fitting:
            yield from problems(choices[0], value, path)
    if "not" in schema and _good(schema["not"], value, path):
        yield _nowhere(f'"{path}" must not validate the schema (not)')


def _good(schema: Mapping[str, Any], value: Any, path: str) -> bool:
    return next(problems(schema, value, path), None) is None
