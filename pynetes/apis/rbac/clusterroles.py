"""ClusterRole: rights everywhere, or for RoleBindings to grant in their namespace."""

from collections.abc import Iterator

from pynetes.apis.rbac import _rules
from pynetes.machinery import cells, field, labels, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Each rule by itself, and the labels by which others are gathered in."""
    yield from _rules.validate_rules(new, namespaced=False)
    rule = new.get("aggregationRule")
    if rule is None:
        return
    if not rule.get("clusterRoleSelectors"):
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        yield field.required("aggregationRule.clusterRoleSelectors", detail)
    for index, selector in enumerate(rule.get("clusterRoleSelectors") or ()):
        path = f"aggregationRule.clusterRoleSelectors[{index}]"
        yield from validation.label_selector(selector, path)
        try:
            labels.from_label_selector(selector)
        except ValueError:
            # Upstream shows what it made of the selector: nothing.
            yield field.invalid(path, None, "invalid label selector.")


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
