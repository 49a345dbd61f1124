"""ConfigMap: configuration as keys with text or bytes."""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _count(obj: Object, _: datetime) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    generation=False,
    columns=(Column("Data", _count), Column.AGE),
)
