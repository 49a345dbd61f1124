"""Objects within custom resources (x-kubernetes-embedded-resource): what kind, apiVersion and metadata must be."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pynetes.machinery import field, names

EMBEDDED = "x-kubernetes-embedded-resource"
#: Says what is wrong with metadata, at a path.
Metadata = Callable[[Mapping[str, Any], str], Iterator[field.Error]]


def problems(schema: Any, value: Any, path: str, metadata: Metadata) -> Iterator[field.Error]:
    """Of every embedded object in a value."""
    if not isinstance(schema, Mapping):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from problems(schema.get("items"), item, f"{path}[{index}]", metadata)
    if not isinstance(value, dict):
        return
    if schema.get(EMBEDDED):
        yield from _object(value, path, metadata)
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for name, inner in value.items():
        if name in properties:
            yield from problems(properties[name], inner, f"{path}.{name}" if path else name, metadata)
        else:
            yield from problems(extra, inner, f"{path}[{name}]", metadata)


def _object(value: Mapping[str, Any], path: str, metadata: Metadata) -> Iterator[field.Error]:
    for name in ("apiVersion", "kind"):
        place = f"{path}.{name}"
        if name not in value:
            yield field.required(place)
        elif not isinstance(text := value[name], str):
            yield field.invalid(place, text, "must be a string")
        elif not text:
            yield field.invalid(place, text, "must not be empty")
        elif name == "apiVersion" and text.count("/") > 1:
            yield field.invalid(place, text, f"unexpected GroupVersion string: {text}")
        elif name == "kind" and (wrong := names.dns1035_label(text.lower())):
            detail = "may have mixed case, but should otherwise match: " + ",".join(wrong)
            yield field.invalid(place, text, detail)
    if isinstance(value.get("metadata"), dict):
        yield from metadata(value["metadata"], f"{path}.metadata")


def misfit(schema: Any, value: Any, path: str, read: Callable[[Any], str]) -> field.Error | None:
    """The first kind, apiVersion or metadata of a wrong type; read says what is wrong with metadata."""
    if not isinstance(schema, Mapping):
        return None
    inner: list[tuple[Any, Any, str]] = []
    if isinstance(value, list):
        inner = [(schema.get("items"), item, f"{path}[{index}]") for index, item in enumerate(value)]
    elif isinstance(value, dict):
        for name, member in value.items():
            place = f"{path}.{name}" if path else name
            if schema.get(EMBEDDED) and name in ("apiVersion", "kind") and not isinstance(member, str):
                return field.invalid(place, member, "must be a string")
            if schema.get(EMBEDDED) and name == "metadata" and (wrong := read(member)):
                return field.invalid(place, member, wrong)
            found = (schema.get("properties") or {}).get(name) or schema.get("additionalProperties")
            inner.append((found, member, place))
    return next(filter(None, (misfit(each, member, place, read) for each, member, place in inner)), None)
