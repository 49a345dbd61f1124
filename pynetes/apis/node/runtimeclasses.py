"""RuntimeClass: which container runtime runs a pod."""

from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="node.k8s.io",
    versions=("v1",),
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    generation=False,
    immutable=("handler",),
    columns=(Column("Handler", ".handler"), Column.AGE),
)
