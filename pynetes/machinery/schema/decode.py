"""Normalises an object as a round trip through upstream's Go types does.

null counts as absent, quantities and times get their canonical text, empty members go, members that Go always writes
appear. Upstream stores and returns objects so, and clients compare them.

Each Type compiles to one closure. The closures carry no path: on anything unexpected they raise Surprise, and the
caller turns to `inspect`, which walks slowly, names what is wrong and where, and takes unknown members out.
"""

import binascii
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from pynetes.machinery import quantity, time
from pynetes.machinery.meta import Object
from pynetes.machinery.schema.types import Field, Type

#: A decoder returns the value to keep, which is the value itself when nothing changes.
Decoder = Callable[[Any], Any]


class Surprise(Exception):
    """The value has an unknown member or a wrong type somewhere."""


class _Drop:
    """Marks a value that is as good as absent."""


DROP = _Drop()
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").fullmatch
_MICRO_OFFSET = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d").fullmatch
_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z").fullmatch
_RANGES = {"int32": (-(2**31), 2**31), "int64": (-(2**63), 2**63), "": (-(2**63), 2**63)}


def decoder_of(type_: Type) -> Decoder:
    """The compiled closure of a type, made on first use."""
    if type_.decoder is None:
        type_.decoder = _LATE.get(type_.kind, _scalar)(type_)
    found: Decoder = type_.decoder
    return found


def zero_of(field: Field) -> Any:
    """What an unset member is written as; DROP if it is left out."""
    match field.unset:
        case "s":
            return zero_struct(field.type)
        case "a":
            return {"boolean": False, "integer": 0, "number": 0}.get(field.type.kind, "")
        case "n" | "t":
            return None
        case "q":
            return "0"
        case "i":
            return 0
        case _:
            return DROP


def zero_struct(type_: Type) -> Object:
    """What an object of the type has when nothing is set."""
    constants, structs = _zero_parts(type_)
    made = dict(constants)
    for name, inner in structs:
        made[name] = zero_struct(inner)
    return made


@cache
def _zero_parts(type_: Type) -> tuple[Object, tuple[tuple[str, Type], ...]]:
    """Its members that cannot be changed, and those that every object has its own of."""
    unset = {name: field for name, field in type_.fields.items() if field.unset}
    constants = {
        name: zero for name, field in unset.items() if field.unset != "s" and (zero := zero_of(field)) is not DROP
    }
    return constants, tuple((name, field.type) for name, field in unset.items() if field.unset == "s")


class _Object:
    """Decoder of an object; its members compile on first use, since definitions may be recursive."""

    __slots__ = ("_constants", "_handlers", "_structs", "_type")

    def __init__(self, type_: Type) -> None:
        self._type = type_
        self._handlers: dict[str, Decoder] = {}
        self._structs: list[tuple[str, Type]] = []
        self._constants: list[tuple[str, Any]] = []

    def _compile(self) -> None:
        for name, field in self._type.fields.items():
            self._handlers[name] = _member(field)
            if field.unset == "s":
                self._structs.append((name, field.type))
            elif (zero := zero_of(field)) is not DROP:
                self._constants.append((name, zero))

    def __call__(self, obj: Any) -> Any:
        if obj.__class__ is not dict:
            raise Surprise
        handlers = self._handlers
        if not handlers:
            self._compile()
        drop = []
        try:
            for name, value in obj.items():
                kept = handlers[name](value)
                if kept is not value:
                    if kept is DROP:
                        drop.append(name)
                    else:
                        obj[name] = kept
        except KeyError:
            raise Surprise from None
        for name in drop:
            del obj[name]
        for name, zero in self._constants:
            if name not in obj:
                obj[name] = zero
        for name, type_ in self._structs:
            if name not in obj:
                obj[name] = zero_struct(type_)
        return obj


def _member(field: Field) -> Decoder:
    """Wrap the type's decoder with what the field does about null and zero."""
    if field.type.kind in ("string", "boolean", "integer") and field.unset in ("z", "a", ""):
        return _scalar_member(field)
    inner = decoder_of(field.type)
    zero = zero_of(field)
    collection = {"array": list, "map": dict, "bytes": str}.get(field.type.kind)
    if field.unset == "s":
        return lambda value: zero_struct(field.type) if value is None else inner(value)
    if not collection:
        return lambda value: zero if value is None else inner(value)

    def decode(value: Any) -> Any:
        if not value:
            if value is not None and value.__class__ is not collection:
                raise Surprise
            return zero if value is None or field.unset != "e" else value
        return inner(value)

    return decode


def _scalar_member(field: Field) -> Decoder:
    wanted: type[Any] = {"string": str, "boolean": bool, "integer": int}[field.type.kind]
    zero = zero_of(field)
    omit_zero = field.unset == "z"
    low, high = _RANGES.get(field.type.format, _RANGES[""])

    def decode(value: Any) -> Any:
        if value.__class__ is wanted:
            if omit_zero and not value:
                return DROP
            if wanted is int and not low <= value < high:
                raise Surprise
            return value
        if value is None:
            return zero
        raise Surprise

    return decode


def _array(type_: Type) -> Decoder:
    assert type_.items is not None
    inner = decoder_of(type_.items)
    fill: Any = {"string": "", "boolean": False, "integer": 0}.get(type_.items.kind)

    def decode(items: Any) -> Any:
        if items.__class__ is not list:
            raise Surprise
        for index, value in enumerate(items):
            kept = fill if value is None and fill is not None else inner(value)
            if kept is not value:
                items[index] = kept
        return items

    return decode


def _map(type_: Type) -> Decoder:
    assert type_.items is not None
    item_type = type_.items
    if item_type.kind == "string":
        return _string_map
    inner = decoder_of(item_type)

    def decode(obj: Any) -> Any:
        if obj.__class__ is not dict:
            raise Surprise
        for name, value in obj.items():
            kept = inner(value) if value is not None else zero_struct(item_type) if item_type.kind == "object" else None
            if kept is not value:
                obj[name] = kept
        return obj

    return decode


def _string_map(obj: Any) -> Any:
    if obj.__class__ is not dict:
        raise Surprise
    for name, value in obj.items():
        if value.__class__ is not str:
            if value is not None:
                raise Surprise
            obj[name] = ""
    return obj


def _quantity(_: Type) -> Decoder:
    def decode(value: Any) -> Any:
        if value.__class__ not in (str, int, float):
            raise Surprise
        try:
            text = quantity.canonical(value)
        except ValueError:
            raise Surprise from None
        return value if text == value else text

    return decode


def _time(type_: Type) -> Decoder:
    micro = type_.kind == "microtime"
    good, write = (_MICRO, time.micro) if micro else (_TIME, time.rfc3339)

    def decode(value: Any) -> Any:
        if value.__class__ is not str:
            raise Surprise
        if good(value):
            return value
        if micro and not _MICRO_OFFSET(value):
            raise Surprise
        try:
            return write(time.parse(value))
        except ValueError:
            raise Surprise from None

    return decode


def _bytes(_: Type) -> Decoder:
    def decode(value: Any) -> Any:
        if value.__class__ is not str:
            raise Surprise
        try:
            binascii.a2b_base64(value, strict_mode=True)
        except (binascii.Error, ValueError):
            raise Surprise from None
        return value

    return decode


def _intstr(_: Type) -> Decoder:
    def decode(value: Any) -> Any:
        if value.__class__ is not int and value.__class__ is not str:
            raise Surprise
        return value

    return decode


def _schema_or(_: Type) -> Decoder:
    """JSONSchemaProps or a boolean, or a list of them: checked as a schema when it is one."""
    from pynetes.machinery.schema import types

    props = types.named("apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")

    def decode(value: Any) -> Any:
        if value.__class__ is dict:
            return decoder_of(props)(value)
        if value.__class__ is list:
            return [decoder_of(props)(item) for item in value]
        return value

    return decode


def _any(_: Type) -> Decoder:
    return lambda value: value


def _scalar(type_: Type) -> Decoder:
    wanted: tuple[type, ...] = {"string": (str,), "boolean": (bool,), "integer": (int,)}.get(type_.kind, (int, float))

    def decode(value: Any) -> Any:
        if value.__class__ in wanted:
            return value
        raise Surprise

    return decode


_LATE: dict[str, Callable[[Type], Decoder]] = {
    "object": _Object,
    "array": _array,
    "map": _map,
    "quantity": _quantity,
    "time": _time,
    "microtime": _time,
    "intstr": _intstr,
    "bytes": _bytes,
    "any": _any,
    "schema-or": _schema_or,
}
