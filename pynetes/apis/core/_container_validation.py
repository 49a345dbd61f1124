"""What containers may not be."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pynetes.apis.core import _references, _resource_names, _security_validation, _volume_validation
from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTARTS, _SCHEMES = ("Always", "Never", "OnFailure"), ("HTTP", "HTTPS")
_PROPAGATIONS, _RECURSIVE = ("Bidirectional", "HostToContainer", "None"), ("Disabled", "Enabled", "IfPossible")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
#: In the order of the API's fields.
_NOT_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)
_NO_EPHEMERAL = "cannot be set for an Ephemeral Container"
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def validate_containers(spec: Object, path: str, volumes: set[str]) -> Errors:
    """Mistakes of all containers of a pod spec, whose volumes have these names."""
    if not spec.get("containers"):
        yield field.required(f"{path}.containers")
    blocks = {each.get("name"): each.get("persistentVolumeClaim") is not None for each in spec.get("volumes") or ()}
    around = _Around(
        volumes=volumes,
        claims=[claim.get("name") or "" for claim in spec.get("resourceClaims") or ()],
        blocks={name: blocks[name] for name in volumes if name in blocks},
        grace=spec.get("terminationGracePeriodSeconds"),
        host_users=spec.get("hostUsers") is not False,
    )
    seen: set[str] = set()
    for list_name in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(list_name) or ()):
            place = f"{path}.{list_name}[{index}]"
            init = list_name == "initContainers"
            yield from _validate(container, place, around, init=init)
            name = container.get("name", "")
            if name and name in seen:
                yield field.duplicate(f"{place}.name", name)
            seen.add(name)
    yield from _ephemeral(spec, f"{path}.ephemeralContainers", around, seen)
    yield from _host_ports(spec, path)


def _ephemeral(spec: Object, path: str, around: "_Around", others: set[str]) -> Errors:
    """Containers to look into the pod with: nothing of the pod may come to rely on them."""
    taken = set(others)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        place, name, target = f"{path}[{index}]", container.get("name", ""), container.get("targetContainerName")
        yield from _validate(container, place, around, init=False)
        if name in taken:
            yield field.duplicate(f"{place}.name", name)
        taken.add(name)
        if target and target not in others:
            yield field.not_found(f"{place}.targetContainerName", target)
        for member in _NOT_EPHEMERAL:
            if container.get(member):
                yield field.forbidden(f"{place}.{member}", _NO_EPHEMERAL)
        for number, mount in enumerate(container.get("volumeMounts") or ()):
            for member in ("subPath", "subPathExpr"):
                if mount.get(member):
                    yield field.forbidden(f"{place}.volumeMounts[{number}].{member}", _NO_EPHEMERAL)


class _Around(NamedTuple):
    """What a container's own rules need to know of the pod."""

    volumes: set[str]
    claims: list[str]
    #: Volume → whether it may be used as a block device.
    blocks: dict[str, bool]
    grace: int | None
    host_users: bool


def _validate(container: Object, path: str, around: _Around, *, init: bool) -> Errors:
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
    yield from _mounts(container, f"{path}.volumeMounts", around.volumes)
    yield from _devices(container, f"{path}.volumeDevices", around.blocks)
    yield from validation.one_of(
        container.get("imagePullPolicy"), f"{path}.imagePullPolicy", ("Always", "IfNotPresent", "Never")
    )
    yield from validate_resources(container.get("resources") or {}, f"{path}.resources")
    yield from _claims((container.get("resources") or {}).get("claims"), f"{path}.resources.claims", around.claims)
    yield from _resize(container.get("resizePolicy"), f"{path}.resizePolicy")
    security, users = container.get("securityContext"), around.host_users
    yield from _security_validation.validate_container(security, f"{path}.securityContext", host_users=users)
    policy = container.get("restartPolicy")
    if policy is not None and policy not in _RESTARTS:
        yield field.not_supported(f"{path}.restartPolicy", policy, _RESTARTS)
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
            place = f"{path}.lifecycle.{handler}"
            yield from _handler(lifecycle[handler], place, (*_HANDLERS[:3], "sleep"))
            yield from _sleep(lifecycle[handler].get("sleep"), f"{place}.sleep", around.grace)


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
        yield from _references.field_ref(reference, f"{path}.fieldRef", _references.ENVIRONMENT_FIELDS)
    if (reference := source.get("resourceFieldRef")) is not None:
        yield from _references.resource_ref(reference, f"{path}.resourceFieldRef", volume=False)
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
    if prefix := source.get("prefix"):
        yield from validation.checked(prefix, f"{path}.prefix", names.env_var_name)


def _mounts(container: Object, path: str, volumes: set[str]) -> Errors:
    seen: set[str] = set()
    devices = container.get("volumeDevices") or ()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        place, name = f"{path}[{index}]", mount.get("name") or ""
        if not name:
            yield field.required(f"{place}.name")
        if name not in volumes:
            yield field.not_found(f"{place}.name", name)
        target = mount.get("mountPath", "")
        if not target:
            yield field.required(f"{place}.mountPath")
        elif target in seen:
            yield field.invalid(f"{place}.mountPath", target, "must be unique")
        seen.add(target)
        if any(device.get("name") == name for device in devices):
            yield field.invalid(f"{place}.name", name, "must not already exist in volumeDevices")
        if any(device.get("devicePath") == target for device in devices):
            yield field.invalid(f"{place}.mountPath", target, "must not already exist as a path in volumeDevices")
        for member in ("subPath", "subPathExpr"):
            if mount.get(member):
                yield from _volume_validation.local_path(mount[member], f"{path}.{member}")
        if mount.get("subPath") and mount.get("subPathExpr"):
            detail = "subPathExpr and subPath are mutually exclusive"
            yield field.invalid(f"{place}.subPathExpr", mount["subPathExpr"], detail)
        yield from _propagation(mount, container, path)
        yield from _recursive(mount, f"{place}.recursiveReadOnly")


def _propagation(mount: Object, container: Object, path: str) -> Errors:
    mode = mount.get("mountPropagation")
    if mode is None:
        return
    if mode not in _PROPAGATIONS:
        yield field.not_supported(f"{path}.mountPropagation", mode, _PROPAGATIONS)
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        yield field.forbidden(f"{path}.mountPropagation", detail)


def _recursive(mount: Object, path: str) -> Errors:
    mode = mount.get("recursiveReadOnly")
    if mode is None or mode == "Disabled":
        return
    if mode not in _RECURSIVE:
        yield field.not_supported(path, mode, _RECURSIVE)
        return
    if not mount.get("readOnly"):
        yield field.forbidden(path, "may only be specified when readOnly is true")
    if mount.get("mountPropagation") not in (None, "None"):
        yield field.forbidden(path, "may only be specified when mountPropagation is None or not specified")


def _devices(container: Object, path: str, blocks: dict[str, bool]) -> Errors:
    names_seen: set[str] = set()
    paths_seen: set[str] = set()
    mounts = container.get("volumeMounts") or ()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        place, name, target = f"{path}[{index}]", device.get("name") or "", device.get("devicePath") or ""
        if not name:
            yield field.required(f"{place}.name")
        if name in names_seen:
            yield field.invalid(f"{place}.name", name, "must be unique")
        if name not in blocks:
            yield field.not_found(f"{place}.name", name)
        elif not blocks[name]:
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            yield field.invalid(f"{place}.name", name, detail)
        if not target:
            yield field.required(f"{place}.devicePath")
        if target in paths_seen:
            yield field.invalid(f"{place}.devicePath", target, "must be unique")
        if ".." in target.split("/"):
            yield field.invalid(f"{place}.devicePath", target, "can not contain backsteps ('..')")
        else:
            paths_seen.add(target)
        if any(mount.get("name") == name for mount in mounts):
            yield field.invalid(f"{place}.name", name, "must not already exist in volumeMounts")
        if any(mount.get("mountPath") == target for mount in mounts):
            yield field.invalid(f"{place}.devicePath", target, "must not already exist as a path in volumeMounts")
        if name:
            names_seen.add(name)


def _claims(claims: Any, path: str, known: list[str]) -> Errors:
    seen: set[str] = set()
    for index, claim in enumerate(claims or ()):
        place, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            yield field.required(place)
            continue
        if name in seen:
            yield field.duplicate(place, name)
        seen.add(name)
        if name not in known:
            named = f": {', '.join(sorted(known))}" if known else " which is empty"
            missing = field.not_found(place, name)
            detail = f"must be one of the names in pod.spec.resourceClaims{named}"
            yield missing._replace(message=f"{missing.message}: {detail}")


def _sleep(sleep: Object | None, path: str, grace: int | None) -> Errors:
    if sleep is None or grace is None:
        return
    if not 0 <= (seconds := sleep.get("seconds") or 0) <= grace:
        detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        yield field.invalid(path, seconds, detail)


def validate_resources(resources: Object, path: str, check_name: Callable[[str, str], Errors] | None = None) -> Errors:
    """Mistakes of requests and limits; by default a container's."""
    check_name = check_name or resource_name
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            place = f"{path}.{kind}[{name}]"
            yield from check_name(name, place)
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


def standard_name(name: str, path: str) -> Errors:
    """A resource of any kind: a standard one, or one with a domain."""
    wrong = list(validation.checked(name, path, names.qualified_name))
    yield from wrong
    if not wrong and "/" not in name and name not in _resource_names.STANDARD and not _resource_names.huge(name):
        yield field.invalid(path, name, "must be a standard resource type or fully qualified")


def resource_name(name: str, path: str) -> Errors:
    """A resource of containers: a standard one, or one with a domain."""
    yield from standard_name(name, path)
    if "/" not in name:
        if name not in STANDARD_RESOURCES and not name.startswith("hugepages-"):
            yield field.invalid(path, name, "must be a standard resource for containers")
    elif "kubernetes.io/" not in name and (
        name.startswith("requests.") or list(names.qualified_name(f"requests.{name}"))
    ):
        yield field.invalid(path, name, "doesn't follow extended resource name standard")


def _no_overcommit(name: str) -> bool:
    return ("/" in name and "kubernetes.io/" not in name) or name.startswith("hugepages-")


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
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield field.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if readiness and grace is not None:
        yield field.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
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
        action, place = handler[given[0]], f"{path}.{given[0]}"
        if given[0] == "httpGet" and not action.get("path"):
            yield field.required(f"{place}.path")
        yield from validation.port(action.get("port", 0), f"{place}.port")
        if given[0] == "httpGet":
            if action.get("scheme") not in _SCHEMES:
                yield field.not_supported(f"{place}.scheme", action.get("scheme") or "", _SCHEMES)
            for header in action.get("httpHeaders") or ():
                yield from validation.checked(header.get("name") or "", f"{place}.httpHeaders", names.http_header)
