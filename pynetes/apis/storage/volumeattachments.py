"""VolumeAttachment."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    subresources=("status",),
    generation=False,
)
