"""ServiceCIDR."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    subresources=("status",),
    generation=False,
)
