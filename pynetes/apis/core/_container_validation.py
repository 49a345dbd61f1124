"""What containers may not be."""

import re
from collections.abc import Iterator
from typing import Any

from pynetes.apis.core import _security_validation
from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_FIELD_PATHS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels",
    "metadata.annotations",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_RESOURCE_FIELDS = tuple(
    f"{kind}.{name}" for kind in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def validate_containers(spec: Object, path: str) -> Errors:
    """Mistakes of all containers of a pod spec."""
    if not spec.get("containers"):
        yield field.required(f"{path}.containers")
    volumes = {volume.get("name") for volume in spec.get("volumes") or ()}
    seen: set[str] = set()
    for list_name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            place = f"{path}.{list_name}[{index}]"
            init = list_name == "initContainers"
            yield from _validate(container, place, volumes, init=init, host_users=spec.get("hostUsers") is not False)
            name = container.get("name", "")
            if name and name in seen:
                yield field.duplicate(f"{place}.name", name)
            seen.add(name)
    yield from _host_ports(spec, path)


def _validate(container: Object, path: str, volumes: set[Any], *, init: bool, host_users: bool) -> Errors:
    name = container.get("name", "")
    if not name:
        yield field.required(f"{path}.name")
    else:
        yield from validation.checked(name, f"{path}.name", names.dns_label)
    image = container.get("image", "")
    if not image:
        yield field.required(f"{path}.image")
    elif image != image.strip():
        yield field.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    policies = ("FallbackToLogsOnError", "File")
    yield from validation.one_of(
        container.get("terminationMessagePolicy"), f"{path}.terminationMessagePolicy", policies
    )
    yield from _ports(container.get("ports"), f"{path}.ports")
    yield from _environment(container.get("env"), f"{path}.env")
    for index, source in enumerate(container.get("envFrom") or ()):
        yield from _environment_source(source, f"{path}.envFrom[{index}]")
    yield from _mounts(container.get("volumeMounts"), f"{path}.volumeMounts", volumes)
    yield from validation.one_of(
        container.get("imagePullPolicy"), f"{path}.imagePullPolicy", ("Always", "IfNotPresent", "Never")
    )
    yield from validate_resources(container.get("resources") or {}, f"{path}.resources")
    yield from _resize(container.get("resizePolicy"), f"{path}.resizePolicy")
    security = container.get("securityContext")
    yield from _security_validation.validate_container(security, f"{path}.securityContext", host_users=host_users)
    plain_init = init and container.get("restartPolicy") != "Always"
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            if plain_init:
                yield field.forbidden(
                    f"{path}.{probe}", "may not be set for init containers without restartPolicy=Always"
                )
            yield from _probe(container[probe], f"{path}.{probe}", readiness=probe == "readinessProbe")
    lifecycle = container.get("lifecycle") or {}
    if plain_init and lifecycle:
        yield field.forbidden(f"{path}.lifecycle", "may not be set for init containers without restartPolicy=Always")
    for handler in ("postStart", "preStop"):
        if lifecycle.get(handler) is not None:
            yield from _handler(lifecycle[handler], f"{path}.lifecycle.{handler}", (*_HANDLERS[:3], "sleep"))


def _ports(ports: Any, path: str) -> Errors:
    seen: set[str] = set()
    for index, port in enumerate(ports or ()):
        place = f"{path}[{index}]"
        if name := port.get("name"):
            yield from validation.checked(name, f"{place}.name", names.port_name)
            if name in seen:
                yield field.duplicate(f"{place}.name", name)
            seen.add(name)
        if not port.get("containerPort"):
            yield field.required(f"{place}.containerPort")
        else:
            yield from validation.port(port["containerPort"], f"{place}.containerPort")
        if port.get("hostPort"):
            yield from validation.port(port["hostPort"], f"{place}.hostPort")
        yield from validation.one_of(port.get("protocol"), f"{place}.protocol", _PROTOCOLS)


def _host_ports(spec: Object, path: str) -> Errors:
    taken: set[tuple[Any, ...]] = set()
    for index, container in enumerate(spec.get("containers") or ()):
        for number, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            place = f"{path}.containers[{index}].ports[{number}].hostPort"
            if spec.get("hostNetwork") and port["hostPort"] != port.get("containerPort"):
                yield field.invalid(place, port["hostPort"], "must match `containerPort` when `hostNetwork` is true")
            wanted = (port.get("protocol"), port.get("hostIP", ""), port["hostPort"])
            if wanted in taken:
                yield field.duplicate(place, f"{wanted[0]}/{wanted[1]}/{wanted[2]}")
            taken.add(wanted)


def _environment(variables: Any, path: str) -> Errors:
    for index, variable in enumerate(variables or ()):
        place = f"{path}[{index}]"
        if not variable.get("name"):
            yield field.required(f"{place}.name")
        else:
            yield from validation.checked(variable["name"], f"{place}.name", names.env_var_name)
        if variable.get("valueFrom") is not None:
            yield from _value_from(variable, f"{place}.valueFrom")


def _value_from(variable: Object, path: str) -> Errors:
    source = variable["valueFrom"]
    given = [name for name in _SOURCES if source.get(name) is not None]
    if variable.get("value"):
        yield field.invalid(path, "", "may not be specified when `value` is not empty")
    elif not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield field.invalid(path, "", f"must specify one of: {listed}")
    elif len(given) > 1:
        yield field.invalid(path, "", "may not have more than one field specified at a time")
    if (reference := source.get("fieldRef")) is not None:
        field_path = reference.get("fieldPath", "")
        if not field_path:
            yield field.required(f"{path}.fieldRef.fieldPath")
        elif re.sub(r"\['.*'\]$", "", field_path) not in _FIELD_PATHS:
            detail = f"error converting fieldPath: field label not supported: {field_path}"
            yield field.invalid(f"{path}.fieldRef.fieldPath", field_path, detail)
    if (reference := source.get("resourceFieldRef")) is not None:
        wanted = reference.get("resource", "")
        if wanted not in _RESOURCE_FIELDS and not wanted.startswith(("limits.hugepages-", "requests.hugepages-")):
            yield field.not_supported(f"{path}.resourceFieldRef.resource", wanted, _RESOURCE_FIELDS)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if (reference := source.get(name)) is not None:
            if not reference.get("key"):
                yield field.required(f"{path}.{name}.key")
            else:
                yield from validation.checked(reference["key"], f"{path}.{name}.key", names.config_map_key)


def _environment_source(source: Object, path: str) -> Errors:
    given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
    if not given:
        yield field.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        yield field.invalid(path, "", "may not have more than one field specified at a time")
    for name in given:
        if not source[name].get("name"):
            yield field.required(f"{path}.{name}.name")


def _mounts(mounts: Any, path: str, volumes: set[Any]) -> Errors:
    seen: set[str] = set()
    for index, mount in enumerate(mounts or ()):
        place = f"{path}[{index}]"
        if not mount.get("name"):
            yield field.required(f"{place}.name")
        elif mount["name"] not in volumes:
            yield field.not_found(f"{place}.name", mount["name"])
        target = mount.get("mountPath", "")
        if not target:
            yield field.required(f"{place}.mountPath")
        elif target in seen:
            yield field.invalid(f"{place}.mountPath", target, "must be unique")
        seen.add(target)
        for name in ("subPath", "subPathExpr"):
            if mount.get(name):
                yield from _local_path(mount[name], f"{path}.{name}")
        if mount.get("subPath") and mount.get("subPathExpr"):
            detail = "subPathExpr and subPath are mutually exclusive"
            yield field.invalid(f"{place}.subPathExpr", mount["subPathExpr"], detail)


def _local_path(text: str, path: str) -> Errors:
    if text.startswith("/"):
        yield field.invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield field.invalid(path, text, "must not contain '..'")


def validate_resources(resources: Object, path: str) -> Errors:
    """Mistakes of requests and limits."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            place = f"{path}.{kind}[{name}]"
            yield from resource_name(name, place)
            yield from _amount(name, amount, place)
    for name, amount in sorted(requests.items()):
        limit = limits.get(name)
        if limit is None:
            if _no_overcommit(name):
                yield field.required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif _no_overcommit(name) and quantity.parse(amount) != quantity.parse(limit):
            yield field.invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
        elif quantity.parse(amount) > quantity.parse(limit):
            yield field.invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}")
    named = {*limits, *requests}
    if any(name.startswith("hugepages-") for name in named) and not named & {"cpu", "memory"}:
        yield field.forbidden(path, "HugePages require cpu or memory")


def resource_name(name: str, path: str) -> Errors:
    """A resource of containers: a standard one, or one with a domain."""
    yield from validation.checked(name, path, names.qualified_name)
    if "/" not in name and name not in STANDARD_RESOURCES and not name.startswith("hugepages-"):
        yield field.invalid(path, name, "must be a standard resource type or fully qualified")
        yield field.invalid(path, name, "must be a standard resource for containers")


def _no_overcommit(name: str) -> bool:
    return "/" in name or name.startswith("hugepages-")


def _amount(name: str, amount: str, path: str) -> Errors:
    parsed = quantity.parse(amount)
    if parsed.nanos < 0:
        yield field.invalid(path, amount, "must be greater than or equal to 0")
    if "/" in name and parsed.nanos % quantity.NANO:
        yield field.invalid(path, amount, "must be an integer")
    if name.startswith("hugepages-"):
        size = quantity.parse(name.removeprefix("hugepages-"))
        if size and parsed.nanos % size.nanos:
            yield field.invalid(path, amount, f"{amount} is not positive integer multiple of {name}")


def _resize(policies: Any, path: str) -> Errors:
    for policy in policies or ():
        yield from validation.one_of(policy.get("resourceName"), path, ("cpu", "memory"))
        yield from validation.one_of(policy.get("restartPolicy"), path, ("NotRequired", "RestartContainer"))


def _probe(probe: Object, path: str, *, readiness: bool) -> Errors:
    yield from _handler(probe, path, _HANDLERS)
    for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
        yield from validation.non_negative(probe.get(name), f"{path}.{name}")
    if not readiness and probe.get("successThreshold", 1) != 1:
        yield field.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _handler(handler: Object, path: str, kinds: tuple[str, ...]) -> Errors:
    given = [name for name in kinds if handler.get(name) is not None]
    if not given:
        yield field.required(path, "must specify a handler type")
    if given and given[0] == "exec" and not handler["exec"].get("command"):
        yield field.required(f"{path}.exec.command")
    for name in given[1:]:
        yield field.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    if given and given[0] in ("httpGet", "tcpSocket", "grpc"):
        yield from validation.port(handler[given[0]].get("port", 0), f"{path}.{given[0]}.port")
