"""RoleBinding: grants a role in one namespace."""

from pynetes.apis.rbac import _binding
from pynetes.machinery.resource import Resource

RESOURCE = Resource(
    group="rbac.authorization.k8s.io",
    versions=("v1",),
    kind="RoleBinding",
    plural="rolebindings",
    name_rule="path-segment",
    generation=False,
    default=_binding.default,
    validate=_binding.validate,
    columns=_binding.COLUMNS,
)
