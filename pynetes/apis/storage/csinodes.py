"""CSINode."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    generation=False,
)
