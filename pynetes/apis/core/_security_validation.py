"""What the security contexts of pods and containers may not say."""

import re
from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import gotext, types

Errors = Iterator[field.Error]

_ID = "must be between 0 and 2147483647, inclusive"
_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC = ("Default", "Unmasked")
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_PATTERN = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_SYSCTL = re.compile(_SYSCTL_PATTERN).fullmatch
_SYSCTL_LIMIT = 253
#: What a windows pod may not set, in the pod's context and in its containers'.
_LINUX_POD = (
    "appArmorProfile",
    "seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "shareProcessNamespace",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
#: Of these, the pod's own.
_OF_SPEC = ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace")
_LINUX_CONTAINER = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def validate_pod(spec: Object, path: str) -> Errors:
    """The pod's own context: identities, sysctls and profiles."""
    context, place = spec.get("securityContext") or {}, f"{path}.securityContext"
    yield from _identities(context, place, ("fsGroup", "runAsUser", "runAsGroup"))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group < 2**31:
            yield field.invalid(f"{place}.supplementalGroups[{index}]", group, _ID)
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield field.invalid(f"{place}.shareProcessNamespace", True, detail)
    yield from _sysctls(context.get("sysctls") or (), f"{place}.sysctls", spec)
    policy = context.get("fsGroupChangePolicy")
    if policy is not None:
        yield from _choice(policy, f"{place}.fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    yield from _seccomp(context.get("seccompProfile"), f"{place}.seccompProfile")
    yield from _app_armor(context.get("appArmorProfile"), f"{place}.appArmorProfile")
    groups = context.get("supplementalGroupsPolicy")
    if groups is not None:
        yield from _choice(groups, f"{place}.supplementalGroupsPolicy", ("Merge", "Strict"))
    labels = context.get("seLinuxChangePolicy")
    if labels is not None:
        yield from _choice(labels, f"{place}.seLinuxChangePolicy", ("MountOption", "Recursive"))


def validate_container(context: Object | None, path: str, *, host_users: bool) -> Errors:
    """A container's context."""
    if context is None:
        return
    yield from _identities(context, path, ("runAsUser", "runAsGroup"))
    proc = context.get("procMount")
    if proc is not None:
        if proc not in _PROC:
            yield field.not_supported(f"{path}.procMount", proc, _PROC)
        if host_users and proc == "Unmasked":
            detail = "`hostUsers` must be false to use `Unmasked`"
            yield field.invalid(f"{path}.procMount", proc, detail)
    yield from _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        printed = gotext.shown(types.named("api.core.v1.SecurityContext"), context)
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield field.invalid(path, printed, detail)
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield field.invalid(path, printed, detail)
    yield from _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def validate_os(spec: Object, path: str) -> Errors:
    """A pod that says for which system it is has nothing of the other."""
    system = (spec.get("os") or {}).get("name")
    if spec.get("os") is None:
        return
    if not system:
        yield field.required(f"{path}.os.name", "cannot be empty")
    elif system not in ("linux", "windows"):
        yield field.not_supported(f"{path}.os", system, ("linux", "windows"))
    if system == "linux":
        yield from _without_windows(spec, path)
    elif system == "windows":
        yield from _without_linux(spec, path)


def _without_windows(spec: Object, path: str) -> Errors:
    detail = "windows options cannot be set for a linux pod"
    if (spec.get("securityContext") or {}).get("windowsOptions") is not None:
        yield field.forbidden(f"{path}.securityContext.windowsOptions", detail)
    for place, container in _containers(spec, path):
        if (container.get("securityContext") or {}).get("windowsOptions") is not None:
            yield field.forbidden(f"{place}.securityContext.windowsOptions", detail)


def _without_linux(spec: Object, path: str) -> Errors:
    detail = "cannot be set for a windows pod"
    context = spec.get("securityContext") or {}
    for name in _LINUX_POD:
        value = (spec if name in _OF_SPEC else context).get(name)
        # False is no wish for what the node shares, nor is an empty list of settings.
        if value is None or (name in ("hostPID", "hostIPC", "sysctls") and not value):
            continue
        yield field.forbidden(f"{path}.{name}" if name in _OF_SPEC else f"{path}.securityContext.{name}", detail)
    for place, container in _containers(spec, path):
        inner = container.get("securityContext") or {}
        for name in _LINUX_CONTAINER:
            if inner.get(name) is not None:
                yield field.forbidden(f"{place}.securityContext.{name}", detail)


def validate_host_processes(spec: Object, path: str) -> Errors:
    """Containers that are processes of a windows node: all of a pod or none, and in the node's network."""
    own = ((spec.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    found = []
    for place, container in _containers(spec, path):
        given = ((container.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
        if own is not None and given is not None and own != given:
            detail = f"pod hostProcess value must be identical if both are specified, was {str(own).lower()}"
            yield field.invalid(f"{place}.securityContext.windowsOptions.hostProcess", given, detail)
        found.append(bool(own if given is None else given))
    if any(found) and not all(found):
        detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield field.invalid(path, "", detail)
    if any(found) and not spec.get("hostNetwork"):
        detail = "hostNetwork must be true if pod contains any hostProcess containers"
        yield field.invalid(f"{path}.hostNetwork", False, detail)


def _containers(spec: Object, path: str) -> Iterator[tuple[str, Object]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield f"{path}.{kind}[{index}]", container


def _identities(context: Object, path: str, members: tuple[str, ...]) -> Errors:
    for name in members:
        number = context.get(name)
        if number is not None and not 0 <= number < 2**31:
            yield field.invalid(f"{path}.{name}", number, _ID)


def _choice(value: str, path: str, allowed: tuple[str, ...]) -> Errors:
    """One of these: nothing is not allowed either."""
    if value not in allowed:
        yield field.not_supported(path, value, allowed)


def _profile_type(profile: Object, path: str) -> Errors:
    kind, word = profile.get("type") or "", path.rpartition(".")[2]
    if not kind:
        yield field.required(f"{path}.type", f"type is required when {word} is set")
    elif kind not in _PROFILES:
        yield field.not_supported(f"{path}.type", kind, _PROFILES)


def _seccomp(profile: Any, path: str) -> Errors:
    if profile is None:
        return
    yield from _profile_type(profile, path)
    local, place = profile.get("localhostProfile"), f"{path}.localhostProfile"
    if profile.get("type") == "Localhost":
        if local is None:
            yield field.required(place, "must be set when seccomp type is Localhost")
        else:
            yield from _local_path(local, place)
    elif local is not None:
        printed = gotext.shown(types.named("api.core.v1.SeccompProfile"), profile)
        yield field.invalid(place, printed, "can only be set when seccomp type is Localhost")


_LONGEST_PROFILE = 4095


def _app_armor(profile: Any, path: str) -> Errors:
    if profile is None:
        return
    local, place = profile.get("localhostProfile"), f"{path}.localhostProfile"
    yield from _profile_type(profile, path)
    match profile.get("type"):
        case "Localhost":
            if local is not None and local != local.strip():
                yield field.invalid(place, local, "must not be padded with whitespace")
            elif not local:
                yield field.required(place, "must be set when AppArmor type is Localhost")
            if len((local or "").encode()) > _LONGEST_PROFILE:
                yield field.too_long(place, _LONGEST_PROFILE)
        case "RuntimeDefault" | "Unconfined":
            if local is not None:
                yield field.invalid(place, local, "can only be set when AppArmor type is Localhost")


def _local_path(text: str, path: str) -> Errors:
    if text.startswith("/"):
        yield field.invalid(path, text, "must be a relative path")
    if ".." in text.split("/"):
        yield field.invalid(path, text, "must not contain '..'")


def _sysctls(sysctls: Any, path: str, spec: Object) -> Errors:
    seen: set[str] = set()
    for index, item in enumerate(sysctls):
        name, place = item.get("name", ""), f"{path}[{index}].name"
        if not name:
            yield field.required(place)
        elif len(name) > _SYSCTL_LIMIT or not _SYSCTL(name):
            detail = f"must have at most {_SYSCTL_LIMIT} characters and match regex ^{_SYSCTL_PATTERN}$"
            yield field.invalid(place, name, detail)
        elif name in seen:
            yield field.duplicate(place, name)
        plain = name.replace("/", ".")
        if spec.get("hostNetwork") and plain.startswith("net."):
            yield field.invalid(place, name, "may not be specified when 'hostNetwork' is true")
        if spec.get("hostIPC") and (
            plain.startswith(("kernel.shm", "kernel.msg", "fs.mqueue.")) or plain == "kernel.sem"
        ):
            yield field.invalid(place, name, "may not be specified when 'hostIPC' is true")
        seen.add(name)
