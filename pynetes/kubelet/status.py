"""Makes a pod's status from its spec, from what runs, and from what probes and starts have found. Pure.

The rules for phase and conditions are those of the Pod Lifecycle page and of upstream's status generation.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from pynetes.kubelet import lifecycle, podspec, qos
from pynetes.kubelet.cri.state import Container, PodRuntime, State
from pynetes.kubelet.resize import IN_PROGRESS, PENDING, Shown
from pynetes.machinery.meta import Object

CONTAINER_STATUS_UNKNOWN = "ContainerStatusUnknown"


class Waiting(NamedTuple):
    """Why a container does not run now."""

    reason: str
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What goes into a status beside the pod and its runtime."""

    now: datetime
    #: By container name: why it cannot run at the moment (CrashLoopBackOff, ErrImagePull, …).
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    ready: Callable[[Container], bool] = lambda container: True
    started: Callable[[Container], bool] = lambda container: True
    host_ips: Sequence[str] = ()
    #: Everything has stopped for good, whatever the restart policy says.
    terminal: bool = False
    #: Set for a pod that the kubelet itself ended: (reason, message), as Evicted or DeadlineExceeded.
    failed: tuple[str, str] | None = None
    runtime_name: str = "containerd"
    resizes: Shown = field(default_factory=Shown)


def generate(pod: Object, runtime: PodRuntime, facts: Facts) -> Object:
    """The whole status of a pod; conditions of others are kept."""
    old = pod.get("status") or {}
    initialized = lifecycle.has_initialized(pod, runtime)
    default = Waiting("PodInitializing" if podspec.inits(pod) and not initialized else "ContainerCreating")
    status: Object = {"observedGeneration": pod["metadata"].get("generation", 1)}
    ordinary = [_container(pod, one, runtime, facts, default, old) for one in podspec.regulars(pod)]
    init = [_container(pod, one, runtime, facts, Waiting("PodInitializing"), old) for one in podspec.inits(pod)]
    debug = [_container(pod, one, runtime, facts, default, old) for one in podspec.ephemerals(pod)]
    for container, shown in zip(podspec.inits(pod), init, strict=True):
        if not podspec.is_sidecar(container):
            shown["ready"] = (shown["state"].get("terminated") or {}).get("exitCode") == 0
    status["phase"] = _phase(pod, ordinary, init, facts, old)
    if facts.failed:
        status["reason"], status["message"] = facts.failed
    elif status["phase"] == "Failed" and old.get("reason"):
        status["reason"], status["message"] = old["reason"], old.get("message", "")
    status["qosClass"] = old.get("qosClass") or qos.of_pod(pod)
    status["startTime"] = old.get("startTime") or stamp(facts.now)
    if facts.host_ips:
        status["hostIP"], status["hostIPs"] = facts.host_ips[0], [{"ip": ip} for ip in facts.host_ips]
    status.update(_addresses(pod, runtime, facts, old))
    if init:
        status["initContainerStatuses"] = init
    status["containerStatuses"] = sorted(ordinary, key=lambda one: str(one["name"]))
    if debug:
        status["ephemeralContainerStatuses"] = debug
    status["conditions"] = _conditions(pod, runtime, status, facts, old)
    return status


def stamp(when: datetime | None) -> str | None:
    """A time as the API writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def _addresses(pod: Object, runtime: PodRuntime, facts: Facts, old: Object) -> Object:
    ips = list(facts.host_ips) if podspec.host_network(pod) and runtime.sandbox else list(runtime.ips)
    # A finished pod keeps the address it had.
    ips = ips or [entry["ip"] for entry in old.get("podIPs") or ()]
    return {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]} if ips else {}


def _container(
    pod: Object, container: Object, runtime: PodRuntime, facts: Facts, default: Waiting, old: Object
) -> Object:
    name = container["name"]
    attempts = runtime.attempts(name)
    waiting = facts.waiting.get(name)
    before = _old_status(old, name)
    if not attempts:
        return _without_attempt(container, before, waiting or default)
    latest = attempts[0]
    last = next((_terminated(one, facts) for one in attempts[1:] if one.state == State.EXITED), None)
    running = latest.state == State.RUNNING
    state: Object
    if running:
        state = {"running": {"startedAt": stamp(latest.started)}}
    elif latest.state == State.CREATED:
        state = {"waiting": _reason(waiting or Waiting("ContainerCreating"))}
    elif waiting:
        state, last = {"waiting": _reason(waiting)}, _terminated(latest, facts)
    else:
        state = {"terminated": _terminated(latest, facts)}
    started = running and facts.started(latest)
    shown: Object = {
        "name": name,
        "state": state,
        "lastState": {"terminated": last} if last else {},
        "ready": running and started and facts.ready(latest),
        "restartCount": latest.attempt,
        "image": container.get("image", "") if latest.image.startswith("sha256:") else latest.image,
        "imageID": latest.image_id,
        "containerID": f"{facts.runtime_name}://{latest.id}",
        "started": started,
    }
    if running:
        shown.update(_resources(container, facts.resizes))
    if latest.stop_signal:
        shown["stopSignal"] = latest.stop_signal
    mounts = _mounts(container, latest.recursive)
    return {**shown, "volumeMounts": mounts} if mounts else shown


def _without_attempt(container: Object, before: Object | None, waiting: Waiting) -> Object:
    """A container that the runtime does not know: not yet, or no more."""
    if before and (before.get("state") or {}).get("terminated"):
        return before
    shown: Object = {
        "name": container["name"],
        "state": {"waiting": _reason(waiting)},
        "lastState": (before or {}).get("lastState") or {},
        "ready": False,
        "restartCount": (before or {}).get("restartCount", 0),
        "image": container.get("image", ""),
        "imageID": "",
        "started": False,
    }
    if before and (before.get("state") or {}).get("running"):
        message = "The container could not be located when the pod was terminated"
        lost = {"exitCode": 137, "reason": CONTAINER_STATUS_UNKNOWN, "message": message}
        shown["lastState"] = {"terminated": {**lost, "startedAt": None, "finishedAt": None}}
        shown["restartCount"] += 1
    mounts = _mounts(container)
    return {**shown, "volumeMounts": mounts} if mounts else shown


def _old_status(old: Object, name: str) -> Object | None:
    for kind in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for shown in old.get(kind) or ():
            if shown["name"] == name:
                return dict(shown)
    return None


def _reason(waiting: Waiting) -> Object:
    return {"reason": waiting.reason, "message": waiting.message} if waiting.message else {"reason": waiting.reason}


def _terminated(container: Container, facts: Facts) -> Object:
    unknown = container.state == State.UNKNOWN
    shown: Object = {
        "exitCode": 137 if unknown else container.exit_code,
        "reason": CONTAINER_STATUS_UNKNOWN if unknown else container.reason or _exit_reason(container.exit_code),
        "startedAt": stamp(container.started),
        "finishedAt": stamp(container.finished),
        "containerID": f"{facts.runtime_name}://{container.id}",
    }
    if container.message:
        shown["message"] = container.message
    return shown


def _exit_reason(exit_code: int) -> str:
    return "Error" if exit_code else "Completed"


def _resources(container: Object, resizes: Shown) -> Object:
    """What the container runs with, and what it was granted."""
    own: Object = container.get("resources") or {}
    granted: Object = resizes.allocated.get(container["name"], own)
    shown: Object = {"resources": resizes.actuated.get(container["name"], granted)}
    if granted.get("requests"):
        shown["allocatedResources"] = granted["requests"]
    return shown


def _mounts(container: Object, recursive: Collection[str] = ()) -> list[Object]:
    """The mounts as they are; recursive says which, once the container is there."""
    shown = []
    for mount in container.get("volumeMounts") or ():
        entry: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            wholly = mount["mountPath"] in recursive
            entry.update(readOnly=True, recursiveReadOnly="Enabled" if wholly else "Disabled")
        shown.append(entry)
    return shown


def _phase(pod: Object, ordinary: list[Object], init: list[Object], facts: Facts, old: Object) -> str:
    if old.get("phase") in ("Failed", "Succeeded"):
        return str(old["phase"])
    if facts.failed:
        return "Failed"
    policy = podspec.restart_policy(pod)
    pending, failed = _init_counts(pod, init)
    if failed and policy == "Never":
        return "Failed"
    states = [_kind(one) for one in ordinary]
    begun = any(state in ("running", "stopped") for state in states)
    if facts.terminal:
        done = all(state == "stopped" for state in states)
        return "Succeeded" if done and all(_exit_code(one) == 0 for one in ordinary) else "Failed"
    if (pending or failed) and not begun:
        return "Pending"
    if "waiting" in states or not begun:
        return "Pending"
    if "running" in states or policy == "Always":
        return "Running"
    if all(_exit_code(one) == 0 for one in ordinary):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def _init_counts(pod: Object, init: list[Object]) -> tuple[int, int]:
    """How many init containers still have to run, and how many failed."""
    pending = failed = 0
    for container, shown in zip(podspec.inits(pod), init, strict=True):
        if podspec.is_sidecar(container):
            pending += not shown["started"]
            continue
        ended = shown["state"].get("terminated") or (shown["lastState"] or {}).get("terminated")
        failed += bool(ended and ended["exitCode"])
        pending += not ended
    return pending, failed


def _kind(shown: Object) -> str:
    if "running" in shown["state"]:
        return "running"
    if "terminated" in shown["state"] or (shown.get("lastState") or {}).get("terminated"):
        return "stopped"
    return "waiting"


def _exit_code(shown: Object) -> int:
    ended = shown["state"].get("terminated") or (shown.get("lastState") or {}).get("terminated")
    return int(ended["exitCode"]) if ended else -1


def _conditions(pod: Object, runtime: PodRuntime, status: Object, facts: Facts, old: Object) -> list[Object]:
    phase = status["phase"]
    networked = bool(runtime.sandbox and runtime.sandbox.ready and (podspec.host_network(pod) or runtime.ips))
    made = [
        _condition("PodReadyToStartContainers", networked and phase not in ("Succeeded", "Failed")),
        _initialized(pod, status),
        _readiness("Ready", pod, status, old),
        _readiness("ContainersReady", pod, status, old),
        _condition("PodScheduled", True),
        *({**_condition(one["type"], True), **one} for one in facts.resizes.conditions),
    ]
    if facts.failed and facts.failed[0] == "Evicted":
        made.append(_condition("DisruptionTarget", True, "TerminationByKubelet", facts.failed[1]))
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    for condition in made:
        condition["observedGeneration"] = status["observedGeneration"]
        known = before.pop(condition["type"], None)
        kept = known is not None and known["status"] == condition["status"]
        condition["lastTransitionTime"] = known["lastTransitionTime"] if known and kept else stamp(facts.now)
    # A resize that is over leaves no condition.
    return [*(one for one in before.values() if one["type"] not in (PENDING, IN_PROGRESS)), *made]


def _condition(kind: str, value: bool, reason: str = "", message: str = "") -> Object:
    condition: Object = {"type": kind, "status": "True" if value else "False", "lastProbeTime": None}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _initialized(pod: Object, status: Object) -> Object:
    if status["phase"] == "Succeeded":
        return _condition("Initialized", True, "PodCompleted")
    shown = status.get("initContainerStatuses") or []
    incomplete = [
        one["name"]
        for container, one in zip(podspec.inits(pod), shown, strict=False)
        if not (one["started"] if podspec.is_sidecar(container) else one["ready"])
    ]
    if not incomplete or any(_kind(one) != "waiting" for one in status["containerStatuses"]):
        return _condition("Initialized", True)
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return _condition("Initialized", False, "ContainersNotInitialized", message)


def _readiness(kind: str, pod: Object, status: Object, old: Object) -> Object:
    if status["phase"] == "Succeeded":
        return _condition(kind, False, "PodCompleted")
    if status["phase"] == "Failed":
        return _condition(kind, False, "PodFailed")
    by_name = {one["name"]: one for one in status["containerStatuses"]}
    by_name.update({one["name"]: one for one in status.get("initContainerStatuses") or ()})
    counted = [one for one in podspec.inits(pod) if podspec.is_sidecar(one)] + podspec.regulars(pod)
    unready = [one["name"] for one in counted if not by_name[one["name"]]["ready"]]
    if unready:
        message = f"containers with unready status: [{' '.join(unready)}]"
        return _condition(kind, False, "ContainersNotReady", message)
    if kind == "Ready":
        states = {condition["type"]: condition["status"] for condition in old.get("conditions") or ()}
        for gate in pod["spec"].get("readinessGates") or ():
            name = gate["conditionType"]
            if name not in states:
                return _condition(
                    kind,
                    False,
                    "ReadinessGatesNotReady",
                    f'corresponding condition of pod readiness gate "{name}" does not exist.',
                )
            if states[name] != "True":
                message = f'the status of pod readiness gate "{name}" is not "True", but {states[name]}'
                return _condition(kind, False, "ReadinessGatesNotReady", message)
    return _condition(kind, True)
