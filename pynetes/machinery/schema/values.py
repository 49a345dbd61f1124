"""Value validation by an OpenAPI v3 schema, as upstream does it for custom resources, mistake by mistake.

Each keyword is asked even where the type is wrong already, because upstream asks it. Of the branches of anyOf and oneOf
that all fail, the one is told in which the most was right; so what was right is counted, as upstream counts it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import field, go_print, regexp
from pynetes.machinery.schema import formats
from pynetes.machinery.schema.rules import ABSENT, correlated

_INT_OR_STRING = "x-kubernetes-int-or-string"
_KINDS = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_SIZES = {int: "int64", float: "float64"}
_RANGES = {"int32": (-(2**31), 2**31 - 1), "float": (-3.4028235677973366e38, 3.4028235677973366e38)}
_INT64 = (-(2**63), 2**63 - 1)


class _Result:
    """Mistakes, each once, and how much was right."""

    __slots__ = ("errors", "right")

    def __init__(self, *errors: field.Error, right: int = 0) -> None:
        self.errors = list(errors)
        self.right = right

    def add(self, other: "_Result") -> None:
        """Take over what another one has found."""
        self.errors += [error for error in other.errors if error not in self.errors]
        self.right += other.right


def problems(
    schema: Mapping[str, Any], value: Any, path: str, old: Any = ABSENT, *, below: str = ""
) -> Iterator[field.Error]:
    """Every mistake in a value; what an update leaves as it was (old) is not held against it. Messages name the value
    by path, and errors are placed below another one."""
    for error in _checked(schema, value, path, old).errors:
        place = error.path.removeprefix(".")
        yield error._replace(path=(f"{below}.{place}" if below and place else below or place) or "<nil>")


def _checked(schema: Mapping[str, Any], value: Any, path: str, old: Any = ABSENT) -> _Result:
    if old is not ABSENT and old == value:
        return _Result(right=1)
    found = _Result()
    if value is None:
        found.add(_type(schema, None, path) or _Result())
        found.add(_enum(schema, None, path))
        return found
    if (typed := _type(schema, value, path)) is not None:
        found.add(typed)
        found.right += 1
    found.add(_combined(schema, value, path, old))
    found.right += 2
    if isinstance(value, str):
        found.add(_text(schema, value, path))
        found.right += 2 if _format(schema) else 1
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found.add(_number(schema, value, path))
        found.right += 2
    elif isinstance(value, list):
        found.add(_array(schema, value, path, old))
        found.right += 2
    found.add(_enum(schema, value, path))
    found.right += 1
    if isinstance(value, dict):
        found.add(_object(schema, value, path, old))
        found.right += 1
    found.right += 1
    return found


def _types(schema: Mapping[str, Any]) -> list[str]:
    if schema.get(_INT_OR_STRING):
        return ["integer", "string"]
    return [schema["type"]] if schema.get("type") else []


def _format(schema: Mapping[str, Any]) -> str:
    """The format, unless it means nothing for the type."""
    name, types = schema.get("format") or "", _types(schema)
    kind = types[0] if len(types) == 1 else ""
    if kind in ("", "string"):
        return name if formats.known(name) else ""
    return name if name in {"integer": ("int32", "int64"), "number": ("float", "double")}.get(kind, ()) else ""


def _type(schema: Mapping[str, Any], value: Any, path: str) -> _Result | None:
    """None where nothing is said of the type."""
    types, form = _types(schema), _format(schema)
    if not types and not form:
        return None
    if value is None:
        wrong = types and not schema.get("nullable")
        return _Result(_wrong_type(path, "null", ",".join(types))) if wrong else _Result(right=1)
    have = _KINDS[type(value)]
    whole = have == "number" and value.is_integer() and abs(value) < 2**53 and "integer" in types
    fits = have in types or whole or (have == "integer" and "number" in types)
    if form and not isinstance(value, str | list) and not fits:
        size = "" if isinstance(value, bool) else _SIZES.get(type(value), "")
        return _Result(_wrong_type(path, size, form)) if size != form else _Result(right=1)
    if form and isinstance(value, str | list) and not {"number", "integer"} & set(types):
        return _Result(right=1)
    return _Result(right=1) if fits else _Result(_wrong_type(path, have, ",".join(types)))


def _wrong_type(path: str, found: str, wanted: str) -> field.Error:
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return field.Error("FieldValueTypeInvalid", path, text)


def _nowhere(text: str) -> field.Error:
    """A mistake that upstream gives without its place."""
    return field.Error("FieldValueInvalid", "", f'Invalid value: "": {text}')


def _invalid(path: str, value: Any, detail: str) -> field.Error:
    return field.invalid(path, value, f"{path} in body {detail}")


def _enum(schema: Mapping[str, Any], value: Any, path: str) -> _Result:
    choices = schema.get("enum")
    if not choices or (value is not None and any(_same(value, choice) for choice in choices)):
        return _Result()
    shown = ", ".join(field.quote(each if isinstance(each, str) else go_print.json(each)) for each in choices)
    text = f"Unsupported value: {field.quote(value)}: supported values: {shown}"
    return _Result(field.Error("FieldValueNotSupported", path, text))


def _same(value: Any, choice: Any) -> bool:
    return bool(value == choice) and isinstance(value, bool) == isinstance(choice, bool)


def _text(schema: Mapping[str, Any], value: str, path: str) -> _Result:
    found = _Result()
    if (limit := schema.get("maxLength")) is not None and len(value) > limit:
        found.errors.append(field.too_long(path, limit))
    elif (least := schema.get("minLength")) is not None and len(value) < least:
        found.errors.append(_invalid(path, value, f"should be at least {least} chars long"))
    elif (pattern := schema.get("pattern")) and not regexp.search(pattern, value):
        found.errors.append(_invalid(path, value, f"should match '{pattern}'"))
    if (name := _format(schema)) and not formats.fits(name, value):
        text = f"Invalid value: {field.quote(value)}: {path} in body must be of type {name}: {field.quote(value)}"
        found.errors.append(field.Error("FieldValueTypeInvalid", path, text))
    return found


def _number(schema: Mapping[str, Any], value: float, path: str) -> _Result:
    found = _Result(*_out_of_range(schema, value, "Checked", path))
    for keyword, prefix in (
        ("multipleOf", "MultipleOf"),
        ("minimum", "Minimum boundary"),
        ("maximum", "Maximum boundary"),
    ):
        if (limit := schema.get(keyword)) is None:
            continue
        found.errors += _out_of_range(schema, limit, prefix, path)
        if detail := _beyond(keyword, value, limit, exclusive=bool(schema.get(f"exclusive{keyword.title()}"))):
            found.errors.append(_invalid(path, value, f"{detail} {_plain(limit)}"))
    return found


def _beyond(keyword: str, value: float, limit: float, *, exclusive: bool) -> str:
    """What the value should be, if it is not."""
    if keyword == "multipleOf":
        times = (1 / limit * value if limit < 1 else value / limit) if isinstance(value, float) else value % limit
        whole = float(times).is_integer() if isinstance(value, float) else not times
        return "" if whole else "should be a multiple of"
    if keyword == "maximum":
        if value >= limit if exclusive else value > limit:
            return "should be less than" if exclusive else "should be less than or equal to"
    elif value <= limit if exclusive else value < limit:
        return "should be greater than" if exclusive else "should be greater than or equal to"
    return ""


def _out_of_range(schema: Mapping[str, Any], value: float, what: str, path: str) -> list[field.Error]:
    """Whether the type and format can hold a value, or a limit."""
    types, form = _types(schema), _format(schema)
    kind = types[0] if len(types) == 1 else ""
    if kind == "integer":
        least, most = _RANGES.get(form, _INT64)
        wrong = not float(value).is_integer() or not least <= value <= most
    else:
        least, most = _RANGES.get(form, (value, value))
        wrong = not least <= value <= most
    where = f"with format {form}" if form else "(default format)"
    return [_nowhere(f"{what} value must be of type {kind} {where} in {path}")] if wrong else []


def _plain(number: float) -> str:
    return go_print.number(number) if isinstance(number, float) and not number.is_integer() else str(int(number))


def _object(schema: Mapping[str, Any], value: dict[str, Any], path: str, old: Any) -> _Result:
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    found = _Result()
    if (least := schema.get("minProperties")) is not None and len(value) < least:
        found.errors.append(_invalid(path, len(value), f"should have at least {least} properties"))
    if (most := schema.get("maxProperties")) is not None and len(value) > most:
        found.errors.append(field.too_many(path, len(value), most))
    for name, inner in value.items():
        before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
        if name in properties:
            continue
        if extra is False:
            text = f"{path}.{name} in body is a forbidden property"
            found.errors.append(field.invalid(path, name, text))
        elif isinstance(extra, dict):
            found.add(_checked(extra, inner, f"{path}.{name}", before))
    for name, member in properties.items():
        if name in value:
            before = old.get(name, ABSENT) if isinstance(old, dict) else ABSENT
            found.add(_checked(member, value[name], f"{path}.{name}" if path else name, before))
    for name in schema.get("required") or ():
        if name not in value:
            found.errors.append(field.required(f"{path}.{name}"))
    return found


def _array(schema: Mapping[str, Any], value: list[Any], path: str, old: Any) -> _Result:
    found = _Result()
    find = correlated(schema, old)
    if isinstance(items := schema.get("items"), dict):
        for index, item in enumerate(value):
            found.add(_checked(items, item, f"{path}[{index}]", find(item)))
    if (least := schema.get("minItems")) is not None and len(value) < least:
        found.errors.append(_invalid(path, len(value), f"should have at least {least} items"))
    if (most := schema.get("maxItems")) is not None and len(value) > most:
        found.errors.append(field.too_many(path, len(value), most))
    return found


def _combined(schema: Mapping[str, Any], value: Any, path: str, old: Any) -> _Result:
    found = _Result()
    if choices := schema.get("anyOf"):
        results = _until_good([_checked(choice, value, path, _within(old)) for choice in choices])
        if results[-1].errors:
            found.errors.append(_nowhere(f'"{path}" must validate at least one schema (anyOf)'))
            found.add(_best(results))
        else:
            found.add(results[-1])
    if choices := schema.get("oneOf"):
        found.add(_one([_checked(choice, value, path, _within(old)) for choice in choices], path))
    if parts := schema.get("allOf"):
        results = [_checked(part, value, path, _within(old)) for part in parts]
        for result in results:
            found.add(result)
        if any(result.errors for result in results):
            none = ". None validated" if all(result.errors for result in results) else ""
            found.errors.append(_nowhere(f'"{path}" must validate all the schemas (allOf){none}'))
    if "not" in schema and not _checked(schema["not"], value, path, _within(old)).errors:
        found.errors.append(_nowhere(f'"{path}" must not validate the schema (not)'))
    return found


def _within(old: Any) -> Any:
    """What a branch compares with: members of what was before, but not the whole, which was compared already."""
    return old if isinstance(old, dict | list) else ABSENT


def _until_good(results: list[_Result]) -> list[_Result]:
    good = next((index for index, result in enumerate(results) if not result.errors), len(results) - 1)
    return results[: good + 1]


def _best(results: list[_Result]) -> _Result:
    """The first with the most right."""
    return max(results, key=lambda result: result.right)


def _one(results: list[_Result], path: str) -> _Result:
    good = [result for result in results if not result.errors]
    if len(good) == 1:
        return good[0]
    about = f"Found {len(good)} valid alternatives" if good else "Found none valid"
    found = _Result(_nowhere(f'"{path}" must validate one and only one schema (oneOf). {about}'))
    if not good:
        found.add(_best(results))
    return found
