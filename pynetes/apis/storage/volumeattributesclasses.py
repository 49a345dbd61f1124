"""VolumeAttributesClass."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    short_names=("vac",),
    namespaced=False,
    generation=False,
)
