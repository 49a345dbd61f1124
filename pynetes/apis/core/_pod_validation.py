"""What a pod may not be."""

from collections.abc import Iterator

from pynetes.machinery import field
from pynetes.machinery.meta import Object


def validate_pod(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Mistakes of a pod, or of a change to it."""
    spec = new.get("spec") or {}
    if not spec.get("containers"):
        yield field.required("spec.containers")
