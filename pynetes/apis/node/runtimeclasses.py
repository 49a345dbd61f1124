"""RuntimeClass."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="node.k8s.io",
    versions=("v1",),
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    generation=False,
)
