"""What containers may not be."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from pynetes.apis.core import _probe_validation, _references, _resource_names, _security_validation, _volume_validation
from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTARTS = ("Always", "Never", "OnFailure")
_PROPAGATIONS, _RECURSIVE = ("Bidirectional", "HostToContainer", "None"), ("Disabled", "Enabled", "IfPossible")
_RESTART_ACTIONS = ("Restart", "RestartAllContainers")
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
    found = {each.get("name"): each for each in spec.get("volumes") or ()}
    blocks = ("persistentVolumeClaim", "ephemeral")
    around = _Around(
        volumes=volumes,
        claims=[claim["name"] for claim in spec.get("resourceClaims") or () if claim.get("name")],
        blocks={name: any(found[name].get(kind) is not None for kind in blocks) for name in volumes if name in found},
        grace=spec.get("terminationGracePeriodSeconds"),
        host_users=spec.get("hostUsers") is not False,
        restart=spec.get("restartPolicy") or "",
    )
    seen: set[str] = set()
    yield from _regular(spec, f"{path}.containers", around, seen)
    yield from _initial(spec, f"{path}.initContainers", around, seen)
    yield from _ephemeral(spec, f"{path}.ephemeralContainers", around, seen)


def _regular(spec: Object, path: str, around: "_Around", seen: set[str]) -> Errors:
    if not spec.get("containers"):
        yield field.required(path)
    for index, container in enumerate(spec.get("containers") or ()):
        place, name = f"{path}[{index}]", container.get("name") or ""
        yield from _common(container, place, around)
        if name in seen:
            yield field.duplicate(f"{place}.name", name)
        seen.add(name)
        yield from _probe_validation.validate_lifecycle(container.get("lifecycle"), f"{place}.lifecycle", around.grace)
        yield from _probe_validation.validate_probes(container, place)
        yield from _restarts(container, place)
    yield from _host_ports(spec.get("containers"), path)


def _initial(spec: Object, path: str, around: "_Around", seen: set[str]) -> Errors:
    """Containers that run before the others; only those that go on beside them have probes and handlers."""
    for index, container in enumerate(spec.get("initContainers") or ()):
        place, name = f"{path}[{index}]", container.get("name") or ""
        yield from _common(container, place, around)
        yield from _restarts(container, place)
        if name in seen:
            yield field.duplicate(f"{place}.name", name)
        elif name:
            seen.add(name)
        # They run one after the other, so each is looked at alone (and is called the first).
        yield from _host_ports([container], path)
        if container.get("restartPolicy") == "Always":
            yield from _probe_validation.validate_lifecycle(
                container.get("lifecycle"), f"{place}.lifecycle", around.grace
            )
            yield from _probe_validation.validate_probes(container, place)
            continue
        for member in ("lifecycle", *_probe_validation.PROBES):
            if container.get(member) is not None:
                detail = "may not be set for init containers without restartPolicy=Always"
                yield field.forbidden(f"{place}.{member}", detail)


def _ephemeral(spec: Object, path: str, around: "_Around", others: set[str]) -> Errors:
    """Containers to look into the pod with: nothing of the pod may come to rely on them."""
    taken = set(others)
    for index, container in enumerate(spec.get("ephemeralContainers") or ()):
        place, name, target = f"{path}[{index}]", container.get("name", ""), container.get("targetContainerName")
        yield from _common(container, place, around)
        yield from validate_image(container, place)
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


def validate_image(container: Object, path: str) -> Errors:
    """Blanks around the image: not in pods; templates may have them."""
    image = container.get("image") or ""
    if image != image.strip():
        yield field.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


class _Around(NamedTuple):
    """What a container's own rules need to know of the pod."""

    volumes: set[str]
    claims: list[str]
    #: Volume → whether it may be used as a block device.
    blocks: dict[str, bool]
    grace: int | None
    host_users: bool
    restart: str


def _common(container: Object, path: str, around: _Around) -> Errors:
    """What holds for containers of every sort."""
    if not container.get("name"):
        yield field.required(f"{path}.name")
    else:
        yield from validation.checked(container["name"], f"{path}.name", names.dns_label)
    if not container.get("image"):
        yield field.required(f"{path}.image")
    policies = ("File", "FallbackToLogsOnError")
    yield from validation.one_of(
        container.get("terminationMessagePolicy"), f"{path}.terminationMessagePolicy", policies
    )
    yield from _ports(container.get("ports"), f"{path}.ports")
    yield from _environment(container.get("env"), f"{path}.env")
    for index, source in enumerate(container.get("envFrom") or ()):
        yield from _environment_source(source, f"{path}.envFrom", index)
    yield from _mounts(container, f"{path}.volumeMounts", around.volumes)
    yield from _devices(container, f"{path}.volumeDevices", around.blocks)
    yield from validation.one_of(
        container.get("imagePullPolicy"), f"{path}.imagePullPolicy", ("Always", "IfNotPresent", "Never")
    )
    yield from validate_resources(container.get("resources") or {}, f"{path}.resources")
    yield from _claims((container.get("resources") or {}).get("claims"), f"{path}.resources.claims", around.claims)
    yield from _resize(container.get("resizePolicy"), f"{path}.resizePolicy", around.restart)
    security, users = container.get("securityContext"), around.host_users
    yield from _security_validation.validate_container(security, f"{path}.securityContext", host_users=users)


_MOST_RULES, _MOST_CODES = 20, 255


def _restarts(container: Object, path: str) -> Errors:
    """Whether a container runs again, and after which exit codes."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is not None and policy not in _RESTARTS:
        yield field.not_supported(f"{path}.restartPolicy", policy, _RESTARTS)
    elif policy is None and rules:
        yield field.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > _MOST_RULES:
        yield field.too_many(f"{path}.restartPolicyRules", len(rules), _MOST_RULES)
    for index, rule in enumerate(rules):
        place, codes = f"{path}.restartPolicyRules[{index}]", rule.get("exitCodes")
        if rule.get("action") not in _RESTART_ACTIONS:
            yield field.not_supported(f"{place}.action", rule.get("action") or "", _RESTART_ACTIONS)
        if codes is None:
            yield field.required(f"{place}.exitCodes", "must be specified")
            continue
        if codes.get("operator") not in ("In", "NotIn"):
            yield field.not_supported(f"{place}.exitCodes.operator", codes.get("operator") or "", ("In", "NotIn"))
        if len(codes.get("values") or ()) > _MOST_CODES:
            yield field.too_many(f"{place}.exitCodes.values", len(codes["values"]), _MOST_CODES)


def _ports(ports: Any, path: str) -> Errors:
    seen: set[str] = set()
    for index, port in enumerate(ports or ()):
        place = f"{path}[{index}]"
        if name := port.get("name"):
            wrong = names.port_name(name)
            yield from (field.invalid(f"{place}.name", name, text) for text in wrong)
            if not wrong and name in seen:
                yield field.duplicate(f"{place}.name", name)
            elif not wrong:
                seen.add(name)
        if not port.get("containerPort"):
            yield field.required(f"{place}.containerPort")
        else:
            yield from validation.port(port["containerPort"], f"{place}.containerPort")
        if port.get("hostPort"):
            yield from validation.port(port["hostPort"], f"{place}.hostPort")
        yield from validation.one_of(port.get("protocol"), f"{place}.protocol", _PROTOCOLS)


def _host_ports(containers: Any, path: str) -> Errors:
    """A port of the node is for one container."""
    taken: set[str] = set()
    for index, container in enumerate(containers or ()):
        for number, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                wanted = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{port['hostPort']}"
                if wanted in taken:
                    yield field.duplicate(f"{path}[{index}].ports[{number}].hostPort", wanted)
                taken.add(wanted)


def validate_host_network(spec: Object, path: str, *, template: bool) -> Errors:
    """Who uses the node's network has no other ports there than in itself."""
    for index, container in enumerate(spec.get("containers") or () if spec.get("hostNetwork") else ()):
        for number, port in enumerate(container.get("ports") or ()):
            host = port.get("hostPort") or 0
            if (host or not template) and host != (port.get("containerPort") or 0):
                place = f"{path}.containers[{index}].ports[{number}].hostPort"
                yield field.invalid(place, host, "must match `containerPort` when `hostNetwork` is true")


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
    if (reference := source.get("fieldRef")) is not None:
        yield from _references.field_ref(reference, f"{path}.fieldRef", _references.ENVIRONMENT_FIELDS)
    if (reference := source.get("resourceFieldRef")) is not None:
        yield from _references.resource_ref(reference, f"{path}.resourceFieldRef", volume=False)
    for name in ("configMapKeyRef", "secretKeyRef"):
        if (reference := source.get(name)) is not None:
            yield from validation.checked(reference.get("name") or "", f"{path}.{name}.name", names.dns_subdomain)
            if not reference.get("key"):
                yield field.required(f"{path}.{name}.key")
            else:
                yield from validation.checked(reference["key"], f"{path}.{name}.key", names.config_map_key)
    if (reference := source.get("fileKeyRef")) is not None:
        yield from _in_file(reference, f"{path}.fileKeyRef")
    given = [name for name in _SOURCES if source.get(name) is not None]
    if not given:
        listed = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        yield field.invalid(path, "", f"must specify one of: {listed}")
    elif variable.get("value"):
        yield field.invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield field.invalid(path, "", "may not have more than one field specified at a time")


def _in_file(reference: Object, path: str) -> Errors:
    """A variable that stands in a file of a volume."""
    if not reference.get("key"):
        yield field.required(f"{path}.key")
    else:
        yield from validation.checked(reference["key"], f"{path}.key", names.env_var_name)
    for name in ("volumeName", "path"):
        if not reference.get(name):
            yield field.required(f"{path}.{name}")
    yield from _volume_validation.local_path(reference.get("path") or "", f"{path}.path")


def _environment_source(source: Object, path: str, index: int) -> Errors:
    place = f"{path}[{index}]"
    if prefix := source.get("prefix"):
        yield from validation.checked(prefix, f"{place}.prefix", names.env_var_name)
    given = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
    for member in given:
        name = source[member].get("name") or ""
        if not name:
            yield field.required(f"{place}.{member}.name")
        else:
            # A name that something may be put behind: a dash at its end counts as a letter.
            wrong = names.dns_subdomain(f"{name[:-1]}a" if len(name) > 1 and name.endswith("-") else name)
            yield from (field.invalid(f"{place}.{member}.name", name, text) for text in wrong)
    # Upstream's own path: that of the list.
    if not given:
        yield field.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif len(given) > 1:
        yield field.invalid(path, "", "may not have more than one field specified at a time")


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
        if target in seen:
            yield field.invalid(f"{place}.mountPath", target, "must be unique")
        seen.add(target)
        if any(device.get("name") == name for device in devices):
            yield field.invalid(f"{place}.name", name, "must not already exist in volumeDevices")
        if any(device.get("devicePath") == target for device in devices):
            yield field.invalid(f"{place}.mountPath", target, "must not already exist as a path in volumeDevices")
        if mount.get("subPath"):
            yield from _volume_validation.local_path(mount["subPath"], f"{path}.subPath")
        if expression := mount.get("subPathExpr"):
            if mount.get("subPath"):
                detail = "subPathExpr and subPath are mutually exclusive"
                yield field.invalid(f"{place}.subPathExpr", expression, detail)
            yield from _volume_validation.local_path(expression, f"{path}.subPathExpr")
        yield from _propagation(mount, container, path)
        yield from _recursive(mount, f"{path}.recursiveReadOnly")


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


def validate_resources(resources: Object, path: str, check_name: Callable[[str, str], Errors] | None = None) -> Errors:
    """Mistakes of requests and limits; by default a container's."""
    check_name = check_name or _resource_names.for_container
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


def _no_overcommit(name: str) -> bool:
    return _resource_names.extended(name) or name.startswith("hugepages-")


def _amount(name: str, amount: str, path: str) -> Errors:
    parsed = quantity.parse(amount)
    if parsed.nanos < 0:
        yield field.invalid(path, amount, "must be greater than or equal to 0")
    if _resource_names.whole(name) and parsed.milli() % 1000:
        yield field.invalid(path, amount, "must be an integer")
    if name.startswith("hugepages-"):
        size = quantity.parse(name.removeprefix("hugepages-"))
        if size and parsed.nanos % size.nanos:
            yield field.invalid(path, amount, f"{amount} is not positive integer multiple of {name}")


def _resize(policies: Any, path: str, restart: str) -> Errors:
    seen: set[str] = set()
    for index, item in enumerate(policies or ()):
        name, policy = item.get("resourceName") or "", item.get("restartPolicy") or ""
        if name in seen:
            yield field.duplicate(f"{path}[{index}]", name)
        seen.add(name)
        yield from validation.one_of(name, path, ("cpu", "memory"))
        yield from validation.one_of(policy, path, ("NotRequired", "RestartContainer"))
        if restart == "Never" and policy != "NotRequired":
            yield field.invalid(path, policy, "must be 'NotRequired' when `restartPolicy` is 'Never'")
