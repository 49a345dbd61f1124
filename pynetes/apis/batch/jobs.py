"""Job."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="batch",
    versions=("v1",),
    kind="Job",
    plural="jobs",
    categories=("all",),
    subresources=("status",),
)
