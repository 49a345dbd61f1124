"""MutatingAdmissionPolicyBinding: puts a policy to work."""

from pynetes.apis.admissionregistration import _matching, _validation
from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="admissionregistration.k8s.io",
    versions=("v1",),
    # Upstream's: the version that the release before could read.
    storage_version="v1beta1",
    kind="MutatingAdmissionPolicyBinding",
    plural="mutatingadmissionpolicybindings",
    categories=("api-extensions",),
    namespaced=False,
    default=_matching.default_binding,
    validate=_validation.binding,
    warnings=_validation.reserved,
    columns=_matching.BINDING_COLUMNS,
)
