"""Lease: who holds something, and until when."""

from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="coordination.k8s.io",
    versions=("v1",),
    kind="Lease",
    plural="leases",
    generation=False,
    columns=(Column("Holder", ".spec.holderIdentity"), Column.AGE),
)
