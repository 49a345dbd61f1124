"""EndpointSlice."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="discovery.k8s.io",
    versions=("v1",),
    kind="EndpointSlice",
    plural="endpointslices",
)
