"""ResourceClaim: a request for devices."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.resource import _claim_status, _requests, _validation
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Fill in each request."""
    _requests.default_claim_spec(obj.get("spec"))


def _state(obj: Object, _: datetime) -> str:
    status = obj.get("status") or {}
    states = [
        word
        for word, shown in (
            ("deleted", obj["metadata"].get("deletionTimestamp")),
            ("allocated", status.get("allocation")),
            ("reserved", status.get("reservedFor")),
        )
        if shown
    ]
    return ",".join(states) if status.get("allocation") or states else "pending"


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """The spec, once: it never changes."""
    if old is None:
        yield from _validation.claim_spec(new.get("spec") or {}, "spec")


RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceClaim",
    plural="resourceclaims",
    subresources=("status",),
    generation=False,
    default=default,
    validate=validate,
    prepare=_workload.reset_status(),
    prepare_status=_claim_status.prepare,
    validate_status=_claim_status.validate,
    immutable=("spec",),
    columns=(Column("State", _state), Column.AGE),
)
