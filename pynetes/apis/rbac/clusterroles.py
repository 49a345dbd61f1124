"""ClusterRole: rights everywhere, or for RoleBindings to grant in their namespace."""

from collections.abc import Iterator

from pynetes.apis.rbac import _rules
from pynetes.machinery import cells, field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Each rule by itself, and the labels by which others are gathered in."""
    yield from _rules.validate_rules(new, namespaced=False)
    if (new.get("aggregationRule") or {"clusterRoleSelectors": [{}]}).get("clusterRoleSelectors") in (None, []):
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield field.required("aggregationRule.clusterRoleSelectors", detail)
    for index, selector in enumerate((new.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()):
        yield from validation.label_selector(selector, f"aggregationRule.clusterRoleSelectors[{index}]")


RESOURCE = Resource(
    group="rbac.authorization.k8s.io",
    versions=("v1",),
    kind="ClusterRole",
    plural="clusterroles",
    namespaced=False,
    name_rule="path-segment",
    generation=False,
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
    validate=validate,
)
