"""The keywords of a CustomResourceDefinition's schema: which may stand there, and what fits together."""

from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import field

INT_OR_STRING, PRESERVE = "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"
EMBEDDED, LIST_TYPE = "x-kubernetes-embedded-resource", "x-kubernetes-list-type"
MAP_TYPE, MAP_KEYS = "x-kubernetes-map-type", "x-kubernetes-list-map-keys"
RULES = "x-kubernetes-validations"
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES, _MAP_TYPES = ("atomic", "set", "map"), ("atomic", "granular")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_META = ("metadata", "kind", "apiVersion")
_QUADRATIC = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
_EXCLUSIVE = "additionalProperties and properties are mutual exclusive"


def unreadable(schema: Any) -> str:
    """What stands somewhere that no structural schema can have, in upstream's words; "" if nothing."""
    if isinstance(schema, list):
        return next(filter(None, map(unreadable, schema)), "")
    if not isinstance(schema, dict):
        return ""
    for name in ("id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"):
        if schema.get(name) not in (None, "", {}):
            return f"OpenAPIV3Schema '{name.removeprefix('$') if name == '$schema' else name}' is not supported"
    if schema.get(PRESERVE) is False:
        return f"internal error: '{PRESERVE}' must be true or undefined"
    if isinstance(schema.get("items"), list):
        return "OpenAPIV3Schema 'items' must be a schema, but is an array"
    return next(filter(None, (unreadable(inner) for _, inner, _ in _inner(schema, ""))), "")


def _inner(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any, str]]:
    """Place, schema, and the property's name ("" if it is none) of every schema in this one."""
    if isinstance(extra := schema.get("additionalProperties"), dict):
        yield f"{path}.additionalProperties", extra, ""
    for name, member in (schema.get("properties") or {}).items():
        yield f"{path}.properties[{name}]", member, name
    if isinstance(inner := schema.get("not"), dict):
        yield f"{path}.not", inner, ""
    for keyword in ("allOf", "oneOf", "anyOf"):
        for index, inner in enumerate(schema.get(keyword) or ()):
            yield f"{path}.{keyword}[{index}]", inner, ""
    if isinstance(items := schema.get("items"), dict):
        yield f"{path}.items", items, ""


def problems(
    schema: Mapping[str, Any], path: str, *, root: bool = True, meta: bool = False, no_defaults: str = ""
) -> Iterator[field.Error]:
    """meta: within what describes metadata, kind or apiVersion; no_defaults: why no default may stand here."""
    yield from _allowed(schema, path, meta=meta, no_defaults=no_defaults)
    if schema.get("uniqueItems"):
        yield field.forbidden(f"{path}.uniqueItems", _QUADRATIC)
    if schema.get("additionalProperties") not in (None, True) and schema.get("properties"):
        yield field.forbidden(f"{path}.additionalProperties", _EXCLUSIVE)
    for place, inner, name in _inner(schema, path):
        own = (root or bool(schema.get(EMBEDDED))) and name in _META
        why = f"in top-level {name}" if own and root else no_defaults
        if meta and place.endswith(".additionalProperties"):
            why = "inside additionalProperties applying to object metadata"
        yield from problems(inner, place, root=False, meta=meta or own, no_defaults=why)
    if PRESERVE in schema and schema[PRESERVE] is False:
        yield field.invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")
    yield from _map_type(schema, path)
    yield from _list_type(schema, path)


def _allowed(schema: Mapping[str, Any], path: str, *, meta: bool, no_defaults: str) -> Iterator[field.Error]:
    if (kind := schema.get("type")) and kind not in _TYPES:
        yield field.not_supported(f"{path}.type", kind, _TYPES)
    if "default" in schema and no_defaults:
        yield field.forbidden(f"{path}.default", f"must not be set {no_defaults}")
    for name in _UNSUPPORTED:
        if schema.get(name) not in (None, "", {}):
            yield field.forbidden(f"{path}.{name}", f"{name} is not supported")
    if kind == "null":
        yield field.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(schema.get("items"), list):
        yield field.forbidden(f"{path}.items", "items must be a schema object and not an array")
    if meta and schema.get(EMBEDDED):
        yield field.forbidden(f"{path}.{EMBEDDED}", "must not be used inside of resource meta")


def _must_be(kind: str, extension: str, schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    have, text = schema.get("type") or "", f"must be {kind} if {extension} is specified"
    if have != kind:
        yield field.invalid(f"{path}.type", have, text) if have else field.required(f"{path}.type", text)


def _map_type(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    if (kind := schema.get(MAP_TYPE)) is None:
        return
    yield from _must_be("object", MAP_TYPE, schema, path)
    if kind not in _MAP_TYPES:
        yield field.not_supported(f"{path}.{MAP_TYPE}", kind, _MAP_TYPES)


def _list_type(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    kind, keys, items = schema.get(LIST_TYPE), schema.get(MAP_KEYS) or [], schema.get("items")
    if kind is not None:
        wrong = list(_must_be("array", LIST_TYPE, schema, path))
        yield from wrong
        if not wrong and kind == "set" and isinstance(items, dict):
            yield from _set_items(items, f"{path}.items")
        if kind not in _LIST_TYPES:
            yield field.not_supported(f"{path}.{LIST_TYPE}", kind, _LIST_TYPES)
    if keys and kind is None:
        yield field.required(f"{path}.{LIST_TYPE}", f"must be map if {MAP_KEYS} is non-empty")
    elif keys and kind != "map":
        yield field.invalid(f"{path}.{LIST_TYPE}", kind, f"must be map if {MAP_KEYS} is non-empty")
    if kind == "map":
        yield from _keyed(keys, items, path)
    if kind in ("set", "map") and isinstance(items, dict):
        if items.get("nullable"):
            yield field.forbidden(f"{path}.items.nullable", f"cannot be nullable when {LIST_TYPE} is {kind}")
        if kind == "map":
            yield from _key_values(keys, items, path)


def _set_items(items: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    text = f"must be atomic as item of a list with {LIST_TYPE}=set"
    if items.get("type") == "array" and items.get(LIST_TYPE) not in (None, "atomic"):
        yield field.invalid(f"{path}.{LIST_TYPE}", items.get(LIST_TYPE), text)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        # Upstream shows the list type here.
        yield field.invalid(f"{path}.{MAP_TYPE}", items.get(LIST_TYPE), text)


def _keyed(keys: list[str], items: Any, path: str) -> Iterator[field.Error]:
    if not keys:
        yield field.required(f"{path}.{MAP_KEYS}", f"must not be empty if {LIST_TYPE} is map")
    if items is None:
        yield field.required(f"{path}.items", f"must have a schema if {LIST_TYPE} is map")
        return
    if not isinstance(items, dict):
        return
    if items.get("type") != "object":
        text = f"must be object if parent array's {LIST_TYPE} is map"
        yield field.invalid(f"{path}.items.type", items.get("type") or "", text)
        return
    properties, seen = items.get("properties") or {}, set()
    for key in keys:
        if key not in properties:
            yield field.invalid(f"{path}.{MAP_KEYS}", keys, "entries must all be names of item properties")
        elif properties[key].get("type") in ("array", "object"):
            # Upstream shows the item's type, which is object here.
            text = f"must be a scalar type if parent array's {LIST_TYPE} is map"
            yield field.invalid(f"{path}.items.properties[{key}].type", "object", text)
        if key in seen:
            yield field.invalid(f"{path}.{MAP_KEYS}", keys, "must not contain duplicate entries")
        seen.add(key)


def _key_values(keys: list[str], items: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    required, properties = items.get("required") or (), items.get("properties") or {}
    for key in keys:
        if (member := properties.get(key)) is None:
            continue
        place, about = f"{path}.items.properties[{key}]", f"this property is in {MAP_KEYS}, so it"
        if key not in required and member.get("default") is None:
            yield field.required(f"{place}.default", f"{about} must have a default or be a required property")
        if member.get("nullable"):
            yield field.forbidden(f"{place}.nullable", f"{about} cannot be nullable")
