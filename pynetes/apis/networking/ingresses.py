"""Ingress: HTTP routes from outside to Services."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core.services import balancer_addresses
from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_SHOWN = 3


def _class(obj: Object, _: datetime) -> str:
    annotation = (obj["metadata"].get("annotations") or {}).get("kubernetes.io/ingress.class")
    return str(obj["spec"].get("ingressClassName") or annotation or "<none>")


def _hosts(obj: Object, _: datetime) -> str:
    """Three, and how many rules there are beside three, whether they name a host or not."""
    rules: list[Object] = obj["spec"].get("rules") or []
    found: list[str] = []
    for rule in rules:
        if len(found) == _SHOWN:
            return f"{','.join(found)} + {len(rules) - _SHOWN} more..."
        if rule.get("host"):
            found.append(rule["host"])
    return ",".join(found) or "*"


def _address(obj: Object, _: datetime) -> str:
    return ",".join(balancer_addresses(obj))


def _ports(obj: Object, _: datetime) -> str:
    return "80, 443" if obj["spec"].get("tls") else "80"


def warnings(new: Object, old: Object | None) -> list[str]:
    """The class has a field now."""
    if _CLASS_ANNOTATION in (new["metadata"].get("annotations") or {}):
        return ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]
    return []


_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_INSIDE, _AT_END = ("//", "/./", "/../", "%2f", "%2F"), ("/..", "/.")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_WILDCARD = names.regex_error(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    rf"\*\.{names.SUBDOMAIN}",
    "*.example.com",
)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A backend or rules, hosts that are names, paths that start with a slash."""
    spec = new.get("spec") or {}
    rules, backend = spec.get("rules"), spec.get("defaultBackend")
    if not rules and backend is None:
        yield field.invalid("spec", rules, "either `defaultBackend` or `rules` must be specified")
    if backend is not None:
        yield from _backend(backend, "spec.defaultBackend")
    for index, rule in enumerate(rules or ()):
        yield from _host(rule.get("host", ""), f"spec.rules[{index}].host")
        if rule.get("http") is not None and not rule["http"].get("paths"):
            yield field.required(f"spec.rules[{index}].http.paths")
        for number, path in enumerate((rule.get("http") or {}).get("paths") or ()):
            yield from _path(path, f"spec.rules[{index}].http.paths[{number}]")
    for index, tls in enumerate(spec.get("tls") or ()):
        for number, host in enumerate(tls.get("hosts") or ()):
            yield from _name(host, f"spec.tls[{index}].hosts[{number}]")
        if secret := tls.get("secretName"):
            yield from validation.checked(secret, f"spec.tls[{index}].secretName", names.dns_subdomain)
    wanted = spec.get("ingressClassName")
    if wanted is not None:
        yield from validation.checked(wanted, "spec.ingressClassName", names.dns_subdomain)
        marked = (new["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
        if old is None and marked is not None and marked != wanted:
            detail = "must match `ingressClassName` when both are specified"
            yield field.invalid(f"annotations.{_CLASS_ANNOTATION}", marked, detail)


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Addresses of the balancer that are addresses, and names that are names."""
    balancer = (new.get("status") or {}).get("loadBalancer") or {}
    before = ((old or {}).get("status") or {}).get("loadBalancer") or {}
    known = [item.get("ip") for item in before.get("ingress") or ()]
    for index, item in enumerate(balancer.get("ingress") or ()):
        path, address, host = f"status.loadBalancer.ingress[{index}]", item.get("ip"), item.get("hostname")
        if address and address not in known:
            yield from validation.checked(address, f"{path}.ip", inet.ip)
        if host:
            yield from validation.checked(host, f"{path}.hostname", names.dns_subdomain)
            if not inet.ip(host):
                yield field.invalid(f"{path}.hostname", host, "must be a DNS name, not an IP address")


def _host(host: str, path: str) -> Iterator[field.Error]:
    if not host:
        return
    if not inet.ip(host):
        yield field.invalid(path, host, "must be a DNS name, not an IP address")
    yield from _name(host, path)


def _name(host: str, path: str) -> Iterator[field.Error]:
    if "*" in host:
        if not host.startswith("*.") or names.dns_subdomain(host[2:]):
            yield field.invalid(path, host, _WILDCARD)
    else:
        yield from validation.checked(host, path, names.dns_subdomain)


def _path(item: Object, path: str) -> Iterator[field.Error]:
    kind, text = item.get("pathType"), item.get("path", "")
    if kind is None:
        yield field.required(f"{path}.pathType", "pathType must be specified")
        return
    if kind not in _PATH_TYPES:
        yield field.not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    elif (kind != "ImplementationSpecific" or text) and not text.startswith("/"):
        yield field.invalid(f"{path}.path", text, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for part in _INSIDE:
            if part in text:
                yield field.invalid(f"{path}.path", text, f"must not contain '{part}'")
        for end in _AT_END:
            if text.endswith(end):
                yield field.invalid(f"{path}.path", text, f"cannot end with '{end}'")
    yield from _backend(item.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> Iterator[field.Error]:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        yield field.invalid(path, "", "cannot set both resource and service backends")
    elif service is None and resource is None:
        yield field.invalid(path, "", "resource or service backend is required")
    elif service is not None:
        if not service.get("name"):
            yield field.required(f"{path}.service.name")
        else:
            yield from validation.checked(service["name"], f"{path}.service.name", names.dns_label)
        yield from _port(service.get("port") or {}, path)
    elif resource is not None:
        if resource.get("apiGroup") is not None:
            yield from validation.checked(resource["apiGroup"], f"{path}.resource.apiGroup", names.dns_subdomain)
        for member in ("kind", "name"):
            if not resource.get(member):
                yield field.required(f"{path}.resource.{member}", f"{member} is required")
            else:
                yield from validation.checked(resource[member], f"{path}.resource.{member}", names.path_segment)


def _port(port: Object, path: str) -> Iterator[field.Error]:
    name, number = port.get("name"), port.get("number")
    if name and number:
        yield field.invalid(path, "", "cannot set both port name & port number")
    elif name:
        yield from validation.checked(name, f"{path}.service.port.name", names.port_name)
    elif number:
        yield from validation.port(number, f"{path}.service.port.number")
    else:
        yield field.required(path, "port name or number is required")


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    storage_prefix="ingress",
    subresources=("status",),
    prepare=_workload.reset_status({"loadBalancer": {}}),
    prepare_status=_workload.keep_spec,
    warnings=warnings,
    columns=(
        Column("Class", _class),
        Column("Hosts", _hosts),
        Column("Address", _address),
        Column("Ports", _ports),
        Column.AGE,
    ),
    validate=validate,
    validate_status=validate_status,
)
