"""Objects in another of their resource's versions."""

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource


def convert(resource: Resource, obj: Object, to: str) -> Object:
    """An object of a resource in another of its versions; it may be the same object, changed."""
    have = obj.get("apiVersion", "")
    if have == to:
        return obj
    if resource.convert is not None:
        obj = resource.convert(obj, have, to)
    obj["apiVersion"] = to
    return obj
