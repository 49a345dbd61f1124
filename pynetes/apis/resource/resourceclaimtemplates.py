"""ResourceClaimTemplate: from which claims are made for pods."""

from collections.abc import Iterator

from pynetes.apis.resource import _requests, _validation
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Fill in each request."""
    _requests.default_claim_spec((obj.get("spec") or {}).get("spec"))


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """The spec, once: it never changes."""
    if old is None:
        yield from _validation.claim_spec((new.get("spec") or {}).get("spec") or {}, "spec.spec")


RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    generation=False,
    default=default,
    validate=validate,
    immutable=("spec",),
    columns=(Column.AGE,),
)
