"""VolumeAttributesClass: changeable attributes of volumes."""

from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    short_names=("vac",),
    namespaced=False,
    generation=False,
    immutable=("driverName", "parameters"),
    columns=(Column("DriverName", ".driverName"), Column.AGE),
)
