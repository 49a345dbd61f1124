"""A pod in one line: what `kubectl get pods` says about readiness, state and restarts."""

from datetime import datetime
from typing import Any, NamedTuple

from pynetes.machinery import time
from pynetes.machinery.meta import Object


class Summary(NamedTuple):
    """READY, STATUS and RESTARTS."""

    ready: str
    reason: str
    restarts: str


def summary(pod: Object, now: datetime) -> Summary:
    """The cells of a pod."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }
    total = len(spec.get("containers") or ()) + len(sidecars)
    statuses, inits = status.get("containerStatuses") or [], status.get("initContainerStatuses") or []
    ready = sum(bool(item.get("ready")) and "running" in (item.get("state") or {}) for item in statuses)
    ready += sum(
        item.get("name") in sidecars and bool(item.get("started")) and bool(item.get("ready")) for item in inits
    )
    initializing = _initializing(spec, inits, sidecars)
    reason = status.get("reason") or status.get("phase") or "Unknown"
    if _gated(status):
        reason = "SchedulingGated"
    if initializing:
        reason = initializing
        counted = inits
    else:
        counted = statuses + [item for item in inits if item.get("name") in sidecars]
        reason = _container_reason(statuses, reason)
        if reason == "Completed" and any("running" in (item.get("state") or {}) for item in statuses):
            reason = "Running" if _is_ready(status) else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else _terminating(status, reason)
    return Summary(f"{ready}/{total}", reason, _restarts(counted, now))


def _terminating(status: Object, reason: str) -> str:
    return reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"


def _gated(status: Object) -> bool:
    return any(
        item["type"] == "PodScheduled" and item.get("reason") == "SchedulingGated"
        for item in status.get("conditions") or ()
    )


def _is_ready(status: Object) -> bool:
    return any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions") or ())


def _initializing(spec: Object, inits: list[Object], sidecars: set[str]) -> str:
    """Init:… for the first init container that holds the pod up, "" if none does."""
    for index, item in enumerate(inits):
        state = item.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if item.get("name") in sidecars and item.get("started"):
            continue
        if terminated is not None:
            return f"Init:{terminated.get('reason') or _exit(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(spec.get('initContainers') or ())}"
    return ""


def _exit(terminated: Object) -> str:
    if signal := terminated.get("signal"):
        return f"Signal:{signal}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _container_reason(statuses: list[Object], reason: str) -> str:
    # Upstream goes from the last container to the first and lets the first one win.
    for item in reversed(statuses):
        state = item.get("state") or {}
        terminated = state.get("terminated")
        if waiting := (state.get("waiting") or {}).get("reason"):
            reason = waiting
        elif terminated is not None:
            reason = terminated.get("reason") or _exit(terminated)
    return reason


def _restarts(statuses: list[Object], now: datetime) -> str:
    total = sum(item.get("restartCount", 0) for item in statuses)
    ended = [
        finished
        for item in statuses
        if (finished := ((item.get("lastState") or {}).get("terminated") or {}).get("finishedAt"))
    ]
    if not total or not ended:
        return str(total)
    return f"{total} ({time.human(now - max(time.parse(moment) for moment in ended))} ago)"


def ip_field(pod: Object, _: datetime | None = None) -> Any:
    """The pod's first address, for field selectors."""
    status = pod.get("status") or {}
    ips = status.get("podIPs")
    return (ips[0].get("ip") if ips else status.get("podIP")) or ""
