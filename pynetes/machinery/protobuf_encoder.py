"""Encodes objects as application/vnd.kubernetes.protobuf, which client-go asks for whatever is built in.

The counterpart of `protobuf`: the same envelope and field numbers, with one writer per field that is compiled on first
use. What the JSON form leaves out is left out here too; a reader takes it for the zero value, as it does in JSON.

    encode(obj)               envelope and message of any object with apiVersion and kind
    message(type_, obj)       the message alone, as the items of a list have it
    list_of(...)              a list of messages that are there already
    event(type, object)       one frame of a watch: its length, then a WatchEvent
"""

import base64
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeAlias

import orjson

from pynetes.machinery import schema, time
from pynetes.machinery.meta import Object
from pynetes.machinery.protobuf import MAGIC
from pynetes.machinery.schema import types
from pynetes.machinery.schema.types import Type

_VARINT, _FIXED64, _BYTES = 0, 1, 2
_META = "apimachinery.pkg.apis.meta.v1."
#: Appends a field, tag included, to the pieces of a message.
Writer: TypeAlias = Callable[[Any, list[bytes]], None]


class Unencodable(ValueError):
    """There are no field numbers for the kind: it is custom, or no message."""


def encode(obj: Object) -> bytes:
    """The object in its envelope. Raises Unencodable."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
    return envelope(api_version, kind, message(type_of(api_version, kind), obj))


@lru_cache(maxsize=1024)
def type_of(api_version: str, kind: str) -> Type:
    """The message type of a kind. Raises Unencodable."""
    group, _, version = api_version.rpartition("/")
    if group == "meta.k8s.io":
        if kind == "PartialObjectMetadata":
            return _partial()
        if kind == "PartialObjectMetadataList":
            return _partial_list()
    found = schema.of_kind(group, version, kind)
    if found is None or not any(field.number for field in found.fields.values()):
        raise Unencodable(f"{kind} of {api_version} has no protobuf form")
    return found


def _partial() -> Type:
    found = Type("object", f"{_META}PartialObjectMetadata")
    found.fields["metadata"] = types.Field(types.named(f"{_META}ObjectMeta"), number="1")
    return found


def _partial_list() -> Type:
    found, items = Type("object", f"{_META}PartialObjectMetadataList"), Type("array")
    items.items = _partial()
    found.fields["metadata"] = types.Field(types.named(f"{_META}ListMeta"), number="1")
    found.fields["items"] = types.Field(items, number="2")
    return found


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    """What tells readers the kind of the message inside."""
    return _envelope_head(api_version, kind) + _varint(len(raw)) + raw + b"\x1a\x00\x22\x00"


@lru_cache(maxsize=1024)
def _envelope_head(api_version: str, kind: str) -> bytes:
    about = _delimited(b"\x0a", api_version.encode()) + _delimited(b"\x12", kind.encode())
    return MAGIC + _delimited(b"\x0a", about) + b"\x12"


def list_of(api_version: str, kind: str, metadata: Object, items: Iterable[bytes]) -> list[bytes]:
    """A list in its envelope, in pieces."""
    head = _delimited(b"\x0a", message(types.named(f"{_META}ListMeta"), metadata))
    pieces = [head]
    for item in items:
        pieces += (b"\x12", _varint(len(item)), item)
    size = sum(map(len, pieces))
    return [_envelope_head(api_version, kind) + _varint(size), *pieces, b"\x1a\x00\x22\x00"]


def event(kind: str, encoded: bytes) -> bytes:
    """One frame of a watch; the object comes in its envelope."""
    body = _delimited(b"\x0a", kind.encode()) + _delimited(b"\x12", _delimited(b"\x0a", encoded))
    return struct.pack(">I", len(body)) + body


def message(type_: Type, obj: Object) -> bytes:
    """An object's message, without any envelope."""
    writers = _writers(type_)
    if type_.name == f"{_META}ListMeta":
        # Upstream writes these even when they are empty.
        obj = {"selfLink": "", "resourceVersion": "", "continue": "", **obj}
    parts: list[bytes] = []
    inner: dict[bytes, list[bytes]] = {}
    for name, value in obj.items():
        if value is None or (found := writers.get(name)) is None:
            continue
        outer, write = found
        write(value, inner.setdefault(outer, []) if outer else parts)
    for outer, pieces in inner.items():
        parts.append(_delimited(outer, b"".join(pieces)))
    return b"".join(parts)


@lru_cache(maxsize=4096)
def _writers(type_: Type) -> dict[str, tuple[bytes, Writer]]:
    """Field → the tag of the message embedded in this one that holds it (b"": none), and what writes it."""
    found = {}
    for name, field in type_.fields.items():
        if not field.number:
            continue
        *outer, last = (int(number) for number in field.number.split("/"))
        write = _writer(last, field.type)
        for number in reversed(outer[1:]):
            write = _within(_tag(number, _BYTES), write)
        found[name] = (_tag(outer[0], _BYTES) if outer else b"", write)
    return found


def _within(tag: bytes, write: Writer) -> Writer:
    """A field two messages deep: readers merge what comes of the message between."""

    def nested(value: Any, parts: list[bytes]) -> None:
        inner: list[bytes] = []
        write(value, inner)
        parts.append(_delimited(tag, b"".join(inner)))

    return nested


def _writer(number: int, type_: Type) -> Writer:
    if type_.kind == "array" and type_.items is not None:
        return _repeated(_writer(number, type_.items))
    if type_.kind == "map" and type_.items is not None:
        return _map(_tag(number, _BYTES), type_.items)
    if type_.kind == "integer":
        return _number(_tag(number, _VARINT), lambda value: _varint(value & 0xFFFF_FFFF_FFFF_FFFF))
    if type_.kind == "boolean":
        return _number(_tag(number, _VARINT), lambda value: b"\x01" if value else b"\x00")
    if type_.kind == "number":
        return _number(_tag(number, _FIXED64), lambda value: struct.pack("<d", value))
    tag, payload = _tag(number, _BYTES), _payload(type_)

    def write(value: Any, parts: list[bytes]) -> None:
        data = payload(value)
        parts += (tag, _varint(len(data)), data)

    return write


def _number(tag: bytes, encoded: Callable[[Any], bytes]) -> Writer:
    return lambda value, parts: parts.append(tag + encoded(value))


def _repeated(write: Writer) -> Writer:
    def repeat(values: Any, parts: list[bytes]) -> None:
        for value in values:
            if value is not None:
                write(value, parts)

    return repeat


def _map(tag: bytes, type_: Type) -> Writer:
    """Entries of key and value, in the keys' order; a list as a value is a message of its own."""
    value_writer = _writer(2, type_) if type_.kind != "array" or type_.items is None else _wrapped(type_.items)

    def write(values: Any, parts: list[bytes]) -> None:
        for key in sorted(values):
            entry = [_delimited(b"\x0a", key.encode())]
            if values[key] is not None:
                value_writer(values[key], entry)
            parts.append(_delimited(tag, b"".join(entry)))

    return write


def _wrapped(items: Type) -> Writer:
    write = _repeated(_writer(1, items))

    def wrap(values: Any, parts: list[bytes]) -> None:
        inner: list[bytes] = []
        write(values, inner)
        parts.append(_delimited(b"\x12", b"".join(inner)))

    return wrap


def _payload(type_: Type) -> Callable[[Any], bytes]:
    if type_.kind == "any" and type_.name.endswith("OrStringArray"):
        return _schema_or_names
    if type_.kind == "schema-or":
        return _schema_or_bool if type_.name.endswith("OrBool") else _schema_or_array
    found = _PAYLOADS.get(type_.kind)
    return found if found is not None else lambda value: message(type_, value)


def _tag(number: int, wire: int) -> bytes:
    return _varint(number << 3 | wire)


_SMALL = tuple(bytes((value,)) for value in range(0x80))


def _varint(value: int) -> bytes:
    if value < 0x80:
        return _SMALL[value]
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def _delimited(tag: bytes, data: bytes) -> bytes:
    return b"%b%b%b" % (tag, _varint(len(data)), data)


def _moment(value: str) -> bytes:
    moment = time.parse(value)
    parts: list[bytes] = []
    seconds = int(moment.replace(microsecond=0).timestamp())
    if seconds:
        parts.append(b"\x08" + _varint(seconds & 0xFFFF_FFFF_FFFF_FFFF))
    parts.append(b"\x10" + _varint(moment.microsecond * 1000))
    return b"".join(parts)


def _int_or_string(value: Any) -> bytes:
    if isinstance(value, str):
        return b"\x08\x01\x10\x00" + _delimited(b"\x1a", value.encode())
    return b"\x08\x00\x10" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF) + b"\x1a\x00"


def _schema_message(value: Object) -> bytes:
    return message(types.named("apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"), value)


def _schema_or_bool(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\x08\x01" if value else b"\x08\x00"
    return b"\x08\x01" + _delimited(b"\x12", _schema_message(value))


def _schema_or_array(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(_delimited(b"\x12", _schema_message(item)) for item in value)
    return _delimited(b"\x0a", _schema_message(value))


def _schema_or_names(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(_delimited(b"\x12", item.encode()) for item in value)
    return _delimited(b"\x0a", _schema_message(value))


_PAYLOADS: dict[str, Callable[[Any], bytes]] = {
    "string": str.encode,
    "bytes": lambda value: base64.b64decode(value),
    "quantity": lambda value: _delimited(b"\x0a", str(value).encode()),
    "time": _moment,
    "microtime": _moment,
    "intstr": _int_or_string,
    "any": lambda value: _delimited(b"\x0a", orjson.dumps(value)),
}
