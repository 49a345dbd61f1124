"""ResourceClaim."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceClaim",
    plural="resourceclaims",
    subresources=("status",),
    generation=False,
)
