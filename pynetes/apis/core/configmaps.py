"""ConfigMap: configuration as keys with text or bytes."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.core import _data_validation
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _count(obj: Object, _: datetime) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Keys, size, and an immutable one stays as it is."""
    return _data_validation.validate_data(new, old, text=("data",), binary=("binaryData",))


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    generation=False,
    columns=(Column("Data", _count), Column.AGE),
    validate=validate,
)
