"""ResourceSlice."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
)
