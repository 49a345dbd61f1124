"""Formats that a schema may name, and those that it names but that mean nothing here."""

from collections.abc import Iterator

from pynetes.machinery.meta import Object

_TEXTS = frozenset(
    (
        "bsonobjectid", "byte", "cidr", "creditcard", "date", "datetime", "duration", "email", "hexcolor", "hostname",
        "ipv4", "ipv6", "isbn", "isbn10", "isbn13", "k8slongname", "k8sshortname", "mac", "password", "rgbcolor", "ssn",
        "uri", "uuid", "uuid3", "uuid4", "uuid5",
    )
)  # fmt: skip
#: Type → what can be said of it more closely.
_OF_TYPE = {"integer": frozenset(("int32", "int64")), "number": frozenset(("float", "double"))}
_MAPS = ("properties", "patternProperties", "definitions", "dependencies")
_LISTS = ("allOf", "anyOf", "oneOf")
_SINGLE = ("items", "not", "additionalProperties", "additionalItems")


def unknown(schema: object) -> Iterator[str]:
    """Formats of a schema and all schemas within it that are ignored."""
    if not isinstance(schema, dict):
        return
    if form := schema.get("format"):
        kind = schema.get("type") or "string"
        known = _TEXTS if kind == "string" else _OF_TYPE.get(kind, frozenset())
        if (form.replace("-", "") if kind == "string" else form) not in known:
            yield form
    for inner in _within(schema):
        yield from unknown(inner)


def _within(schema: Object) -> Iterator[object]:
    for name in _SINGLE:
        yield schema.get(name)
    for name in _LISTS:
        yield from schema.get(name) or ()
    for name in _MAPS:
        yield from (schema.get(name) or {}).values()


def of_definition(definition: Object | None) -> list[str]:
    """The same of all versions of a definition."""
    versions = ((definition or {}).get("spec") or {}).get("versions") or ()
    schemas = [(version.get("schema") or {}).get("openAPIV3Schema") for version in versions]
    return [form for schema in schemas for form in unknown(schema)]
