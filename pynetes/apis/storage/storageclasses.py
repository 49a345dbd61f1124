"""StorageClass."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="StorageClass",
    plural="storageclasses",
    short_names=("sc",),
    namespaced=False,
    generation=False,
)
