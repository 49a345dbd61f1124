"""The wire format of protobuf messages: fields by number, without knowing what they mean."""

import struct
from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Malformed(ValueError):
    """The bytes are no such message."""


def fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """Number, wire type and value of each field. Raises Malformed, IndexError or struct.error if cut short."""
    position, end = 0, len(data)
    while position < end:
        tag, position = varint(data, position)
        number, wire = tag >> 3, tag & 7
        value: Any
        if wire == VARINT:
            value, position = varint(data, position)
        elif wire == BYTES:
            size, position = varint(data, position)
            value = data[position : position + size]
            if len(value) != size:
                raise Malformed("a field is longer than its message")
            position += size
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            value = struct.unpack("<d" if size == 8 else "<f", data[position : position + size])[0]
            position += size
        else:
            raise Malformed(f"wire type {wire} is not in use")
        yield number, wire, value


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it. Raises IndexError."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
