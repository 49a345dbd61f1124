"""Finds what `decode` stumbled over: unknown members, which it takes out, and the first value of a wrong type.

The texts are those of Go's JSON decoder, because API clients see them: `json: cannot unmarshal string into Go struct
field PodSpec.spec.terminationGracePeriodSeconds of type int64`.
"""

import binascii
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from pynetes.machinery import quantity, time
from pynetes.machinery.schema import types
from pynetes.machinery.schema.types import Type

_JSON_NAMES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
_GO_NAMES = {"string": "string", "boolean": "bool", "number": "float64", "bytes": "[]uint8"}
_LAYOUTS = {"time": "2006-01-02T15:04:05Z07:00", "microtime": "2006-01-02T15:04:05.000000Z07:00"}
#: Go reads a MicroTime with exactly this many.
_SIX_DECIMALS = re.compile(r"\.\d{6}(?!\d)")
_BOUNDS = {"int32": 2**31}


class WrongType(ValueError):
    """A value that cannot be decoded; the text is the one for the client, without the kind in front."""


@cache
def _go_names() -> dict[str, str]:
    """Member → its type in Go, where that has a name of its own."""
    rows = json.loads((Path(__file__).parent / "go_names.json").read_text())
    return {member: row["is"] for row in rows for member in row["of"].split()}


def inspect(type_: Type, value: Any, path: str = "", struct: str = "", dotted: str = "", go: str = "") -> list[str]:
    """Take unknown members out of the value and return their paths. Raises WrongType.

    path is what unknown members are named by (spec.containers[0].x); struct and dotted are Go's way to say where, and
    go is the type there where the schema's own does not tell.
    """
    if value is None:
        return []
    match type_.kind:
        case "object":
            return _object(type_, value, path, struct, dotted)
        case "array":
            _expect(type_, value, list, struct, dotted, go)
            assert type_.items is not None
            items, inner = type_.items, go[2:] if go.startswith("[]") else ""
            return [
                unknown
                for index, item in enumerate(value)
                for unknown in inspect(items, item, f"{path}[{index}]", struct, dotted, inner)
            ]
        case "map":
            _expect(type_, value, dict, struct, dotted, go)
            assert type_.items is not None
            items, inner = type_.items, go.partition("]")[2]
            return [
                unknown
                for name, item in value.items()
                for unknown in inspect(items, item, f"{path}.{name}", struct, dotted, inner)
            ]
        case "schema-or":
            props = types.named("apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
            return _object(props, value, path, struct, dotted) if isinstance(value, dict) else []
        case _:
            _scalar(type_, value, struct, dotted, go)
            return []


def _object(type_: Type, value: Any, path: str, struct: str, dotted: str) -> list[str]:
    _expect(type_, value, dict, struct, dotted)
    unknown: list[str] = []
    go_struct = type_.name.rpartition(".")[2] or struct
    for name in list(value):
        place = f"{path}.{name}" if path else name
        if field := type_.fields.get(name):
            go = _go_names().get(f"{type_.name}.{name}", "")
            unknown += inspect(field.type, value[name], place, go_struct, f"{dotted}.{name}" if dotted else name, go)
        else:
            del value[name]
            unknown.append(place)
    return sorted(unknown) if not path else unknown


def _expect(type_: Type, value: Any, wanted: type, struct: str, dotted: str, go: str = "") -> None:
    if not isinstance(value, wanted):
        raise _mismatch(type_, value, struct, dotted, go=go)


def _mismatch(type_: Type, value: Any, struct: str, dotted: str, shown: str = "", go: str = "") -> WrongType:
    place = f"struct field {struct}.{dotted}" if dotted else "value"
    name = _JSON_NAMES.get(type(value), "value") + (f" {shown}" if shown else "")
    return WrongType(f"json: cannot unmarshal {name} into Go {place} of type {go or _go_name(type_)}")


def _go_name(type_: Type) -> str:
    match type_.kind:
        case "array":
            return f"[]{_go_name(type_.items)}" if type_.items else "[]interface {}"
        case "map":
            return f"map[string]{_go_name(type_.items)}" if type_.items else "map[string]interface {}"
        case "integer":
            return type_.format or "int64"
        case "object":
            return ".".join(type_.name.split(".")[-2:])
        case kind:
            return _GO_NAMES.get(kind, kind)


def _scalar(type_: Type, value: Any, struct: str, dotted: str, go: str) -> None:
    kind = type_.kind
    match kind:
        case "quantity":
            try:
                quantity.parse(value if isinstance(value, str | int | float) else "")
            except (ValueError, TypeError) as error:
                raise WrongType(str(error)) from None
        case "time" | "microtime":
            _time(type_, value, struct, dotted)
        case "bytes":
            _expect(type_, value, str, struct, dotted)
            _base64(value)
        case "intstr":
            if type(value) not in (int, str):
                shown = _JSON_NAMES.get(type(value), "value") + (f" {value}" if isinstance(value, float) else "")
                raise WrongType(f"json: cannot unmarshal {shown} into Go value of type int32")
        case "integer":
            if type(value) is not int or abs(value) >= _BOUNDS.get(type_.format, 2**63):
                shown = str(value) if type(value) in (int, float) else ""
                raise _mismatch(type_, value, struct, dotted, shown, go)
        case "string" | "boolean" | "number":
            wanted = {"string": (str,), "boolean": (bool,), "number": (int, float)}[kind]
            if type(value) not in wanted:
                raise _mismatch(type_, value, struct, dotted, go=go)


def _time(type_: Type, value: Any, struct: str, dotted: str) -> None:
    if not isinstance(value, str):
        raise WrongType(f"json: cannot unmarshal {_JSON_NAMES.get(type(value), 'value')} into Go value of type string")
    try:
        if type_.kind == "microtime" and not _SIX_DECIMALS.search(value):
            raise ValueError(value)
        time.parse(value)
    except ValueError:
        rest = value[19:] if len(value) > 19 else value
        part = ".000000" if type_.kind == "microtime" and len(value) > 19 else "2006"
        text = f'parsing time "{value}" as "{_LAYOUTS[type_.kind]}": cannot parse "{rest}" as "{part}"'
        raise WrongType(text) from None


def _base64(text: str) -> None:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        position = next((index for index, char in enumerate(text) if char not in alphabet), len(text) - len(text) % 4)
        raise WrongType(f"illegal base64 data at input byte {position}") from None
