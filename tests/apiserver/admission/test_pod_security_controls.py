"""Every control of the Pod Security Standards, from the side of a pod that is below it by that one thing only."""

import copy
from typing import Any

import pytest

from pynetes.apiserver.admission import pod_security_standards as standards
from pynetes.apiserver.admission.pod_security import policy_of
from pynetes.machinery.meta import Object

#: A pod that meets restricted.
GOOD: Object = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "c",
            "image": "i",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
    "volumes": [{"name": kind, kind: {}} for kind in ("configMap", "emptyDir", "secret", "projected", "csi")],
}

#: Control → what to change, in the pod ("pod.…") or its container, and the beginning of the text.
BASELINE: dict[str, tuple[str, Any, str]] = {
    "host network": ("pod.hostNetwork", True, "host namespaces (hostNetwork=true"),
    "host processes": ("pod.hostPID", True, "host namespaces (hostPID=true"),
    "host memory": ("pod.hostIPC", True, "host namespaces (hostIPC=true"),
    "privileged": ("securityContext.privileged", True, "privileged (container"),
    "host path": ("pod.volumes", [{"name": "h", "hostPath": {"path": "/"}}], ""),
    "host port": ("ports", [{"containerPort": 1, "hostPort": 1}], "hostPort (container"),
    "apparmor, pod": ("pod.securityContext.appArmorProfile", {"type": "Unconfined"}, "forbidden AppArmor profile"),
    "apparmor": ("securityContext.appArmorProfile", {"type": "Unconfined"}, "forbidden AppArmor profile"),
    "selinux type": ("securityContext.seLinuxOptions", {"type": "spc_t"}, "seLinuxOptions (container"),
    "selinux user": ("pod.securityContext.seLinuxOptions", {"user": "system_u"}, "seLinuxOptions (pod"),
    "selinux role": ("pod.securityContext.seLinuxOptions", {"role": "sysadm_r"}, "seLinuxOptions (pod"),
    "proc": ("securityContext.procMount", "Unmasked", "procMount (container"),
    "seccomp, pod": ("pod.securityContext.seccompProfile", {"type": "Unconfined"}, "seccompProfile (pod"),
    "seccomp": ("securityContext.seccompProfile", {"type": "Unconfined"}, "seccompProfile (container"),
    "sysctl": ("pod.securityContext.sysctls", [{"name": "kernel.msgmax", "value": "1"}], "forbidden sysctls (kernel"),
    "capability": ("securityContext.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, ""),
    "windows, pod": ("pod.securityContext.windowsOptions", {"hostProcess": True}, "hostProcess (pod"),
    "windows": ("securityContext.windowsOptions", {"hostProcess": True}, "hostProcess (container"),
    "probe": ("livenessProbe", {"httpGet": {"host": "169.254.169.254", "port": 80}}, "probe or lifecycle host"),
    "readiness": ("readinessProbe", {"tcpSocket": {"host": "127.0.0.1", "port": 1}}, "probe or lifecycle host"),
    "startup": ("startupProbe", {"httpGet": {"host": "x", "port": 1}}, "probe or lifecycle host"),
    "hook": ("lifecycle", {"preStop": {"httpGet": {"host": "127.0.0.1", "port": 1}}}, "probe or lifecycle host"),
    "first hook": ("lifecycle", {"postStart": {"tcpSocket": {"host": "127.0.0.1", "port": 1}}}, "probe or lifecycle"),
}
RESTRICTED: dict[str, tuple[str, Any, str]] = {
    "volume": ("pod.volumes", [{"name": "n", "nfs": {"server": "s", "path": "/"}}], "restricted volume types"),
    "escalation": ("securityContext.allowPrivilegeEscalation", True, "allowPrivilegeEscalation != false"),
    "escalation, silent": ("securityContext.allowPrivilegeEscalation", None, "allowPrivilegeEscalation != false"),
    "non-root": ("pod.securityContext.runAsNonRoot", None, "runAsNonRoot != true"),
    "non-root, container": ("securityContext.runAsNonRoot", False, "runAsNonRoot != true (container"),
    "root": ("securityContext.runAsUser", 0, "runAsUser=0 (container"),
    "root, pod": ("pod.securityContext.runAsUser", 0, "runAsUser=0 (pod"),
    "seccomp, none": ("pod.securityContext.seccompProfile", None, "seccompProfile (pod or container"),
    "not dropped": ("securityContext.capabilities", {"drop": ["CHOWN"]}, "unrestricted capabilities"),
    "added": ("securityContext.capabilities", {"drop": ["ALL"], "add": ["CHOWN"]}, "unrestricted capabilities"),
}


def below(where: str, value: Any, kind: str = "containers") -> Object:
    """GOOD, but for this; `kind` is the list whose container it is."""
    pod = copy.deepcopy(GOOD)
    if kind != "containers":
        pod[kind] = [{**copy.deepcopy(GOOD["containers"][0]), "name": "other"}]
    *path, last = where.removeprefix("pod.").split(".")
    at = pod if where.startswith("pod.") else pod[kind][0]
    for step in path:
        at = at.setdefault(step, {})
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return pod


def found(level: str, spec: Object, version: int = standards.LATEST) -> list[str]:
    return list(standards.violations(level, spec, version=version))


def test_a_good_pod_meets_all_levels() -> None:
    """What follows fails by what it changes."""
    assert not any(found(level, GOOD) for level in ("privileged", "baseline", "restricted"))


@pytest.mark.parametrize("control", BASELINE)
def test_baseline_controls(control: str) -> None:
    """One text, at baseline and at restricted; privileged says nothing."""
    where, value, text = BASELINE[control]
    for level in ("baseline", "restricted"):
        told = found(level, below(where, value))
        assert len(told) == 1 and told[0].startswith(text), told
    assert not found("privileged", below(where, value))


@pytest.mark.parametrize("control", RESTRICTED)
def test_restricted_controls(control: str) -> None:
    """At restricted only."""
    where, value, text = RESTRICTED[control]
    told = found("restricted", below(where, value))
    assert len(told) == 1 and told[0].startswith(text), told
    assert not found("baseline", below(where, value))


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
@pytest.mark.parametrize("control", [name for name in (BASELINE | RESTRICTED) if "pod" not in name])
def test_no_kind_of_container_is_forgotten(control: str, kind: str) -> None:
    """An init or ephemeral container is a container."""
    where, value, _ = (BASELINE | RESTRICTED)[control]
    if not where.startswith("pod."):
        assert found("restricted", below(where, value, kind))


def test_versions_pin_what_is_asked() -> None:
    """A namespace that asks for an older version gets its controls, not the newer ones, and not fewer than it had."""
    probe = below(*BASELINE["probe"][:2])
    assert found("baseline", probe, 34) and not found("baseline", probe, 33)
    escalation = below(*RESTRICTED["escalation"][:2])
    assert found("restricted", escalation, 8) and not found("restricted", escalation, 7)
    assert found("baseline", below("securityContext.privileged", True), 0)


def test_modes_have_levels_of_their_own() -> None:
    """enforce, audit and warn; a label that nobody understands is the strictest."""
    prefix = "pod-security.kubernetes.io/"
    labels = {f"{prefix}enforce": "baseline", f"{prefix}enforce-version": "v1.30", f"{prefix}audit": "nonsense"}
    told = {mode: str(judged) for mode, judged in policy_of(labels).items()}
    assert told == {"enforce": "baseline:v1.30", "audit": "restricted:latest", "warn": "baseline:v1.30"}
