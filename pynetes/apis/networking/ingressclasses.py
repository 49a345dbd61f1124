"""IngressClass: which controller an Ingress is for."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Parameters are cluster-scoped unless told otherwise."""
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None:
        parameters.setdefault("scope", "Cluster")


_CONTROLLER_LIMIT = 250
_SCOPES = ("Cluster", "Namespace")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A controller with a domain, and parameters that can be found."""
    spec = new.get("spec") or {}
    controller = spec.get("controller", "")
    if len(controller) > _CONTROLLER_LIMIT:
        yield field.too_long("spec.controller", _CONTROLLER_LIMIT)
    if old is None or controller != (old.get("spec") or {}).get("controller"):
        yield from validation.domain_prefixed_path(controller, "spec.controller")
    parameters = spec.get("parameters")
    if parameters is not None:
        yield from _parameter_problems(parameters, "spec.parameters")


def _parameter_problems(parameters: Object, path: str) -> Iterator[field.Error]:
    if parameters.get("apiGroup") is not None:
        yield from validation.checked(parameters["apiGroup"], f"{path}.apiGroup", names.dns_subdomain)
    for name in ("kind", "name"):
        if not parameters.get(name):
            yield field.required(f"{path}.{name}", f"{name} is required")
        else:
            yield from validation.checked(parameters[name], f"{path}.{name}", names.path_segment)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        yield field.required(f"{path}.scope")
        return
    if namespace is not None and scope == "Cluster":
        yield field.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'")
    elif scope == "Namespace":
        if namespace is None:
            yield field.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            yield from validation.checked(namespace, f"{path}.namespace", names.dns_label)
    if scope not in _SCOPES:
        yield field.not_supported(f"{path}.scope", scope, _SCOPES)


def _parameters(obj: Object, _: datetime) -> str:
    found = obj["spec"].get("parameters")
    if not found:
        return "<none>"
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return f"{found.get('kind', '')}{group}/{found.get('name', '')}"


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    default=default,
    validate=validate,
    immutable=("spec.controller",),
    columns=(Column("Controller", ".spec.controller"), Column("Parameters", _parameters), Column.AGE),
)
