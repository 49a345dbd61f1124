"""The Pod Security Standards, baseline and restricted, one function per control. Pure.

Each control yields at most one text, "what is wrong (where)", in upstream's words. The tables have them in the order in
which messages list them, with the version of Kubernetes in which each became one: a namespace may ask for the standards
as an older version defined them.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pynetes.machinery.field import quote
from pynetes.machinery.meta import Object

CAPABILITIES = frozenset(
    [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ]
)
SYSCTLS = frozenset(
    [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ]
)
SELINUX_TYPES = frozenset(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"))
VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)


def containers(spec: Object) -> Iterator[Object]:
    """All containers, in the order in which upstream visits them."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def _context(holder: Object) -> Object:
    context: Object = holder.get("securityContext") or {}
    return context


def _named(names: Sequence[str], kind: str = "container") -> str:
    plural = kind if len(names) == 1 else f"{kind}s"
    return f"{plural} {', '.join(quote(name) for name in names)}"


def _windows(spec: Object) -> bool:
    return bool((spec.get("os") or {}).get("name") == "windows")


def _host_namespaces(spec: Object) -> Iterator[str]:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if used:
        yield f"host namespaces ({', '.join(used)})"


def _privileged(spec: Object) -> Iterator[str]:
    bad = [c["name"] for c in containers(spec) if _context(c).get("privileged")]
    if bad:
        yield f"privileged ({_named(bad)} must not set securityContext.privileged=true)"


def _added(spec: Object) -> Iterator[tuple[str, list[str]]]:
    for container in containers(spec):
        yield container["name"], list((_context(container).get("capabilities") or {}).get("add") or ())


def _capabilities(spec: Object) -> Iterator[str]:
    bad = [name for name, added in _added(spec) if set(added) - CAPABILITIES]
    forbidden = sorted({item for _, added in _added(spec) for item in added if item not in CAPABILITIES})
    if bad:
        listed = ", ".join(quote(item) for item in forbidden)
        yield f"non-default capabilities ({_named(bad)} must not include {listed} in securityContext.capabilities.add)"


def _capabilities_restricted(spec: Object) -> Iterator[str]:
    if _windows(spec):
        return
    undropped = [
        c["name"] for c in containers(spec) if "ALL" not in ((_context(c).get("capabilities") or {}).get("drop") or ())
    ]
    added = [name for name, found in _added(spec) if set(found) - {"NET_BIND_SERVICE"}]
    parts = []
    if undropped:
        parts.append(f'{_named(undropped)} must set securityContext.capabilities.drop=["ALL"]')
    if added:
        forbidden = sorted({item for _, found in _added(spec) for item in found if item != "NET_BIND_SERVICE"})
        listed = ", ".join(quote(item) for item in forbidden)
        parts.append(f"{_named(added)} must not include {listed} in securityContext.capabilities.add")
    if parts:
        yield f"unrestricted capabilities ({'; '.join(parts)})"


def _host_path(spec: Object) -> Iterator[str]:
    bad = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    if bad:
        yield f"hostPath volumes ({_named(bad, 'volume')})"


def _volume_types(spec: Object) -> Iterator[str]:
    bad: list[str] = []
    kinds: list[str] = []
    for volume in spec.get("volumes") or ():
        used = [kind for kind in volume if kind != "name" and volume[kind] is not None]
        if not any(kind in VOLUMES for kind in used):
            bad.append(volume["name"])
            kinds += used or ["unknown"]
    if bad:
        listed = ", ".join(quote(kind) for kind in sorted(set(kinds)))
        verb, noun = ("uses", "type") if len(bad) == 1 else ("use", "types")
        yield f"restricted volume types ({_named(bad, 'volume')} {verb} restricted volume {noun} {listed})"


def _host_ports(spec: Object) -> Iterator[str]:
    bad, ports = [], set()
    for container in containers(spec):
        used = {port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")}
        if used:
            bad.append(container["name"])
            ports |= used
    if bad:
        verb, noun = ("uses", "hostPort") if len(bad) == 1 else ("use", "hostPorts")
        noun = "hostPort" if len(ports) == 1 else "hostPorts"
        yield f"hostPort ({_named(bad)} {verb} {noun} {', '.join(str(port) for port in sorted(ports))})"


def _proc_mount(spec: Object) -> Iterator[str]:
    bad = [c["name"] for c in containers(spec) if _context(c).get("procMount") not in (None, "Default")]
    kinds = sorted({_context(c)["procMount"] for c in containers(spec) if c["name"] in bad})
    if bad:
        listed = ", ".join(quote(kind) for kind in kinds)
        yield f"procMount ({_named(bad)} must not set securityContext.procMount to {listed})"


def _host_process(spec: Object) -> Iterator[str]:
    bad = [c["name"] for c in containers(spec) if (_context(c).get("windowsOptions") or {}).get("hostProcess")]
    parts = ["pod"] if (_context(spec).get("windowsOptions") or {}).get("hostProcess") else []
    parts += [_named(bad)] if bad else []
    if parts:
        yield f"hostProcess ({' and '.join(parts)} must not set securityContext.windowsOptions.hostProcess=true)"


def _seccomp(spec: Object) -> Iterator[str]:
    def unconfined(holder: Object) -> bool:
        return (_context(holder).get("seccompProfile") or {}).get("type") == "Unconfined"

    bad = [c["name"] for c in containers(spec) if unconfined(c)]
    parts = ["pod"] if unconfined(spec) else []
    parts += [_named(bad)] if bad else []
    if parts:
        setting = 'securityContext.seccompProfile.type to "Unconfined"'
        yield f"seccompProfile ({' and '.join(parts)} must not set {setting})"


def _seccomp_restricted(spec: Object) -> Iterator[str]:
    if _windows(spec):
        return
    allowed = ("RuntimeDefault", "Localhost")
    whole = (_context(spec).get("seccompProfile") or {}).get("type")
    own = {c["name"]: (_context(c).get("seccompProfile") or {}).get("type") for c in containers(spec)}
    wrong = [name for name, kind in own.items() if kind is not None and kind not in allowed]
    parts = ["pod"] if whole is not None and whole not in allowed else []
    parts += [_named(wrong)] if wrong else []
    if parts:
        kinds = sorted({kind for kind in (*own.values(), whole) if kind is not None and kind not in allowed})
        listed = ", ".join(quote(kind) for kind in kinds)
        yield f"seccompProfile ({' and '.join(parts)} must not set securityContext.seccompProfile.type to {listed})"
        return
    if whole is None:
        silent = [name for name, kind in own.items() if kind is None]
        if silent:
            setting = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
            yield f"seccompProfile (pod or {_named(silent)} must set {setting})"


def _selinux(spec: Object, version: int) -> Iterator[str]:
    known = SELINUX_TYPES if version >= LATER_SELINUX[1] else SELINUX_TYPES - {LATER_SELINUX[0]}
    bad = []
    for name, holder in (("pod", spec), *((f"container {quote(c['name'])}", c) for c in containers(spec))):
        options = _context(holder).get("seLinuxOptions") or {}
        if (options.get("type") or "") not in known or options.get("user") or options.get("role"):
            bad.append(name)
    if bad:
        yield f"seLinuxOptions ({' and '.join(bad)} set forbidden securityContext.seLinuxOptions)"


def _sysctls(spec: Object, version: int) -> Iterator[str]:
    named = [item["name"] for item in _context(spec).get("sysctls") or ()]
    bad = [name for name in named if name not in SYSCTLS or version < LATER_SYSCTLS.get(name, 0)]
    if bad:
        yield f"forbidden sysctls ({', '.join(bad)})"


def _escalation(spec: Object) -> Iterator[str]:
    if _windows(spec):
        return
    bad = [c["name"] for c in containers(spec) if _context(c).get("allowPrivilegeEscalation") is not False]
    if bad:
        yield (
            f"allowPrivilegeEscalation != false ({_named(bad)} must set securityContext.allowPrivilegeEscalation=false)"
        )


def _non_root(spec: Object) -> Iterator[str]:
    whole = _context(spec).get("runAsNonRoot")
    own = {c["name"]: _context(c).get("runAsNonRoot") for c in containers(spec)}
    parts = ["pod"] if whole is False and any(value is None for value in own.values()) else []
    wrong = [name for name, value in own.items() if value is False]
    parts += [_named(wrong)] if wrong else []
    if parts:
        yield f"runAsNonRoot != true ({' and '.join(parts)} must not set securityContext.runAsNonRoot=false)"
        return
    silent = [name for name, value in own.items() if value is None]
    if whole is None and silent:
        yield f"runAsNonRoot != true (pod or {_named(silent)} must set securityContext.runAsNonRoot=true)"


def _root_user(spec: Object) -> Iterator[str]:
    bad = [c["name"] for c in containers(spec) if _context(c).get("runAsUser") == 0]
    parts = ["pod"] if _context(spec).get("runAsUser") == 0 else []
    parts += [_named(bad)] if bad else []
    if parts:
        yield f"runAsUser=0 ({' and '.join(parts)} must not set runAsUser=0)"


def _app_armor(spec: Object) -> Iterator[str]:
    """The fields; annotations of before 1.30 become fields when a pod is stored."""
    holders = [("pod", spec), *((f"container {quote(c['name'])}", c) for c in containers(spec))]
    bad = [
        name for name, holder in holders if (_context(holder).get("appArmorProfile") or {}).get("type") == "Unconfined"
    ]
    if bad:
        yield f'forbidden AppArmor profile ({" and ".join(bad)} must not set AppArmor profile type to "Unconfined")'


def _annotated_app_armor(annotations: Object) -> Iterator[str]:
    prefix = "container.apparmor.security.beta.kubernetes.io/"
    bad = [
        f"{name}={quote(value)}"
        for name, value in sorted(annotations.items())
        if name.startswith(prefix) and value not in ("", "runtime/default") and not value.startswith("localhost/")
    ]
    if bad:
        yield f"forbidden AppArmor profile{'s' if len(bad) > 1 else ''} ({', '.join(bad)})"


def _probe_hosts(spec: Object) -> Iterator[str]:
    """Probes and hooks reach what the node reaches: a host other than the pod would be asked from there."""
    bad, hosts = set(), set()
    for container in containers(spec):
        hooks = container.get("lifecycle") or {}
        handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [hooks.get(name) for name in ("postStart", "preStop")]
        for handler in handlers:
            for kind in ("httpGet", "tcpSocket"):
                if host := ((handler or {}).get(kind) or {}).get("host"):
                    bad.add(container["name"])
                    hosts.add(host)
    if bad:
        verb, noun = "uses" if len(bad) == 1 else "use", "host" if len(hosts) == 1 else "hosts"
        listed = ", ".join(quote(host) for host in sorted(hosts))
        yield f"probe or lifecycle host ({_named(sorted(bad))} {verb} probe or lifecycle {noun} {listed})"


#: Settings of the kernel that became safe later: name → minor version since which they are allowed.
LATER_SYSCTLS = {
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}
#: Since this version Windows pods need not say what means nothing to them.
WINDOWS = 25
#: The SELinux type that came later.
LATER_SELINUX = ("container_engine_t", 31)
LATEST = 36


class Control(NamedTuple):
    """A rule of one level, and since which minor version of Kubernetes it is one."""

    check: Callable[..., Iterator[str]]
    since: int = 0
    #: Whether it also differs by version.
    versioned: bool = False


#: In both levels.
COMMON = (
    Control(_app_armor),
    Control(_host_namespaces),
    Control(_host_ports),
    Control(_probe_hosts, 34),
    Control(_privileged),
    Control(_proc_mount),
    Control(_selinux, versioned=True),
    Control(_sysctls, versioned=True),
    Control(_host_process),
)
#: In baseline only: restricted has stricter ones in their place.
BASELINE = (Control(_capabilities), Control(_host_path), Control(_seccomp, 19))
RESTRICTED = (
    Control(_escalation, 8),
    Control(_capabilities_restricted, 22),
    Control(_volume_types),
    Control(_non_root),
    Control(_root_user, 23),
    Control(_seccomp_restricted, 19),
)


def violations(level: str, spec: Object, *, version: int = LATEST, annotations: Object | None = None) -> Iterator[str]:
    """Everything about a pod that is below the level, as that minor version of Kubernetes defined it."""
    if level == "privileged":
        return
    yield from _annotated_app_armor(annotations or {})
    # A pod that says it is for Windows was not told apart before.
    judged = {**spec, "os": None} if version < WINDOWS else spec
    for control in (*COMMON, *(BASELINE if level == "baseline" else RESTRICTED)):
        if version >= control.since:
            yield from control.check(judged, version) if control.versioned else control.check(judged)


def significant(pod: Object, old: Object) -> bool:
    """Whether an update of a pod must be judged again: another image, or another container."""
    kinds = ("containers", "initContainers")
    if any(_images(pod, kind) != _images(old, kind) for kind in kinds):
        return True
    before = dict(_images(old, "ephemeralContainers"))
    return any(before.get(name) != image for name, image in _images(pod, "ephemeralContainers"))


def _images(spec: Object, kind: str) -> list[tuple[str, str]]:
    return [(each["name"], each.get("image") or "") for each in spec.get(kind) or ()]
