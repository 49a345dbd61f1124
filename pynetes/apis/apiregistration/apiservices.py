"""APIService."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="apiregistration.k8s.io",
    versions=("v1",),
    kind="APIService",
    plural="apiservices",
    categories=("api-extensions",),
    namespaced=False,
    storage_prefix="apiregistration.k8s.io/apiservices",
    subresources=("status",),
    generation=False,
)
