"""The status of flow schemas and priority levels."""

from collections.abc import Iterator

from pynetes.machinery import field
from pynetes.machinery.meta import Object


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Conditions have types, and each but once."""
    seen: set[str] = set()
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        path, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            yield field.duplicate(path, kind)
        seen.add(kind)
        if not kind:
            yield field.required(path, "must not be empty")
