"""VolumeAttributesClass: changeable attributes of volumes."""

from collections.abc import Iterator

from pynetes.apis.storage import _parameters
from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A driver and at least one parameter for it."""
    driver = new.get("driverName") or ""
    if not driver:
        yield field.required("driverName")
    else:
        yield from validation.checked(driver.lower(), "driverName", names.qualified_name)
    yield from _parameters.validate(new.get("parameters"), allow_empty=False)


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    short_names=("vac",),
    namespaced=False,
    generation=False,
    validate=validate,
    immutable=("driverName", "parameters"),
    columns=(Column("DriverName", ".driverName"), Column.AGE),
)
