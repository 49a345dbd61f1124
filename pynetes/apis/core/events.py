"""Event: something that happened to an object."""

from collections.abc import Iterator

from pynetes.apis.core import _events
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """An event lives where its object does."""
    involved, namespace = new.get("involvedObject") or {}, new["metadata"].get("namespace", "")
    target = involved.get("namespace", "")
    if target != namespace and not (not target and namespace == "default"):
        yield field.invalid("involvedObject.namespace", target, "does not match event.namespace")


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Event",
    plural="events",
    short_names=("ev",),
    generation=False,
    fields=_events.FIELDS,
    columns=_events.COLUMNS,
    validate=validate,
)
