"""ValidatingAdmissionPolicy: rules for requests, as CEL."""

from collections.abc import Iterator

from pynetes.apis.admissionregistration import _matching, _policies, _validation
from pynetes.apis.apps import _workload
from pynetes.machinery import cells, field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Warnings that say of what, and whole conditions."""
    status = new.get("status") or {}
    for index, warning in enumerate((status.get("typeChecking") or {}).get("expressionWarnings") or ()):
        for name in ("warning", "fieldRef"):
            if not warning.get(name):
                yield field.required(f"status.typeChecking.expressionWarnings[{index}].{name}")
    yield from validation.conditions(status.get("conditions"), "status.conditions")


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
    warnings=_validation.reserved,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    validate_status=validate_status,
    columns=(
        Column("Validations", cells.count(".spec.validations"), type="integer"),
        _matching.PARAM_KIND,
        Column.AGE,
    ),
)
