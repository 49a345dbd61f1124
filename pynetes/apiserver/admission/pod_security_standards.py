"""The Pod Security Standards, baseline and restricted, one function per control. Pure.

Each control yields at most one text, "what is wrong (where)", in upstream's words. CONTROLS has them in the order in
which messages list them; where restricted tightens a control of baseline, it replaces it.
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


def _selinux(spec: Object) -> Iterator[str]:
    bad = []
    for name, holder in (("pod", spec), *((f"container {quote(c['name'])}", c) for c in containers(spec))):
        options = _context(holder).get("seLinuxOptions") or {}
        if (options.get("type") or "") not in SELINUX_TYPES or options.get("user") or options.get("role"):
            bad.append(name)
    if bad:
        yield f"seLinuxOptions ({' and '.join(bad)} set forbidden securityContext.seLinuxOptions)"


def _sysctls(spec: Object) -> Iterator[str]:
    bad = [item["name"] for item in _context(spec).get("sysctls") or () if item["name"] not in SYSCTLS]
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


class Control(NamedTuple):
    """A rule at each level; None where the level has none."""

    baseline: Callable[[Object], Iterator[str]] | None
    restricted: Callable[[Object], Iterator[str]] | None


CONTROLS = (
    Control(_host_namespaces, _host_namespaces),
    Control(_privileged, _privileged),
    Control(None, _escalation),
    Control(_capabilities, _capabilities_restricted),
    Control(_host_path, _host_path),
    Control(_host_ports, _host_ports),
    Control(_host_process, _host_process),
    Control(_proc_mount, _proc_mount),
    Control(None, _volume_types),
    Control(None, _non_root),
    Control(None, _root_user),
    Control(_seccomp, _seccomp_restricted),
    Control(_selinux, _selinux),
    Control(_sysctls, _sysctls),
)


def violations(level: str, spec: Object) -> Iterator[str]:
    """Everything about a pod's spec that is below the level."""
    for control in CONTROLS:
        check = {"baseline": control.baseline, "restricted": control.restricted}.get(level)
        if check is not None:
            yield from check(spec)


def relevant(spec: Object) -> object:
    """What the controls look at: an update that leaves it alone is not judged again."""
    names = ("hostNetwork", "hostPID", "hostIPC", "securityContext", "volumes", "os")
    found = [(c["name"], c.get("securityContext"), c.get("ports")) for c in containers(spec)]
    return [spec.get(name) for name in names], found
