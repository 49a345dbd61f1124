"""What a schema of a CustomResourceDefinition must be: structural, so that it says of every field what type it has.

Structure is what stands outside allOf, anyOf, oneOf and not; within these a schema may only restrict values. What is
wrong with the schema as such (keywords, list types, defaults) is told beside it by `_keywords`; rules are compiled
only where nothing else is wrong.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.apis.apiextensions import _keywords
from pynetes.apis.apiextensions._keywords import EMBEDDED, INT_OR_STRING, LIST_TYPE, MAP_KEYS, MAP_TYPE, PRESERVE, RULES
from pynetes.machinery import field, regexp

ROOT, ITEM, FIELD = "at the root", "for specified array items", "for specified object fields"
_NAMES = {"name", "generateName"}
_INTEGER_OR_STRING = [{"type": "integer"}, {"type": "string"}]
#: What allOf, anyOf, oneOf and not may only refine, and how upstream says so.
_STRUCTURE = {
    "type": "must be empty", "default": "must be undefined", "title": "must be empty", "description": "must be empty",
    "nullable": "must be false", PRESERVE: "must be false", EMBEDDED: "must be false", INT_OR_STRING: "must be false",
    MAP_KEYS: "must be empty", LIST_TYPE: "must be undefined", MAP_TYPE: "must be undefined", RULES: "must be empty",
    "additionalProperties": "must be undefined",
}  # fmt: skip


def problems(schema: Mapping[str, Any], path: str, *, unchanged: bool = False) -> Iterator[field.Error]:
    """Every mistake in the schema of one version; unchanged if it is as it was before an update."""
    from pynetes.apis.apiextensions import _defaults, _rules  # bring CEL, a library of 50 MB, which no other kind needs

    if schema.get("nullable"):
        yield field.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    unreadable = _keywords.unreadable(schema)
    structural = [] if unreadable else sorted(_node(schema, path, ROOT), key=str)
    if not unreadable and not structural:
        structural = list(_defaults.problems(schema, path))
    yield from structural
    others = [*_keywords.problems(schema, path), *_rules.shapes(schema, path)]
    yield from others
    if unreadable and not others and not schema.get("nullable"):
        yield field.invalid(path, "", unreadable)
    elif not unreadable and not structural:
        yield from _rules.problems(schema, path, others, unchanged=unchanged)


def _node(schema: Mapping[str, Any], path: str, level: str) -> Iterator[field.Error]:
    if schema.get("type") == "array" and schema.get("items") is None:
        yield field.required(f"{path}.items", "must be specified")
    if isinstance(items := schema.get("items"), dict):
        yield from _node(items, f"{path}.items", ITEM)
    for name, member in (schema.get("properties") or {}).items():
        yield from _node(member, f"{path}.properties[{name}]", FIELD)
    extra = schema.get("additionalProperties")
    if extra is not None and level == ROOT:
        yield field.forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if isinstance(extra, dict):
        yield from _node(extra, f"{path}.additionalProperties", FIELD)
    if schema.get(INT_OR_STRING):
        for name in (PRESERVE, EMBEDDED):
            if schema.get(name):
                yield field.invalid(f"{path}.{name}", True, f"must be false if {INT_OR_STRING} is true")
    yield from _values(schema, path)
    yield from _typed(schema, path, level)
    yield from _embedded(schema, path, level)


def _typed(schema: Mapping[str, Any], path: str, level: str) -> Iterator[field.Error]:
    kind = schema.get("type") or ""
    if schema.get(EMBEDDED) and kind != "object":
        text = f"must be object if {EMBEDDED} is true"
        yield field.invalid(f"{path}.type", kind, text) if kind else field.required(f"{path}.type", text)
    elif not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        yield field.required(f"{path}.type", f"must not be empty {level}")
    if level == ROOT and kind and kind != "object":
        yield field.invalid(f"{path}.type", kind, "must be object at the root")


def _embedded(schema: Mapping[str, Any], path: str, level: str) -> Iterator[field.Error]:
    """What is said about kind, apiVersion and metadata, which are the same in every object."""
    own, properties = bool(schema.get(EMBEDDED)), schema.get("properties") or {}
    if own and schema.get("additionalProperties") is not None:
        yield field.forbidden(f"{path}.additionalProperties", f"must not be used if {EMBEDDED} is set")
    if own and not schema.get(PRESERVE) and not properties:
        detail = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        yield field.required(f"{path}.properties", detail)
    if not own and level != ROOT:
        return
    for name in ("kind", "apiVersion"):
        if name in properties and properties[name].get("type") != "string":
            yield field.invalid(f"{path}.properties[{name}].type", properties[name].get("type") or "", "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    place = f"{path}.properties[metadata]"
    if metadata.get("type") != "object":
        yield field.invalid(f"{place}.type", metadata.get("type") or "", "must be object")
    if level == ROOT and not _plain_metadata(metadata):
        detail = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield field.forbidden(place, detail)


def _plain_metadata(metadata: Mapping[str, Any]) -> bool:
    inner = metadata.get("properties") or {}
    rest = {name for name, value in metadata.items() if value and name not in ("type", "properties", "default")}
    return not rest and set(inner) <= _NAMES


def _values(schema: Mapping[str, Any], path: str, *, spared: int = -1) -> Iterator[field.Error]:
    """allOf, anyOf, oneOf, not, pattern. The usual way to say "integer or string" in anyOf is left alone."""
    if schema.get("anyOf") != _INTEGER_OR_STRING or spared == 0:
        for index, inner in enumerate(schema.get("anyOf") or ()):
            yield from _refinement(inner, f"{path}.anyOf[{index}]")
    for index, inner in enumerate(schema.get("allOf") or ()):
        first = index == 0 and inner.get("anyOf") == _INTEGER_OR_STRING
        yield from _refinement(inner, f"{path}.allOf[{index}]", spared=-1 if first else 0)
    for index, inner in enumerate(schema.get("oneOf") or ()):
        yield from _refinement(inner, f"{path}.oneOf[{index}]")
    if isinstance(inner := schema.get("not"), dict):
        yield from _refinement(inner, f"{path}.not")
    if (pattern := schema.get("pattern")) and (wrong := regexp.problem(pattern)):
        yield field.invalid(f"{path}.pattern", pattern, f"must be a valid regular expression, but isn't: {wrong}")


def _refinement(schema: Mapping[str, Any], path: str, *, spared: int = 0) -> Iterator[field.Error]:
    """A branch of a combination may restrict values, not describe their structure."""
    yield from _values(schema, path, spared=spared)
    if isinstance(items := schema.get("items"), dict):
        yield from _refinement(items, f"{path}.items")
    for name, member in (schema.get("properties") or {}).items():
        yield from _refinement(member, f"{path}.properties[{name}]")
    for name, text in _STRUCTURE.items():
        if schema.get(name) or schema.get(name) == {} or (name == "default" and name in schema):
            yield field.forbidden(f"{path}.{name}", f"{text} to be structural")
    if "metadata" in (schema.get("properties") or {}):
        yield field.forbidden(f"{path}.properties[metadata]", "must not be specified in a nested context")
