"""Lease: who holds something, and until when."""

from collections.abc import Iterator

from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Durations above zero, transitions from zero."""
    spec = new.get("spec") or {}
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield field.invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")
    yield from validation.non_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")


RESOURCE = Resource(
    group="coordination.k8s.io",
    versions=("v1",),
    kind="Lease",
    plural="leases",
    generation=False,
    columns=(Column("Holder", ".spec.holderIdentity"), Column.AGE),
    validate=validate,
)
