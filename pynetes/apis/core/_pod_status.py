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
    sidecars = {item["name"] for item in spec.get("initContainers") or () if item.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)
    reason = "SchedulingGated" if _gated(status) else status.get("reason") or status.get("phase") or "Unknown"
    # Upstream looks no further than to the init container that holds the pod up.
    seen, held = _initializing(spec, status.get("initContainerStatuses") or [], sidecars)
    ready = sum(item.get("name") in sidecars and _is_up(item) and bool(item.get("ready")) for item in seen)
    if held:
        reason = held
    if not held or _has(status, "Initialized"):
        statuses = status.get("containerStatuses") or []
        running = [item for item in statuses if item.get("ready") and _runs(item)]
        ready += len(running)
        seen = [*(item for item in seen if item.get("name") in sidecars), *statuses]
        reason = _container_reason(statuses, reason)
        if reason == "Completed" and running:
            reason = "Running" if _has(status, "Ready") else "NotReady"
    if pod["metadata"].get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else _terminating(status, reason)
    return Summary(f"{ready}/{total}", reason, _restarts(seen, now))


def _is_up(item: Object) -> bool:
    state = (item.get("state") or {}).get("terminated")
    return bool(item.get("started")) and not (state is not None and not state.get("exitCode"))


def _runs(item: Object) -> bool:
    """Running, and neither waiting for a reason nor ended."""
    state = item.get("state") or {}
    waits = (state.get("waiting") or {}).get("reason")
    return state.get("running") is not None and not waits and state.get("terminated") is None


def _terminating(status: Object, reason: str) -> str:
    return reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"


def _gated(status: Object) -> bool:
    return any(
        item["type"] == "PodScheduled" and item.get("reason") == "SchedulingGated"
        for item in status.get("conditions") or ()
    )


def _has(status: Object, kind: str) -> bool:
    return any(item["type"] == kind and item["status"] == "True" for item in status.get("conditions") or ())


def _initializing(spec: Object, inits: list[Object], sidecars: set[str]) -> tuple[list[Object], str]:
    """The init containers up to the first that holds the pod up, and Init:… for that one; "" if none does."""
    for index, item in enumerate(inits):
        state = item.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if item.get("name") in sidecars and item.get("started"):
            continue
        held = f"{index}/{len(spec.get('initContainers') or ())}"
        if terminated is not None:
            held = terminated.get("reason") or _exit(terminated)
        elif waiting.get("reason") and waiting["reason"] != "PodInitializing":
            held = waiting["reason"]
        return inits[: index + 1], f"Init:{held}"
    return inits, ""


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
