"""ValidatingAdmissionPolicy: rules for requests, as CEL."""

from pynetes.apis.admissionregistration import _matching, _policies
from pynetes.apis.apps import _workload
from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    kind="ValidatingAdmissionPolicy",
    plural="validatingadmissionpolicies",
    categories=("api-extensions",),
    namespaced=False,
    subresources=("status",),
    default=_matching.default_policy,
    validate=_policies.validating,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Validations", cells.count(".spec.validations"), type="integer"),
        _matching.PARAM_KIND,
        Column.AGE,
    ),
)
