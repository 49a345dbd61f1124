"""APIService: a group version, and the Service that serves it if this server does not."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """HTTPS on 443."""
    service = (obj.get("spec") or {}).get("service")
    if service is not None:
        service.setdefault("port", 443)


_GROUP_PRIORITY_LIMIT, _VERSION_PRIORITY_LIMIT = 20000, 1000
_STATUSES = ("True", "False", "Unknown")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """The name says which group version it is; a Service that is elsewhere is trusted by its certificate."""
    name, spec = new["metadata"].get("name", ""), new.get("spec") or {}
    group, version = spec.get("group", ""), spec.get("version", "")
    if name and name != f"{version}.{group}" and not names.path_segment(name):
        detail = f'must be `spec.version+"."+spec.group`: "{version}.{group}"'
        yield field.invalid("metadata.name", name, detail)
    if group:
        yield from validation.checked(group, "spec.group", names.dns_subdomain)
    elif version != "v1":
        yield field.required("spec.group", "only v1 may have an empty group and it better be legacy kube")
    yield from validation.checked(version, "spec.version", names.dns1035_label)
    for member, limit in (
        ("groupPriorityMinimum", _GROUP_PRIORITY_LIMIT),
        ("versionPriority", _VERSION_PRIORITY_LIMIT),
    ):
        number = spec.get(member) or 0
        if not 0 < number <= limit:
            yield field.invalid(f"spec.{member}", number, f"must be positive and less than {limit}")
    yield from _service_problems(spec)


def _service_problems(spec: Object) -> Iterator[field.Error]:
    service = spec.get("service")
    if service is None:
        if spec.get("caBundle"):
            bundle = f"{len(spec['caBundle'].rstrip('=')) * 3 // 4} bytes"
            yield field.invalid("spec.caBundle", bundle, "local APIServices may not have a caBundle")
        if spec.get("insecureSkipTLSVerify"):
            detail = "local APIServices may not have insecureSkipTLSVerify"
            yield field.invalid("spec.insecureSkipTLSVerify", True, detail)
        return
    for member in ("namespace", "name"):
        if not service.get(member):
            yield field.required(f"spec.service.{member}")
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        yield field.invalid("spec.service.port", port, "port is not valid: must be between 1 and 65535, inclusive")
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        detail = "may not be true if caBundle is present"
        yield field.invalid("spec.insecureSkipTLSVerify", True, detail)


def _service(obj: Object, _: datetime) -> str:
    service = obj["spec"].get("service")
    return f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"


def _available(obj: Object, _: datetime) -> str:
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item.get("type") == "Available":
            status = str(item.get("status") or "")
            return status if status == "True" else f"{status} ({item.get('reason', '')})"
    return "Unknown"


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Conditions hold, do not, or may."""
    for index, condition in enumerate((new.get("status") or {}).get("conditions") or ()):
        if condition.get("status") not in _STATUSES:
            yield field.not_supported(f"status.conditions[{index}].status", condition.get("status") or "", _STATUSES)


RESOURCE = Resource(
    group="apiregistration.k8s.io",
    versions=("v1",),
    kind="APIService",
    plural="apiservices",
    name_rule="path-segment",
    categories=("api-extensions",),
    namespaced=False,
    storage_prefix="apiregistration.k8s.io/apiservices",
    subresources=("status",),
    generation=False,
    default=default,
    validate=validate,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    validate_status=validate_status,
    columns=(Column("Service", _service), Column("Available", _available), Column.AGE),
)
