"""What an object uses of a quota: counts of its kind, and what pods and claims ask for. Pure."""

from collections.abc import Iterator, Mapping

from pynetes.apis.core import _pod_resources
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import Quantity
from pynetes.machinery.quantity import parse as quantity
from pynetes.machinery.resource import Resource

ONE = quantity(1)
#: Kinds whose count has a name without the prefix count/.
NAMED = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    }
)
COMPUTE = ("cpu", "memory", "ephemeral-storage")
STORAGE_CLASS = ".storageclass.storage.k8s.io/"

Usage = dict[str, Quantity]


def of(resource: Resource, obj: Object) -> Usage:
    """Everything the object counts for. A pod that is over counts only as an object."""
    used: Usage = {f"count/{resource.qualified}": ONE}
    if resource.group:
        return used
    if resource.plural == "pods":
        if not over(obj):
            used |= {"pods": ONE, **_compute(obj["spec"])}
        return used
    if resource.plural in NAMED:
        used[resource.plural] = ONE
    if resource.plural == "services":
        used |= _service(obj["spec"])
    elif resource.plural == "persistentvolumeclaims":
        used |= _claim(obj["spec"])
    return used


def over(pod: Object) -> bool:
    """Whether a pod uses nothing any more."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _service(spec: Object) -> Usage:
    kind, ports = spec.get("type"), spec.get("ports") or ()
    if kind == "NodePort":
        return {"services.nodeports": quantity(len(ports))}
    if kind != "LoadBalancer":
        return {}
    allocated = spec.get("allocateLoadBalancerNodePorts") is not False
    count = len(ports) if allocated else sum(1 for port in ports if port.get("nodePort"))
    return {"services.loadbalancers": ONE, "services.nodeports": quantity(count)}


def _claim(spec: Object) -> Usage:
    used: Usage = {}
    storage = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    name = spec.get("storageClassName")
    if storage is not None:
        used["requests.storage"] = quantity(storage)
    if name:
        used[f"{name}{STORAGE_CLASS}persistentvolumeclaims"] = ONE
        if storage is not None:
            used[f"{name}{STORAGE_CLASS}requests.storage"] = quantity(storage)
    return used


def _compute(spec: Object) -> Usage:
    used: Usage = {}
    for side in ("requests", "limits"):
        for name, amount in _pod_resources.total(spec, side).items():
            if side == "requests" and name in COMPUTE:
                used[name] = amount
            used[f"{side}.{name}"] = amount
    return used


def lacking(spec: Object, hard: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Limited resources that some container says nothing about: (resource, container). Such a pod cannot be counted."""
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        for name in sorted(hard):
            side, _, plain = (
                name.rpartition(".") if name.startswith(("requests.", "limits.")) else ("requests", "", name)
            )
            if plain not in COMPUTE:
                continue
            if plain not in ((container.get("resources") or {}).get(side) or {}):
                yield name, container["name"]


def in_scope(quota: Object, resource: Resource, obj: Object) -> bool:
    """Whether the quota's scopes select the object; quotas with scopes count pods only."""
    spec = quota["spec"]
    expressions = list((spec.get("scopeSelector") or {}).get("matchExpressions") or ())
    expressions += [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    if not expressions:
        return True
    if (resource.group, resource.plural) != ("", "pods"):
        return False
    return all(_selected(expression, obj["spec"]) for expression in expressions)


def _selected(expression: Object, spec: Object) -> bool:
    name = str(expression["scopeName"])
    if name == "PriorityClass":
        return _matches(expression, spec.get("priorityClassName") or "")
    if name in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) == (name == "Terminating")
    if name in ("BestEffort", "NotBestEffort"):
        best = not any(
            _pod_resources.total(spec, side).get(kind) for side in ("requests", "limits") for kind in ("cpu", "memory")
        )
        return best == (name == "BestEffort")
    return name == "CrossNamespacePodAffinity" and _crosses(spec)


def _matches(expression: Object, value: str) -> bool:
    operator, values = str(expression.get("operator")), tuple(expression.get("values") or ())
    if operator == "Exists":
        return bool(value)
    if operator == "DoesNotExist":
        return not value
    return (value in values) == (operator == "In")


def _crosses(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = affinity.get(kind) or {}
        required = list(terms.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = terms.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        required += [term["podAffinityTerm"] for term in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in required):
            return True
    return False
