"""ValidatingAdmissionPolicyBinding: puts a policy to work."""

from pynetes.apis.admissionregistration import _matching, _policies, _validation
from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    kind="ValidatingAdmissionPolicyBinding",
    plural="validatingadmissionpolicybindings",
    categories=("api-extensions",),
    namespaced=False,
    default=_matching.default_binding,
    validate=_policies.validating_binding,
    warnings=_validation.reserved,
    columns=_matching.BINDING_COLUMNS,
)
