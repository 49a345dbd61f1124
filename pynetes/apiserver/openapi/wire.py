"""OpenAPI documents as protobuf: the messages of gnostic (openapi.v2 and openapi.v3), which kubectl asks for.

A table says which number and which kind every field of a message has; one function writes by it. What the tables do not
have (there is much in OpenAPI that no document of ours uses) is left out of the answer.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from pynetes.machinery.meta import Object

# A kind is s (string), b (bool), i (integer), d (double), y (any value, as YAML in an Any), or the name of a message;
# "map Message" is a message whose first field repeats {name, value}, "any" the schemas of additionalProperties.
_SCHEMA_2 = {
    "$ref": (1, "s"), "format": (2, "s"), "title": (3, "s"), "description": (4, "s"), "default": (5, "y"),
    "multipleOf": (6, "d"), "maximum": (7, "d"), "exclusiveMaximum": (8, "b"), "minimum": (9, "d"),
    "exclusiveMinimum": (10, "b"), "maxLength": (11, "i"), "minLength": (12, "i"), "pattern": (13, "s"),
    "maxItems": (14, "i"), "minItems": (15, "i"), "uniqueItems": (16, "b"), "maxProperties": (17, "i"),
    "minProperties": (18, "i"), "required": (19, "s"), "enum": (20, "y"), "additionalProperties": (21, "Additional"),
    "type": (22, "Type"), "items": (23, "Items"), "allOf": (24, "Schema"), "properties": (25, "map Schema"),
    "x-": (31, "y"),
}  # fmt: skip
_PARAMETER_2 = {
    "required": (1, "b"), "in": (2, "s"), "description": (3, "s"), "name": (4, "s"), "type": (6, "s"),
}  # fmt: skip

_V2: dict[str, dict[str, tuple[int, str]]] = {
    "Document": {
        "swagger": (1, "s"), "info": (2, "Info"), "paths": (8, "Paths"), "definitions": (9, "map Schema"),
        "parameters": (10, "map Parameter"), "security": (12, "SecurityRequirement"),
        "securityDefinitions": (13, "map SecurityItem"),
    },
    "Info": {"title": (1, "s"), "version": (2, "s"), "description": (3, "s")},
    "Paths": {"/": (2, "PathItem")},
    "PathItem": {
        "get": (2, "Operation"), "put": (3, "Operation"), "post": (4, "Operation"), "delete": (5, "Operation"),
        "patch": (8, "Operation"), "parameters": (9, "ParametersItem"),
    },
    "Operation": {
        "tags": (1, "s"), "summary": (2, "s"), "description": (3, "s"), "operationId": (5, "s"), "produces": (6, "s"),
        "consumes": (7, "s"), "parameters": (8, "ParametersItem"), "responses": (9, "Responses"), "schemes": (10, "s"),
        "x-": (13, "y"),
    },
    "BodyParameter": {
        "description": (1, "s"), "name": (2, "s"), "in": (3, "s"), "required": (4, "b"), "schema": (5, "Schema"),
    },
    "QueryParameter": {**_PARAMETER_2, "uniqueItems": (20, "b")},
    "PathParameter": {
        "required": (1, "b"), "in": (2, "s"), "description": (3, "s"), "name": (4, "s"), "type": (5, "s"),
        "uniqueItems": (19, "b"),
    },
    "JsonReference": {"$ref": (1, "s")},
    "SecurityRequirement": {"": (1, "StringArray")},
    "StringArray": {"of": (1, "s")},
    "ApiKey": {"type": (1, "s"), "name": (2, "s"), "in": (3, "s"), "description": (4, "s")},
    "Responses": {"": (1, "ResponseValue")},
    "Response": {"description": (1, "s"), "schema": (2, "SchemaItem")},
    "SchemaItem": {"of": (1, "Schema")},
    "Schema": _SCHEMA_2,
    "Type": {"of": (1, "s")},
    "Items": {"of": (1, "Schema")},
    "Additional": {"of": (1, "Schema"), "allowed": (2, "b")},
}  # fmt: skip

_V3: dict[str, dict[str, tuple[int, str]]] = {
    "Document": {"openapi": (1, "s"), "info": (2, "Info"), "paths": (4, "Paths"), "components": (5, "Components")},
    "Info": {"title": (1, "s"), "description": (2, "s"), "version": (6, "s")},
    "Components": {"schemas": (1, "map Schema"), "securitySchemes": (7, "map SecurityScheme")},
    "SecurityScheme": {"type": (1, "s"), "description": (2, "s"), "name": (3, "s"), "in": (4, "s")},
    "Paths": {"/": (1, "PathItem")},
    "PathItem": {
        "get": (4, "Operation"), "put": (5, "Operation"), "post": (6, "Operation"), "delete": (7, "Operation"),
        "patch": (10, "Operation"), "parameters": (13, "Parameter"),
    },
    "Operation": {
        "tags": (1, "s"), "summary": (2, "s"), "description": (3, "s"), "operationId": (5, "s"),
        "parameters": (6, "Parameter"), "requestBody": (7, "RequestBody"), "responses": (8, "Responses"),
        "x-": (13, "y"),
    },
    "Parameter": {
        "name": (1, "s"), "in": (2, "s"), "description": (3, "s"), "required": (4, "b"), "schema": (10, "Schema"),
    },
    "RequestBody": {"description": (1, "s"), "content": (2, "map MediaType"), "required": (3, "b")},
    "MediaType": {"schema": (1, "Schema")},
    "Responses": {"": (2, "Response")},
    "Response": {"description": (1, "s"), "content": (3, "map MediaType")},
    "Reference": {"$ref": (1, "s")},
    "Schema": {
        "nullable": (1, "b"), "title": (9, "s"), "multipleOf": (10, "d"), "maximum": (11, "d"),
        "exclusiveMaximum": (12, "b"), "minimum": (13, "d"), "exclusiveMinimum": (14, "b"), "maxLength": (15, "i"),
        "minLength": (16, "i"), "pattern": (17, "s"), "maxItems": (18, "i"), "minItems": (19, "i"),
        "uniqueItems": (20, "b"), "maxProperties": (21, "i"), "minProperties": (22, "i"), "required": (23, "s"),
        "enum": (24, "y"), "type": (25, "s"), "allOf": (26, "Schema"), "oneOf": (27, "Schema"),
        "anyOf": (28, "Schema"), "not": (29, "Schema"), "items": (30, "Items"), "properties": (31, "map Schema"),
        "additionalProperties": (32, "Additional"), "default": (33, "Default"), "description": (34, "s"),
        "format": (35, "s"), "x-": (36, "y"),
    },
    "Items": {"of": (1, "Schema")},
    "Additional": {"of": (1, "Schema"), "allowed": (2, "b")},
    "Default": {"number": (1, "d"), "boolean": (2, "b"), "string": (3, "s")},
}  # fmt: skip
#: Messages of version 3 that stand in a choice of themselves (first) or a reference (second).
_CHOICES = ("Schema", "Parameter", "RequestBody", "Response", "SecurityScheme")


def v2(document: Object) -> bytes:
    """An openapi.v2.Document."""
    return _message(_V2, "Document", document)


def v3(document: Object) -> bytes:
    """An openapi.v3.Document."""
    return _message(_V3, "Document", document)


def _message(tables: dict[str, dict[str, tuple[int, str]]], name: str, value: Any) -> bytes:
    written = bytearray()
    for field, (number, kind), member in _fields(tables[name], value):
        if field:
            # Paths, responses and extensions: {name, value}, repeated.
            inner = _yaml(member) if kind == "y" else _any(tables, kind, member)
            written += _delimited(number, _delimited(1, field.encode()) + _delimited(2, inner))
        elif kind.startswith("map "):
            entries = (_delimited(1, k.encode()) + _delimited(2, _any(tables, kind[4:], v)) for k, v in member.items())
            written += _delimited(number, b"".join(_delimited(1, entry) for entry in entries))
        elif kind in _SCALARS:
            for item in member if isinstance(member, list) else (member,):
                written += _SCALARS[kind](number, item)
        else:
            for item in member if isinstance(member, list) else (member,):
                written += _delimited(number, _any(tables, kind, item))
    return bytes(written)


def _fields(table: dict[str, tuple[int, str]], value: Any) -> Iterator[tuple[str, tuple[int, str], Any]]:
    """The members of a value that the table has, with their names if they are written with them, by field number."""
    found: list[tuple[str, tuple[int, str], Any]] = []
    for key, member in value.items():
        if (field := table.get(key)) is not None:
            found.append(("", field, member))
        elif (field := table.get(key[:2] if key.startswith("x-") else key[:1]) or table.get("")) is not None:
            found.append((key, field, member))
    return iter(sorted(found, key=lambda item: item[1][0]))


def _any(tables: dict[str, dict[str, tuple[int, str]]], kind: str, value: Any) -> bytes:
    """A message, wrapped as the specification wraps the kinds that are choices."""
    if kind == "Additional":
        return _message(tables, kind, {"allowed": value} if isinstance(value, bool) else {"of": value})
    if kind in ("Type", "Items", "SchemaItem", "StringArray"):
        return _message(tables, kind, {"of": value})
    if kind == "Default":
        return _message(tables, kind, _default(value))
    if kind == "ParametersItem" and "$ref" in value:
        return _delimited(2, _message(tables, "JsonReference", value))
    if kind == "ParametersItem":
        return _delimited(1, _parameter(tables, value))
    if kind == "SecurityItem":
        return _delimited(2, _message(tables, "ApiKey", value))
    if kind == "Parameter" and tables is _V2:
        return _parameter(tables, value)
    if kind == "ResponseValue":
        return _delimited(1, _message(tables, "Response", value))
    if tables is _V3 and kind in _CHOICES:
        if "$ref" in value:
            return _delimited(2, _message(tables, "Reference", value))
        return _delimited(1, _message(tables, kind, value))
    return _message(tables, kind, value)


def _parameter(tables: dict[str, dict[str, tuple[int, str]]], value: Object) -> bytes:
    if value["in"] == "body":
        return _delimited(1, _message(tables, "BodyParameter", value))
    number, name = (4, "PathParameter") if value["in"] == "path" else (3, "QueryParameter")
    return _delimited(2, _delimited(number, _message(tables, name, value)))


def _default(value: Any) -> Object:
    match value:
        case bool():
            return {"boolean": value}
        case int() | float():
            return {"number": value}
        case str():
            return {"string": value}
    return {}  # an object cannot be said


def _yaml(value: Any) -> bytes:
    return _delimited(2, orjson.dumps(value) + b"\n")


def _varint(value: int) -> bytes:
    written = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def _delimited(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


_SCALARS: dict[str, Callable[[int, Any], bytes]] = {
    "s": lambda number, value: _delimited(number, value.encode()),
    "b": lambda number, value: _varint(number << 3) + _varint(value),
    "i": lambda number, value: _varint(number << 3) + _varint(value),
    "d": lambda number, value: _varint(number << 3 | 1) + struct.pack("<d", value),
    "y": lambda number, value: _delimited(number, _yaml(value)),
}
