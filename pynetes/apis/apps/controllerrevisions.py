"""ControllerRevision: an immutable snapshot of a template, for rollbacks."""

from datetime import datetime

from pynetes.machinery import cells, meta
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _controller(obj: Object, _: datetime) -> str:
    owner = meta.controller_of(obj)
    if not owner:
        return "<none>"
    group = owner["apiVersion"].rpartition("/")[0]
    kind = owner["kind"].lower()
    return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="ControllerRevision",
    plural="controllerrevisions",
    generation=False,
    immutable=("data",),
    columns=(Column("Controller", _controller), Column("Revision", cells.path(".revision", 0)), Column.AGE),
)
