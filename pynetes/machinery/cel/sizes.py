"""How large the values of a schema can be, for the costs of rules: elements of lists and maps, characters of texts.

What a schema leaves open is bounded by the size of the largest request, 3 MiB, and the least that an element takes in
it. What has no schema that expressions may see has no size at all.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from pynetes.machinery.schema.rules import escaped

REQUEST = 3 * 1024 * 1024
_TEXT, _BOOLEAN, _NUMBER = 2, 4, 1
#: Least size in JSON and greatest length of texts with these formats.
_FORMATS = {"duration": (3, 32), "date": (12, 12), "date-time": (21, 32)}
_META = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"type": "object", "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}}},
}


class Shape(NamedTuple):
    """The greatest number of elements or characters; the least size in bytes of JSON; and what is inside."""

    elements: int
    least: int
    fields: "Mapping[str, Shape]" = MappingProxyType({})
    item: "Shape | None" = None
    key: "Shape | None" = None


class Path:
    """Where a value stands in the schema, from a variable on: names, @items, @keys, @values.

    Upstream's are slices that may share their memory: where one is lengthened twice, the second may overwrite what the
    first has appended. That shows in its estimates, so that it is kept: memory is doubled when it is full."""

    def __init__(self, memory: list[str], length: int) -> None:
        self._memory, self._length = memory, length

    def names(self) -> list[str]:
        """As it reads now."""
        return self._memory[: self._length]

    def add(self, name: str) -> "Path":
        """The path one step further."""
        memory, length = self._memory, self._length
        if length == len(memory):
            memory = memory + [""] * max(length, 1)
        memory[length] = name
        return Path(memory, length + 1)


NOWHERE = Path([], 0)


def with_meta(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of a whole object as rules see it: of its metadata they see the names."""
    properties = schema.get("properties") or {}
    metadata = properties.get("metadata") or {}
    inner = metadata.get("properties") or {}
    texts = [properties.get("kind"), properties.get("apiVersion"), inner.get("name"), inner.get("generateName")]
    if metadata.get("type") == "object" and all((each or {}).get("type") == "string" for each in texts):
        return schema
    return {**schema, "properties": {**properties, **_META}}


def shape(schema: Mapping[str, Any], *, root: bool = False) -> Shape | None:
    """The shape; None of what expressions cannot see. root: of a custom resource or an embedded one."""
    if schema.get("x-kubernetes-int-or-string"):
        longest = schema.get("maxLength")
        return Shape(REQUEST - 2 if longest is None else 4 * max(longest, 0), 1)
    if root:
        schema = with_meta(schema)
    match schema.get("type"):
        case "array":
            return _list(schema)
        case "object":
            return _map(schema) if isinstance(schema.get("additionalProperties"), dict) else _object(schema)
        case "string":
            return _text(schema)
        case "boolean":
            return Shape(0, _BOOLEAN)
        case "number" | "integer":
            return Shape(0, _NUMBER)
    return None


def _within(schema: Any) -> Shape | None:
    if not isinstance(schema, dict):
        return None
    return shape(schema, root=bool(schema.get("x-kubernetes-embedded-resource")))


def _list(schema: Mapping[str, Any]) -> Shape | None:
    item, most = _within(schema.get("items")), schema.get("maxItems")
    if item is None:
        return None
    return Shape((REQUEST - 2) // (item.least + 1) if most is None else max(most, 0), 2, item=item)


def _map(schema: Mapping[str, Any]) -> Shape | None:
    item, most = _within(schema["additionalProperties"]), schema.get("maxProperties")
    if item is None:
        return None
    elements = (REQUEST - 2) // (item.least + 6) if most is None else max(most, 0)
    return Shape(elements, 2, item=item, key=Shape(0, _TEXT))


def _object(schema: Mapping[str, Any]) -> Shape:
    """Fields that are required and have no default are always in its JSON: name, quotes, colon and comma."""
    fields, least, required = {}, 2, schema.get("required") or ()
    for name, inner in (schema.get("properties") or {}).items():
        if (found := _within(inner)) is None:
            continue
        fields[escaped(name)] = found
        if name in required and inner.get("default") is None:
            least += len(name.encode()) + found.least + 4
    return Shape(0, least, fields)


def _text(schema: Mapping[str, Any]) -> Shape:
    form, longest = schema.get("format") or "", schema.get("maxLength")
    if form in _FORMATS:
        least, most = _FORMATS[form]
        return Shape(most, least)
    if longest is not None:
        return Shape(max(longest, 0) * (1 if form == "byte" else 4), _TEXT)
    if choices := schema.get("enum"):
        return Shape(max((len(each.encode()) for each in choices if isinstance(each, str)), default=0), _TEXT)
    return Shape(REQUEST - 2, _TEXT)


def of_value(value: Any) -> Shape:
    """The shape of a value: its own sizes, and of its elements those of the largest."""
    if isinstance(value, dict):
        fields = {str(name): of_value(inner) for name, inner in value.items()}
        key = Shape(max(map(len, fields), default=0), _TEXT)
        return Shape(len(value), 2, fields, _union(list(fields.values())), key)
    if isinstance(value, list):
        return Shape(len(value), 2, item=_union([of_value(each) for each in value]))
    return Shape(len(value) if isinstance(value, str | bytes) else 1, 1)


def _union(shapes: list[Shape]) -> Shape | None:
    """What holds each of them."""
    if not shapes:
        return None
    names = {name for each in shapes for name in each.fields}
    fields = {name: _union([each.fields[name] for each in shapes if name in each.fields]) for name in sorted(names)}
    return Shape(
        max(each.elements for each in shapes),
        0,
        {name: found for name, found in fields.items() if found is not None},
        _union([each.item for each in shapes if each.item is not None]),
        _union([each.key for each in shapes if each.key is not None]),
    )
