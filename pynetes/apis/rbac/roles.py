"""Role: rights in one namespace."""

from collections.abc import Iterator

from pynetes.apis.rbac import _rules
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Each rule by itself."""
    return _rules.validate_rules(new, namespaced=True)


RESOURCE = Resource(
    group="rbac.authorization.k8s.io",
    versions=("v1",),
    kind="Role",
    plural="roles",
    name_rule="path-segment",
    generation=False,
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
    validate=validate,
)
