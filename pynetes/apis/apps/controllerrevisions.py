"""ControllerRevision: an immutable snapshot of a template, for rollbacks."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import cells, field, meta, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _controller(obj: Object, _: datetime) -> str:
    owner = meta.controller_of(obj)
    if not owner:
        return "<none>"
    group = owner["apiVersion"].rpartition("/")[0]
    kind = owner["kind"].lower()
    return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A snapshot of something, with a number."""
    if new.get("data") is None:
        yield field.required("data", "data is mandatory")
    yield from validation.non_negative(new.get("revision"), "revision")


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="ControllerRevision",
    plural="controllerrevisions",
    generation=False,
    validate=validate,
    immutable=("data",),
    columns=(Column("Controller", _controller), Column("Revision", cells.path(".revision", 0)), Column.AGE),
)
