"""What the security contexts of pods and containers may not say."""

import re
from collections.abc import Iterator
from typing import Any

from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.schema import gotext, types

Errors = Iterator[field.Error]

_ID = "must be between 0 and 2147483647, inclusive"
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")
_APPARMOR = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC = ("Default", "Unmasked")
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_PATTERN = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_SYSCTL = re.compile(_SYSCTL_PATTERN).fullmatch
_SYSCTL_LIMIT = 253
#: What a windows pod may not set, in the pod's context and in its containers'.
_LINUX_POD = (
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
    "appArmorProfile",
)
_LINUX_CONTAINER = (
    "seLinuxOptions",
    "appArmorProfile",
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
    yield from _sysctls(context.get("sysctls") or (), f"{place}.sysctls", spec)
    policy = context.get("fsGroupChangePolicy")
    if policy is not None:
        yield from validation.one_of(policy, f"{place}.fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    yield from _profile(context.get("seccompProfile"), f"{place}.seccompProfile", _SECCOMP)
    yield from _profile(context.get("appArmorProfile"), f"{place}.appArmorProfile", _APPARMOR)
    groups = context.get("supplementalGroupsPolicy")
    if groups is not None:
        yield from validation.one_of(groups, f"{place}.supplementalGroupsPolicy", ("Merge", "Strict"))
    labels = context.get("seLinuxChangePolicy")
    if labels is not None:
        yield from validation.one_of(labels, f"{place}.seLinuxChangePolicy", ("MountOption", "Recursive"))


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
    yield from _profile(context.get("seccompProfile"), f"{path}.seccompProfile", _SECCOMP)
    if context.get("allowPrivilegeEscalation") is False:
        printed = gotext.shown(types.named("api.core.v1.SecurityContext"), context)
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield field.invalid(path, printed, detail)
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            yield field.invalid(path, printed, detail)
    yield from _profile(context.get("appArmorProfile"), f"{path}.appArmorProfile", _APPARMOR)


def validate_os(spec: Object, path: str) -> Errors:
    """A pod that says for which system it is has nothing of the other."""
    system = (spec.get("os") or {}).get("name")
    if spec.get("os") is None:
        return
    if not system:
        yield field.required(f"{path}.os.name")
    elif system not in ("linux", "windows"):
        yield field.not_supported(f"{path}.os.name", system, ("linux", "windows"))
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
    for name in ("seLinuxOptions", "seccompProfile"):
        if context.get(name) is not None:
            yield field.forbidden(f"{path}.securityContext.{name}", detail)
    for name in ("hostUsers", "hostPID", "hostIPC"):
        if spec.get(name) if name != "hostUsers" else spec.get(name) is not None:
            yield field.forbidden(f"{path}.{name}", detail)
    if spec.get("shareProcessNamespace") is not None:
        yield field.forbidden(f"{path}.shareProcessNamespace", detail)
    for name in _LINUX_POD[2:]:
        if context.get(name) is not None:
            yield field.forbidden(f"{path}.securityContext.{name}", detail)
    for place, container in _containers(spec, path):
        inner = container.get("securityContext") or {}
        for name in _LINUX_CONTAINER:
            if inner.get(name) is not None:
                yield field.forbidden(f"{place}.securityContext.{name}", detail)


def _containers(spec: Object, path: str) -> Iterator[tuple[str, Object]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            yield f"{path}.{kind}[{index}]", container


def _identities(context: Object, path: str, members: tuple[str, ...]) -> Errors:
    for name in members:
        number = context.get(name)
        if number is not None and not 0 <= number < 2**31:
            yield field.invalid(f"{path}.{name}", number, _ID)


def _profile(profile: Any, path: str, kinds: tuple[str, ...]) -> Errors:
    if profile is None:
        return
    kind, local, word = profile.get("type", ""), profile.get("localhostProfile"), path.rpartition(".")[2]
    system = "seccomp" if word == "seccompProfile" else "AppArmor"
    if not kind:
        yield field.required(f"{path}.type", f"type is required when {word} is set")
    elif kind not in kinds:
        yield field.not_supported(f"{path}.type", kind, kinds)
    if kind == "Localhost":
        if not local:
            yield field.required(f"{path}.localhostProfile", f"must be set when {system} type is Localhost")
        elif system == "seccomp":
            yield from _local_path(local, f"{path}.localhostProfile")
    elif local is not None:
        detail = f"can only be set when {system} type is Localhost"
        yield field.invalid(f"{path}.localhostProfile", local, detail)


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
