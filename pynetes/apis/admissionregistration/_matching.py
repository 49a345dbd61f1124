"""What admission webhooks and policies share: which requests they are for."""

from datetime import datetime

from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column


def default_rules(rules: list[Object] | None) -> None:
    """A rule is for all scopes unless told otherwise."""
    for rule in rules or ():
        rule.setdefault("scope", "*")


def default_match(match: Object | None) -> None:
    """Everything equivalent, everywhere."""
    if match is None:
        return
    match.setdefault("matchPolicy", "Equivalent")
    match.setdefault("namespaceSelector", {})
    match.setdefault("objectSelector", {})
    default_rules(match.get("resourceRules"))
    default_rules(match.get("excludeResourceRules"))


def default_policy(obj: Object) -> None:
    """A policy that cannot be evaluated fails the request."""
    spec = obj.get("spec")
    if spec is not None:
        spec.setdefault("failurePolicy", "Fail")
        default_match(spec.get("matchConstraints"))


def default_binding(obj: Object) -> None:
    """A binding may narrow what its policy matches."""
    default_match((obj.get("spec") or {}).get("matchResources"))


def default_webhooks(obj: Object, *, mutating: bool) -> None:
    """Fail closed, ten seconds, port 443."""
    for webhook in obj.get("webhooks") or ():
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("timeoutSeconds", 10)
        if mutating:
            webhook.setdefault("reinvocationPolicy", "Never")
        if (service := webhook.get("clientConfig", {}).get("service")) is not None:
            service.setdefault("port", 443)
        default_rules(webhook.get("rules"))


def _param_kind(obj: Object, _: datetime) -> str:
    kind = obj["spec"].get("paramKind")
    return f"{kind.get('apiVersion', '')}/{kind.get('kind', '')}" if kind else "<unset>"


def _param_ref(obj: Object, _: datetime) -> str:
    ref = obj["spec"].get("paramRef")
    if not ref:
        return "<unset>"
    if ref.get("name"):
        return f"{ref['namespace']}/{ref['name']}" if ref.get("namespace") else f"*/{ref['name']}"
    return cells.selector_text(ref.get("selector"))


PARAM_KIND = Column("ParamKind", _param_kind)
PARAM_REF = Column("ParamRef", _param_ref)
BINDING_COLUMNS = (Column("PolicyName", ".spec.policyName"), PARAM_REF, Column.AGE)
WEBHOOK_COLUMNS = (Column("Webhooks", cells.count(".webhooks"), type="integer"), Column.AGE)
