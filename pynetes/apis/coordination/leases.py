"""Lease."""

from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="coordination.k8s.io",
    versions=("v1",),
    kind="Lease",
    plural="leases",
    generation=False,
)
