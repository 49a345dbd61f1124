"""x-kubernetes-list-type of custom resources: sets and maps hold each item, or each key, once.

Every item that stands there twice is told once, where it comes again. An update is not held to it where the object had
such items before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from pynetes.machinery import field


def problems(schema: Mapping[str, Any], value: Any, path: str) -> Iterator[field.Error]:
    """Every item that is there already, in this value and those within it."""
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, inner in value.items():
            if isinstance(extra, dict):
                yield from problems(extra, inner, f"{path}[{name}]")
            elif name in properties:
                yield from problems(properties[name], inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        kind = schema.get("x-kubernetes-list-type")
        if kind == "set":
            yield from (field.duplicate(f"{path}[{index}]", value[index]) for index in _again(value))
        elif kind == "map":
            yield from _keyed(schema.get("x-kubernetes-list-map-keys") or (), value, path)
        for index, item in enumerate(value):
            yield from problems(schema.get("items") or {}, item, f"{path}[{index}]")


def _keyed(keys: Sequence[str], value: list[Any], path: str) -> Iterator[field.Error]:
    for index, item in enumerate(value):
        if item is not None and not isinstance(item, dict):
            yield field.invalid(f"{path}[{index}]", item, "must be an object for an array of list-type map")
            return
    identities = [{key: item[key] for key in keys if key in item} if item else {} for item in value]
    yield from (field.duplicate(f"{path}[{index}]", identities[index]) for index in _again(identities))


def _again(items: Sequence[Any]) -> Iterator[int]:
    """Where items come for the second time."""
    seen: dict[bytes, int] = {}
    for index, item in enumerate(items):
        key = orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] == 2:
            yield index
