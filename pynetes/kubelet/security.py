"""Security contexts as CRI takes them: the container's own settings over the pod's."""

from typing import Any

from pynetes.kubelet.env import BadConfig
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

#: What of /proc and /sys is hidden or not writable, unless procMount is Unmasked.
MASKED = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
DEFAULT: Object = {"type": "RuntimeDefault"}
PROFILES = {"RuntimeDefault": 0, "Unconfined": 1, "Localhost": 2}


def namespaces(pod: Object, *, target: str = "") -> pb.NamespaceOption:
    """Which namespaces the pod shares with the node, and its containers with each other."""
    spec = pod["spec"]
    pid = pb.NODE if spec.get("hostPID") else pb.POD if spec.get("shareProcessNamespace") else pb.CONTAINER
    if target:
        pid = pb.TARGET
    return pb.NamespaceOption(
        network=pb.NODE if spec.get("hostNetwork") else pb.POD,
        pid=pid,
        ipc=pb.NODE if spec.get("hostIPC") else pb.POD,
        target_id=target,
    )


def of_sandbox(pod: Object) -> pb.LinuxSandboxSecurityContext:
    """The sandbox's context; privileged when any container is."""
    context = pod["spec"].get("securityContext") or {}
    containers = [*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]]
    return pb.LinuxSandboxSecurityContext(
        namespace_options=namespaces(pod),
        run_as_user=_number(context.get("runAsUser")),
        run_as_group=_number(context.get("runAsGroup")) if context.get("runAsUser") is not None else None,
        supplemental_groups=_groups(context),
        privileged=any((one.get("securityContext") or {}).get("privileged") for one in containers),
        # The sandbox runs nothing but the pause program: it always gets the runtime's default filter.
        seccomp=pb.SecurityProfile(profile_type=pb.SecurityProfile.RuntimeDefault),
    )


def of_container(
    pod: Object, container: Object, image: pb.Image | None, *, target: str = "", seccomp_default: bool = False
) -> pb.LinuxContainerSecurityContext:
    """The container's context. Raises BadConfig where runAsNonRoot forbids its user.

    seccomp_default: who names no profile gets the runtime's."""
    whole = pod["spec"].get("securityContext") or {}
    own = container.get("securityContext") or {}
    user, name = _user(own, whole, image)
    privileged = bool(own.get("privileged"))
    _check_user(pod, container, user, name, own.get("runAsNonRoot", whole.get("runAsNonRoot")))
    unmasked = own.get("procMount") == "Unmasked" or privileged
    capabilities = own.get("capabilities") or {}
    allows = own.get("allowPrivilegeEscalation")
    return pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=capabilities.get("add") or (), drop_capabilities=capabilities.get("drop") or ()
        ),
        privileged=privileged,
        namespace_options=namespaces(pod, target=target),
        run_as_user=_number(user),
        run_as_username=name if user is None else "",
        run_as_group=_number(own.get("runAsGroup", whole.get("runAsGroup"))),
        readonly_rootfs=bool(own.get("readOnlyRootFilesystem")),
        supplemental_groups=_groups(whole),
        no_new_privs=allows is False,
        masked_paths=() if unmasked else MASKED,
        readonly_paths=() if unmasked else READONLY,
        seccomp=_profile(
            own.get("seccompProfile") or whole.get("seccompProfile") or (DEFAULT if seccomp_default else None),
            privileged=privileged,
        ),
        apparmor=_apparmor(own.get("appArmorProfile") or whole.get("appArmorProfile")),
    )


def _user(own: Object, whole: Object, image: pb.Image | None) -> tuple[int | None, str]:
    user = own.get("runAsUser", whole.get("runAsUser"))
    if user is not None or image is None:
        return user, ""
    if image.HasField("uid"):
        return int(image.uid.value), ""
    return (None, image.username) if image.username else (0, "")


def _check_user(pod: Object, container: Object, user: int | None, name: str, required: Any) -> None:
    if not required:
        return
    place = (
        f'(pod: "{pod["metadata"]["name"]}_{pod["metadata"].get("namespace", "")}({pod["metadata"].get("uid", "")})"'
    )
    place += f", container: {container['name']})"
    if user is None and name:
        raise BadConfig(
            f"container has runAsNonRoot and image has non-numeric user ({name}), "
            f"cannot verify user is non-root {place}"
        )
    if user == 0:
        raise BadConfig(f"container has runAsNonRoot and image will run as root {place}")


def _groups(context: Object) -> list[int]:
    groups = list(context.get("supplementalGroups") or ())
    if context.get("fsGroup") is not None:
        groups.append(context["fsGroup"])
    return groups


def _number(value: int | None) -> pb.Int64Value | None:
    return None if value is None else pb.Int64Value(value=value)


def _profile(profile: Object | None, *, privileged: bool) -> pb.SecurityProfile:
    if privileged or not profile:
        return pb.SecurityProfile(profile_type=pb.SecurityProfile.Unconfined)
    kind = PROFILES.get(profile.get("type", ""), 1)
    local = f"/var/lib/kubelet/seccomp/{profile['localhostProfile']}" if kind == 2 else ""
    return pb.SecurityProfile(profile_type=kind, localhost_ref=local)  # type: ignore[arg-type]


def _apparmor(profile: Object | None) -> pb.SecurityProfile | None:
    if not profile:
        return None
    kind = PROFILES.get(profile.get("type", ""), 1)
    return pb.SecurityProfile(profile_type=kind, localhost_ref=profile.get("localhostProfile") or "")  # type: ignore[arg-type]
