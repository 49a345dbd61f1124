"""Role: rights in one namespace."""

from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="rbac.authorization.k8s.io",
    versions=("v1",),
    kind="Role",
    plural="roles",
    name_rule="path-segment",
    generation=False,
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
)
