"""IngressClass."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
)
