"""What a schema of a CustomResourceDefinition must be: structural, and without what upstream leaves out of OpenAPI."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import field
from pynetes.machinery.meta import Object

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "set", "map")
_UNSUPPORTED = ("definitions", "dependencies", "id", "patternProperties")
_INT_OR_STRING, _PRESERVE = "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"
_EMBEDDED, _LIST_TYPE = "x-kubernetes-embedded-resource", "x-kubernetes-list-type"
_MAP_TYPE, _MAP_KEYS = "x-kubernetes-map-type", "x-kubernetes-list-map-keys"
#: What allOf, anyOf, oneOf and not may only refine.
_STRUCTURE = ("type", "default", "description", "title", "nullable", "additionalProperties", _PRESERVE, _EMBEDDED)
_GO_ERRORS = {
    "missing ), unterminated subpattern": "missing closing ): `{0}`",
    "unbalanced parenthesis": "unexpected ): `{0}`",
    "unterminated character set": "missing closing ]: `{1}`",
    "nothing to repeat": "missing argument to repetition operator: `{1}`",
    "bad escape (end of pattern)": "trailing backslash at end of expression: ``",
}


def problems(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    """Every mistake in the schema of one version."""
    if not schema.get("type"):
        yield field.required(f"{path}.type", "must not be empty at the root")
    elif schema["type"] != "object":
        yield field.invalid(f"{path}.type", schema["type"], "must be object at the root")
        return
    yield from _node(schema, path, root=True)
    if not any(True for _ in _node(schema, path, root=True)):
        from pynetes.apis.apiextensions import _rules  # brings CEL, a library of 50 MB, which no other kind needs

        yield from _rules.problems(schema, path)


def _node(schema: Mapping[str, Any], path: str, *, root: bool = False) -> Iterator[field.Error]:
    yield from _keywords(schema, path)
    yield from _extensions(schema, path, root=root)
    yield from _children(schema, path)
    for keyword in ("allOf", "anyOf", "oneOf"):
        for index, inner in enumerate(schema.get(keyword) or ()):
            yield from _refinement(inner, f"{path}.{keyword}[{index}]", open_=bool(schema.get(_INT_OR_STRING)))
    if "not" in schema:
        yield from _refinement(schema["not"], f"{path}.not", open_=False)


def _keywords(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    if schema.get("$ref"):
        yield field.forbidden(f"{path}.$ref", "$ref is not supported")
    for name in _UNSUPPORTED:
        if schema.get(name):
            yield field.forbidden(f"{path}.{name}", f"{name} is not supported")
    if schema.get("additionalItems") is not None:
        yield field.forbidden(f"{path}.additionalItems", "additionalItems is not supported")
    if schema.get("uniqueItems"):
        yield field.forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    if (kind := schema.get("type")) and kind not in _TYPES:
        yield field.not_supported(f"{path}.type", kind, _TYPES)
    if pattern := schema.get("pattern"):
        try:
            re.compile(pattern)
        except re.error as error:
            text = f"must be a valid regular expression, but isn't: error parsing regexp: {_go_error(error, pattern)}"
            yield field.invalid(f"{path}.pattern", pattern, text)


def _go_error(error: re.error, pattern: str) -> str:
    worded = _GO_ERRORS.get(error.msg)
    at = error.pos or 0
    return worded.format(pattern, pattern[at:]) if worded else f"{error.msg}: `{pattern[at:]}`"


def _extensions(schema: Mapping[str, Any], path: str, *, root: bool) -> Iterator[field.Error]:
    if _PRESERVE in schema and schema[_PRESERVE] is not True:
        yield field.invalid(f"{path}.{_PRESERVE}", schema[_PRESERVE], "must be true or undefined")
    if schema.get(_EMBEDDED):
        if root:
            yield field.forbidden(f"{path}.{_EMBEDDED}", "must not be used at the root")
        if schema.get("type") != "object":
            yield field.invalid(f"{path}.type", schema.get("type") or "", f"must be object if {_EMBEDDED} is true")
        if not schema.get("properties") and not schema.get(_PRESERVE):
            detail = f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}"
            yield field.required(f"{path}.properties", detail)
    if schema.get("properties") and schema.get("additionalProperties"):
        yield field.forbidden(
            f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive"
        )
    yield from _list_type(schema, path)
    if map_type := schema.get(_MAP_TYPE):
        if map_type not in ("atomic", "granular"):
            yield field.not_supported(f"{path}.{_MAP_TYPE}", map_type, ("atomic", "granular"))
        elif schema.get("type") != "object":
            yield field.invalid(f"{path}.type", schema.get("type") or "", f"must be object if {_MAP_TYPE} is specified")


def _list_type(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    kind, keys = schema.get(_LIST_TYPE), schema.get(_MAP_KEYS) or []
    if not kind:
        if keys:
            yield field.required(f"{path}.{_LIST_TYPE}", f"must be map if {_MAP_KEYS} is non-empty")
        return
    if kind not in _LIST_TYPES:
        yield field.not_supported(f"{path}.{_LIST_TYPE}", kind, _LIST_TYPES)
        return
    if schema.get("type") != "array":
        yield field.invalid(f"{path}.type", schema.get("type") or "", f"must be array if {_LIST_TYPE} is specified")
        return
    items = schema.get("items")
    items = items if isinstance(items, dict) else {}
    if kind == "map":
        yield from _map_keys(keys, items, path)
    elif keys:
        yield field.forbidden(f"{path}.{_MAP_KEYS}", f"must not be specified if {_LIST_TYPE} is not map")
    if kind == "set":
        yield from _set_items(items, f"{path}.items")


def _map_keys(keys: list[str], items: Object, path: str) -> Iterator[field.Error]:
    if not keys:
        yield field.required(f"{path}.{_MAP_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if items.get("type") != "object":
        yield field.invalid(
            f"{path}.items.type", items.get("type") or "", f"must be object if parent array's {_LIST_TYPE} is map"
        )
        return
    properties = items.get("properties") or {}
    if any(key not in properties for key in keys):
        yield field.invalid(f"{path}.{_MAP_KEYS}", keys, "entries must all be names of item properties")
    required = items.get("required") or ()
    for key in keys:
        member = properties.get(key)
        if member is None:
            continue
        if member.get("type") in ("array", "object"):
            text = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield field.invalid(f"{path}.items.properties[{key}].type", member["type"], text)
        if "default" not in member and key not in required:
            text = f"this property is in {_MAP_KEYS}, so it must have a default or be a required property"
            yield field.required(f"{path}.items.properties[{key}].default", text)


def _set_items(items: Object, path: str) -> Iterator[field.Error]:
    text = f"as item of a list with {_LIST_TYPE}=set"
    if items.get("nullable"):
        yield field.forbidden(f"{path}.nullable", f"cannot be nullable {text}")
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        yield field.invalid(f"{path}.{_MAP_TYPE}", items.get(_MAP_TYPE), f"must be atomic {text}")
    if items.get("type") == "array" and items.get(_LIST_TYPE) not in (None, "atomic"):
        yield field.invalid(f"{path}.{_LIST_TYPE}", items.get(_LIST_TYPE), f"must be atomic {text}")


def _children(schema: Mapping[str, Any], path: str) -> Iterator[field.Error]:
    items = schema.get("items")
    if isinstance(items, list):
        yield field.forbidden(f"{path}.items", "items must be a schema object and not an array")
    elif schema.get("type") == "array" and items is None:
        yield field.required(f"{path}.items", "must be specified")
    elif isinstance(items, dict):
        yield from _typed(items, f"{path}.items", "array items")
        yield from _node(items, f"{path}.items")
    for name, member in sorted((schema.get("properties") or {}).items()):
        if not path.endswith("openAPIV3Schema") or name not in ("metadata", "apiVersion", "kind"):
            yield from _typed(member, f"{path}.properties[{name}]", "object fields")
        yield from _node(member, f"{path}.properties[{name}]")
    extra = schema.get("additionalProperties")
    if isinstance(extra, dict):
        yield from _typed(extra, f"{path}.additionalProperties", "object fields")
        yield from _node(extra, f"{path}.additionalProperties")


def _typed(schema: Mapping[str, Any], path: str, what: str) -> Iterator[field.Error]:
    if not schema.get("type") and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE) and "$ref" not in schema:
        yield field.required(f"{path}.type", f"must not be empty for specified {what}")


def _refinement(schema: Mapping[str, Any], path: str, *, open_: bool) -> Iterator[field.Error]:
    """A branch of a combination may restrict values, not describe their structure."""
    for name in _STRUCTURE:
        if schema.get(name) not in (None, "", False) and not (open_ and name == "type"):
            yield field.forbidden(
                f"{path}.{name}",
                "must be undefined to be structural"
                if name in (_PRESERVE, _EMBEDDED)
                else "must be empty to be structural",
            )
    yield from _keywords(schema, path)
    for name, member in sorted((schema.get("properties") or {}).items()):
        yield from _refinement(member, f"{path}.properties[{name}]", open_=False)
    if isinstance(items := schema.get("items"), dict):
        yield from _refinement(items, f"{path}.items", open_=False)
