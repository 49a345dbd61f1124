"""MutatingAdmissionPolicy: changes to requests, as CEL."""

from pynetes.apis.admissionregistration import _matching, _policies, _validation
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Fill in as for any policy."""
    _matching.default_policy(obj)
    if (spec := obj.get("spec")) is not None and not spec.get("reinvocationPolicy"):
        spec["reinvocationPolicy"] = "Never"


RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    # Upstream's: the version that the release before could read.
    storage_version="v1beta1",
    kind="MutatingAdmissionPolicy",
    plural="mutatingadmissionpolicies",
    categories=("api-extensions",),
    namespaced=False,
    default=default,
    validate=_policies.mutating,
    warnings=_validation.reserved,
    columns=(
        Column("Mutations", cells.count(".spec.mutations"), type="integer"),
        _matching.PARAM_KIND,
        Column.AGE,
    ),
)
