"""ResourceClaimTemplate: from which claims are made for pods."""

from pynetes.apis.resource import _requests, _validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Fill in each request."""
    _requests.default_claim_spec((obj.get("spec") or {}).get("spec"))


RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceClaimTemplate",
    plural="resourceclaimtemplates",
    generation=False,
    default=default,
    validate=_validation.claim_template,
    immutable=("spec",),
    columns=(Column.AGE,),
)
