"""CustomResourceDefinition."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="apiextensions.k8s.io",
    versions=("v1",),
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    namespaced=False,
    storage_prefix="apiextensions.k8s.io/customresourcedefinitions",
    subresources=("status",),
)
