"""Which requests a webhook or policy is for: rules, selectors and the kinds that none may touch."""

from collections.abc import Mapping, Sequence
from typing import Any

from pynetes.apis.core import namespaces
from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.objects import Context
from pynetes.machinery import labels
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

#: Nobody may lock everybody out of repairing the locks.
EXEMPT = frozenset(
    {
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    }
)


def exempt(attributes: Attributes) -> bool:
    """Whether the request is about admission's own configuration."""
    resource = attributes.resource
    return resource.group == "admissionregistration.k8s.io" and resource.plural in EXEMPT


def rule_matches(rule: Mapping[str, Any], attributes: Attributes, resource: Resource, version: str) -> bool:
    """Whether a rule names this request, were it to the resource in this version."""
    named = rule.get("resourceNames")
    return (
        _names(rule.get("apiGroups"), resource.group)
        and _names(rule.get("apiVersions"), version)
        and _names(rule.get("operations"), attributes.operation)
        and any(
            _resource_matches(each, resource.plural, attributes.subresource) for each in rule.get("resources") or ()
        )
        and _scope_matches(rule.get("scope") or "*", attributes)
        and (not named or attributes.name in named)
    )


def _names(wanted: Sequence[str] | None, found: str) -> bool:
    return wanted is not None and ("*" in wanted or found in wanted)


def _resource_matches(wanted: str, plural: str, subresource: str) -> bool:
    resource, slash, sub = wanted.partition("/")
    if resource not in ("*", plural):
        return False
    return sub in ("*", subresource) if slash else not subresource


def _scope_matches(wanted: str, attributes: Attributes) -> bool:
    if wanted == "*":
        return True
    is_namespace = attributes.resource.plural == "namespaces" and not attributes.resource.group
    return (wanted == "Namespaced") == (attributes.resource.namespaced and not is_namespace)


def namespace_of(ctx: Context, attributes: Attributes) -> Object | None:
    """The Namespace that the request is in, or about."""
    resource = attributes.resource
    if resource.plural == "namespaces" and not resource.group:
        return attributes.obj if attributes.obj is not None and not attributes.subresource else attributes.old
    if not resource.namespaced:
        return None
    return ctx.objects.get(namespaces.RESOURCE, Key("", attributes.namespace))


def selected(ctx: Context, attributes: Attributes, about: Mapping[str, Any]) -> bool:
    """Whether namespaceSelector and objectSelector accept the request."""
    wanted = about.get("namespaceSelector")
    if wanted:
        namespace = namespace_of(ctx, attributes)
        scoped = attributes.resource.namespaced or attributes.resource.plural == "namespaces"
        if scoped and not labels.from_label_selector(wanted).matches(_labels(namespace)):
            return False
    if wanted := about.get("objectSelector"):
        selector = labels.from_label_selector(wanted)
        found = [obj for obj in (attributes.obj, attributes.old) if obj is not None]
        return any(selector.matches(_labels(obj)) for obj in found)
    return True


def _labels(obj: Object | None) -> Mapping[str, str]:
    return ((obj or {}).get("metadata") or {}).get("labels") or {}
