"""The compiled form of a schema: one Type per definition, shared by all that refer to it.

Built-in kinds compile from `definitions`, custom resources from the OpenAPI schema of their CRD; pruning, patches,
apply and field ownership read only what is here and so do not know the difference.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from pynetes.machinery.meta import Object
from pynetes.machinery.schema import definitions

_SPECIAL = {
    "apimachinery.pkg.api.resource.Quantity": "quantity",
    "apimachinery.pkg.apis.meta.v1.Time": "time",
    "apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "apimachinery.pkg.util.intstr.IntOrString": "intstr",
    "apimachinery.pkg.apis.meta.v1.FieldsV1": "any",
    "apimachinery.pkg.runtime.RawExtension": "any",
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "any",
    "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "any",
}
_SCHEMA_PROPS = "apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_SCHEMA_OR = (f"{_SCHEMA_PROPS}OrBool", f"{_SCHEMA_PROPS}OrArray")
METADATA = "apimachinery.pkg.apis.meta.v1.ObjectMeta"


class Field:
    """A member of an object: its type, how it travels, and how patches treat it."""

    __slots__ = ("default", "merge_key", "number", "strategy", "type", "unset")

    def __init__(self, type_: "Type", *, unset: str = "", number: str = "") -> None:
        self.type = type_
        #: What an unset value becomes: a flag of `definitions`.
        self.unset = unset
        self.number = number
        #: Strategic merge: the directives ("merge", "retainKeys", "replace") and the key that identifies list items.
        self.strategy: frozenset[str] = frozenset()
        self.merge_key = ""
        #: The schema's default of a custom resource's member: what counts where it is a list item's key and left out.
        self.default: Any = None


class Type:
    """What a value may be. kind: object, map, array, string, integer, number, boolean, bytes, quantity, time, …"""

    __slots__ = (
        "atomic",
        "decoder",
        "embedded",
        "fields",
        "format",
        "items",
        "keys",
        "kind",
        "list_type",
        "name",
        "nullable",
        "preserve",
        "required",
        "source",
    )

    def __init__(self, kind: str, name: str = "") -> None:
        self.kind = kind
        #: Definition name for objects of built-in kinds.
        self.name = name
        self.format = ""
        self.fields: dict[str, Field] = {}
        self.required: tuple[str, ...] = ()
        #: Of arrays and maps.
        self.items: Type | None = None
        #: Of arrays: atomic, set or map, with the keys that identify an item of the latter.
        self.list_type = "atomic"
        self.keys: tuple[str, ...] = ()
        #: Objects and maps that apply owns as a whole.
        self.atomic = False
        #: Custom resources: unknown members stay; the value is an object with apiVersion, kind and metadata.
        self.preserve = False
        self.embedded = False
        self.nullable = False
        #: Custom resources: the OpenAPI schema, with its value validations.
        self.source: Object = {}
        #: Compiled by schema.decode on first use.
        self.decoder: Any = None

    def __repr__(self) -> str:
        return f"Type({self.kind}, {self.name or self.format!r})"


ANY = Type("any")


@cache
def named(name: str) -> Type:
    """The Type of a definition. KeyError if there is none of that name."""
    if special := _SPECIAL.get(name):
        return Type(special, name)
    if name in _SCHEMA_OR:
        return Type("schema-or", name)
    schema = definitions.raw()[name]
    found = Type("object", name)
    _building[name] = found
    try:
        _fill(found, schema)
    finally:
        del _building[name]
    return found


#: Definitions may refer to themselves (JSONSchemaProps does); while one is built, its own Type is found here.
_building: dict[str, Type] = {}


def _fill(found: Type, schema: Object) -> None:
    found.required = tuple(schema.get("required", ()))
    found.atomic = schema.get("x-kubernetes-map-type") == "atomic"
    wire = definitions.wire(found.name)
    for field_name, member in schema.get("properties", {}).items():
        travels = wire.get(field_name, definitions.Wire("", ""))
        reference = definitions.reference(member)
        member_type = Type("schema-or", reference) if reference in _SCHEMA_OR else from_json(member)
        field = Field(member_type, unset=travels.flag, number=travels.number)
        field.strategy = frozenset(filter(None, member.get("x-kubernetes-patch-strategy", "").split(",")))
        field.merge_key = member.get("x-kubernetes-patch-merge-key", "")
        found.fields[field_name] = field


def from_json(schema: Mapping[str, Any]) -> Type:
    """The Type of an inline schema or a reference."""
    if name := definitions.reference(schema):
        base = _building.get(name) or named(name)
        if "x-kubernetes-map-type" in schema and base.atomic != (schema["x-kubernetes-map-type"] == "atomic"):
            return _flipped(base)
        return base
    kinds = schema.get("type")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "array":
        return _array(schema)
    if kind == "object":
        found = Type("map")
        inner = schema.get("additionalProperties")
        found.items = from_json(inner) if isinstance(inner, dict) else ANY
        found.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return found
    if kind is None:
        return ANY
    found = Type("bytes" if schema.get("format") == "byte" else str(kind))
    found.format = schema.get("format", "")
    return found


def _array(schema: Mapping[str, Any]) -> Type:
    found = Type("array")
    inner = schema.get("items")
    found.items = from_json(inner) if isinstance(inner, dict) else ANY
    found.list_type = schema.get("x-kubernetes-list-type", "atomic")
    found.keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
    return found


def _flipped(base: Type) -> Type:
    """The same type where one field owns it as a whole and another does not."""
    copy = Type(base.kind, base.name)
    copy.fields, copy.required, copy.items, copy.atomic = base.fields, base.required, base.items, not base.atomic
    return copy
