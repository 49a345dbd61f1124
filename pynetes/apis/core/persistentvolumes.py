"""PersistentVolume."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="PersistentVolume",
    plural="persistentvolumes",
    short_names=("pv",),
    namespaced=False,
    subresources=("status",),
    generation=False,
)
