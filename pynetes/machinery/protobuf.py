"""Decodes objects that clients send as application/vnd.kubernetes.protobuf (client-go's choice for built-in kinds).

The envelope is "k8s\\0" and a runtime.Unknown; the message inside is read by the numbers in schema/fields.json, one
decoder per Type. What comes out is the JSON form of the object, still to be normalised by the schema.
"""

import base64
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from pynetes.machinery import schema, time
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import types
from pynetes.machinery.schema.types import Type
from pynetes.machinery.wire import BYTES, Malformed, fields, varint

MAGIC = b"k8s\x00"
_SCHEMA_PROPS = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_SCHEMA_PROPS_OR = f"{_SCHEMA_PROPS}Or"


class Member(NamedTuple):
    """A field of a message: its JSON name and type, or the members of a message embedded in the object."""

    name: str
    type: Type | None
    embedded: "dict[int, Member]"


def decode(body: bytes) -> Object:
    """The object in an enveloped message. Raises Malformed."""
    if not body.startswith(MAGIC):
        shown = " ".join(str(byte) for byte in MAGIC)
        text = f"provided data does not appear to be a protobuf message, expected prefix [{shown}]"
        raise Malformed(text if body else "empty data")
    try:
        envelope = {number: value for number, _, value in fields(body[len(MAGIC) :])}
        about = {number: value.decode() for number, _, value in fields(envelope[1])}
        api_version, kind = about.get(1, ""), about.get(2, "")
        group, _, version = api_version.rpartition("/")
        found = schema.of_kind(group, version, kind)
        if found is None:
            raise Malformed(f'no kind "{kind}" is registered for version "{api_version}"')
        obj = _message(found, envelope.get(2, b""))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise Malformed(f"the message is cut short or malformed: {error!r}") from None
    return {"apiVersion": api_version, "kind": kind, **obj}


@lru_cache(maxsize=2048)
def _members(type_: Type) -> dict[int, Member]:
    """The fields of a message by number; "2/1" is field 1 of a message embedded as field 2."""
    found: dict[int, Member] = {}
    for name, field in type_.fields.items():
        if not field.number:
            continue
        *outer, last = (int(number) for number in field.number.split("/"))
        holder = found
        for number in outer:
            holder = holder.setdefault(number, Member("", None, {})).embedded
        holder[last] = Member(name, field.type, {})
    return found


def _message(type_: Type, data: bytes) -> Object:
    obj: Object = {}
    _fill(obj, _members(type_), data)
    return obj


def _fill(obj: Object, members: dict[int, Member], data: bytes) -> None:
    for number, wire, value in fields(data):
        member = members.get(number)
        if member is None:
            continue
        if member.type is None:
            _fill(obj, member.embedded, value)
        elif member.type.kind == "array":
            _append(obj.setdefault(member.name, []), member.type.items, wire, value)
        elif member.type.kind == "map":
            _entry(obj.setdefault(member.name, {}), member.type.items, value)
        else:
            obj[member.name] = _value(member.type, value)


def _append(items: list[Any], type_: Type | None, wire: int, value: Any) -> None:
    if type_ is None:
        return
    if wire == BYTES and type_.kind in ("integer", "boolean"):
        # Packed: all numbers of the list in one field.
        position = 0
        while position < len(value):
            number, position = varint(value, position)
            items.append(_value(type_, number))
        return
    items.append(_value(type_, value))


def _entry(obj: Object, type_: Type | None, data: bytes) -> None:
    """A map travels as repeated messages of key and value."""
    if type_ is None:
        return
    key, found = "", None
    for number, _, value in fields(data):
        if number == 1:
            key = value.decode()
        elif type_.kind == "array" and type_.items is not None:
            # A list as a map's value is wrapped in a message of its own.
            found = [_value(type_.items, item) for _, _, item in fields(value)]
        else:
            found = _value(type_, value)
    obj[key] = found if found is not None else _empty(type_)


def _empty(type_: Type) -> Any:
    return {"string": "", "bytes": "", "array": [], "integer": 0, "boolean": False, "quantity": "0"}.get(type_.kind, {})


def _value(type_: Type, value: Any) -> Any:
    if type_.name.startswith(_SCHEMA_PROPS_OR):
        return _schema_or(type_.name.removeprefix(_SCHEMA_PROPS_OR), value)
    read = _READERS.get(type_.kind)
    return read(value) if read is not None else _message(type_, value)


def _integer(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _by_number(data: bytes) -> dict[int, Any]:
    return {number: value for number, _, value in fields(data)}


def _moment(data: bytes) -> datetime | None:
    parts = _by_number(data)
    if not parts:
        return None
    return datetime.fromtimestamp(_integer(parts.get(1, 0)), UTC).replace(microsecond=parts.get(2, 0) // 1000)


def _time(data: bytes) -> str | None:
    moment = _moment(data)
    return time.rfc3339(moment) if moment else None


def _micro(data: bytes) -> str | None:
    moment = _moment(data)
    return time.micro(moment) if moment else None


def _int_or_string(data: bytes) -> int | str:
    parts = _by_number(data)
    return parts.get(3, b"").decode() if parts.get(1) else _integer(parts.get(2, 0))


def _schema_or(other: str, data: bytes) -> Any:
    """A schema, or what may stand in its place in a CustomResourceDefinition: a boolean, schemas, or strings."""
    schema_type = types.named(_SCHEMA_PROPS)
    parts = list(fields(data))
    if other == "Bool":
        found = {number: value for number, _, value in parts}
        return _message(schema_type, found[2]) if 2 in found else bool(found.get(1))
    listed = [value for number, _, value in parts if number == 2]
    if listed:
        return [_message(schema_type, value) if other == "Array" else value.decode() for value in listed]
    return next((_message(schema_type, value) for number, _, value in parts if number == 1), [])


def _raw(data: bytes) -> Any:
    """FieldsV1, RawExtension and JSON carry JSON text."""
    text = _by_number(data).get(1)
    return orjson.loads(text) if text else None


_READERS: dict[str, Callable[[Any], Any]] = {
    "string": lambda value: value.decode(),
    "integer": _integer,
    "boolean": bool,
    "number": float,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "quantity": lambda value: _by_number(value).get(1, b"0").decode(),
    "time": _time,
    "microtime": _micro,
    "intstr": _int_or_string,
    "any": _raw,
}
