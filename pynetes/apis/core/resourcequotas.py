"""ResourceQuota: what a namespace may use in all."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _resource_names
from pynetes.machinery import field, quantity
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _usage(*, limits: bool) -> Column:
    def cell(obj: Object, _: datetime) -> str:
        status = obj.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        shown = [name for name in sorted(hard) if name.startswith("limits.") is limits]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in shown)

    return Column("Limit" if limits else "Request", cell)


_POD = frozenset(("pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"))
#: What each scope can be applied to.
_SCOPES = {
    "BestEffort": frozenset(("pods",)),
    "NotBestEffort": _POD,
    "Terminating": _POD,
    "NotTerminating": _POD,
    "PriorityClass": _POD,
    "CrossNamespacePodAffinity": _POD,
    "VolumeAttributesClass": frozenset(("persistentvolumeclaims", "requests.storage")),
}
_CONFLICTS = (frozenset(("BestEffort", "NotBestEffort")), frozenset(("Terminating", "NotTerminating")))
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Resources that can be bounded, and scopes that suit them and do not change."""
    spec = new.get("spec") or {}
    yield from _amounts(spec.get("hard"), "spec.hard")
    yield from _scope_problems(spec)
    yield from _selector_problems(spec)
    if old is not None and {*(spec.get("scopes") or ())} != {*((old.get("spec") or {}).get("scopes") or ())}:
        yield field.invalid("spec.scopes", spec.get("scopes") or [], "field is immutable")


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Bounds and use of resources that can be bounded."""
    status = new.get("status") or {}
    for name in ("hard", "used"):
        yield from _amounts(status.get(name), f"status.{name}")


def _amounts(amounts: Object | None, path: str) -> Iterator[field.Error]:
    for name, amount in sorted((amounts or {}).items()):
        place = f"{path}[{name}]"
        yield from _resource_names.for_quota(name, place)
        parsed = quantity.parse(amount)
        if parsed.nanos < 0:
            yield field.invalid(place, amount, "must be greater than or equal to 0")
        if _resource_names.whole(name) and parsed.milli() % 1000:
            yield field.invalid(place, amount, "must be an integer")


def _fits(scope: str, name: str) -> bool:
    return scope not in _SCOPES or not _resource_names.in_quota(name) or name in _SCOPES[scope]


def _scope_problems(spec: Object) -> Iterator[field.Error]:
    scopes = spec.get("scopes") or []
    for scope in scopes:
        if scope not in _SCOPES:
            yield field.invalid("spec.scopes", scopes, "unsupported scope")
        for name in spec.get("hard") or {}:
            if not _fits(scope, name):
                yield field.invalid("spec.scopes", scopes, "unsupported scope applied to resource")
    if any(pair <= set(scopes) for pair in _CONFLICTS):
        yield field.invalid("spec.scopes", scopes, "conflicting scopes")


def _selector_problems(spec: Object) -> Iterator[field.Error]:
    path = "spec.scopeSelector.matchExpressions"
    if spec.get("scopeSelector") is None:
        return
    found: set[str] = set()
    for expression in spec["scopeSelector"].get("matchExpressions") or ():
        scope, operator = expression.get("scopeName", ""), expression.get("operator", "")
        values = expression.get("values") or ()
        found.add(scope)
        if not scope:
            yield field.required(f"{path}.scopeName", "must not be empty")
        elif scope not in _SCOPES:
            yield field.invalid(f"{path}.scopeName", scope, "unsupported scope")
        for name in spec.get("hard") or {}:
            if not _fits(scope, name):
                yield field.invalid(path, spec["scopeSelector"], "unsupported scope applied to resource")
        if scope in ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating") and operator != "Exists":
            detail = "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
            detail += "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
            detail += "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            yield field.invalid(f"{path}.operator", operator, detail)
        if operator in ("In", "NotIn") and not values:
            detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield field.required(f"{path}.values", detail)
        elif operator in ("Exists", "DoesNotExist") and values:
            detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield field.invalid(f"{path}.values", list(values), detail)
        elif operator not in _OPERATORS:
            yield field.invalid(f"{path}.operator", operator, "not a valid selector operator")
    if any(pair <= found for pair in _CONFLICTS):
        yield field.invalid("spec.scopeSelector", spec["scopeSelector"], "conflicting scopes")


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    subresources=("status",),
    generation=False,
    validate=validate,
    validate_status=validate_status,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(_usage(limits=False), _usage(limits=True), Column.AGE),
)
