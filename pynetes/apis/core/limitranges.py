"""LimitRange: bounds and defaults for the resources of a namespace's pods."""

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """For containers, max stands in for default, and default (or else min) for defaultRequest."""
    for item in (obj.get("spec") or {}).get("limits") or ():
        if item.get("type") != "Container":
            continue
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        if limits:
            item["default"] = limits
        if requests:
            item["defaultRequest"] = requests


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    generation=False,
    default=default,
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
)
