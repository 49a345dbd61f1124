"""What a rule of a Role or ClusterRole must say."""

from collections.abc import Iterator

from pynetes.machinery import field
from pynetes.machinery.meta import Object


def validate_rules(obj: Object, *, namespaced: bool) -> Iterator[field.Error]:
    """Verbs, and either resources of groups or, in a ClusterRole, URLs."""
    for index, rule in enumerate(obj.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            yield field.required(f"{path}.verbs", "verbs must contain at least one value")
        if urls := rule.get("nonResourceURLs"):
            place = f"{path}.nonResourceURLs"
            if namespaced:
                yield field.invalid(place, urls, "namespaced rules cannot apply to non-resource URLs")
            if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
                detail = "rules cannot apply to both regular resources and non-resource URLs"
                yield field.invalid(place, urls, detail)
            continue
        if not rule.get("apiGroups"):
            yield field.required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            yield field.required(f"{path}.resources", "resource rules must supply at least one resource")
