"""Decides what to do for a pod from its spec and from what runs. Pure; kubelet/sync.py carries it out.

The rules are those of upstream's computePodActions and of KEP-753 (restartable init containers):
- Without a usable sandbox everything starts again in a new one, unless the pod is finished.
- Init containers run one after the other; a restartable one counts as done once it has started.
- An ordinary container runs again by the restart policy, and anew when its spec's image changed or a probe failed it.
- When nothing is left to run, the pod is stopped.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pynetes.kubelet import podspec
from pynetes.kubelet.cri.state import Container, PodRuntime, State
from pynetes.machinery.meta import Object


@dataclass(frozen=True, kw_only=True)
class Kill:
    """A container to stop, and why (as the Killing event says it)."""

    container: Container
    message: str
    #: A failed probe may bring its own grace period.
    probe: str = ""


@dataclass(kw_only=True)
class Actions:
    """What to do, in the order of the fields."""

    kill_pod: bool = False
    create_sandbox: bool = False
    attempt: int = 0
    kill: list[Kill] = field(default_factory=list)
    #: Names of containers to start, in order.
    start: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.kill_pod or self.create_sandbox or bool(self.kill) or bool(self.start)


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the probes found, by container ID."""

    #: Failed liveness or startup probes: container ID to the kind of the probe.
    failed: dict[str, str] = field(default_factory=dict)
    #: Whether a running container counts as started: no startup probe, or one that has succeeded.
    started: Callable[[Container], bool] = lambda container: True


def decide(pod: Object, runtime: PodRuntime, probed: Probed) -> Actions:
    """What the pod needs now."""
    if _needs_sandbox(pod, runtime):
        return _anew(pod, runtime)
    actions = Actions()
    if not _inits(pod, runtime, probed, actions):
        return Actions(kill_pod=not runtime.at_rest) if actions.kill_pod else actions
    ordinary = Actions()
    kept = sum(_regular(pod, container, runtime, probed, ordinary) for container in podspec.regulars(pod))
    if not kept and not ordinary.start:
        # Restartable init containers would else keep a finished pod alive.
        return Actions(kill_pod=not runtime.at_rest)
    debug = [one["name"] for one in podspec.ephemerals(pod) if runtime.current(one["name"]) is None]
    return Actions(kill=actions.kill + ordinary.kill, start=debug + actions.start + ordinary.start)


def _needs_sandbox(pod: Object, runtime: PodRuntime) -> bool:
    sandbox = runtime.sandbox
    if sandbox is None or not sandbox.ready or sum(one.ready for one in runtime.sandboxes) > 1:
        return True
    return not podspec.host_network(pod) and not sandbox.ips


def _anew(pod: Object, runtime: PodRuntime) -> Actions:
    attempt = runtime.sandbox.attempt + 1 if runtime.sandbox else 0
    if attempt and podspec.restart_policy(pod) == "Never" and runtime.containers:
        return Actions(kill_pod=not runtime.at_rest)
    left = [one["name"] for one in podspec.regulars(pod) if not _succeeded(pod, one, runtime)]
    if not left:
        return Actions(kill_pod=not runtime.at_rest)
    first = [one["name"] for one in podspec.inits(pod)][:1]
    return Actions(
        kill_pod=not runtime.at_rest, create_sandbox=True, attempt=attempt, start=first or _with_ephemerals(pod, left)
    )


def _with_ephemerals(pod: Object, names: list[str]) -> list[str]:
    return [*(one["name"] for one in podspec.ephemerals(pod)), *names]


def _succeeded(pod: Object, container: Object, runtime: PodRuntime) -> bool:
    latest = runtime.latest(container["name"])
    return bool(latest and latest.state == State.EXITED and not podspec.restarts(pod, container, latest.exit_code))


def _inits(pod: Object, runtime: PodRuntime, probed: Probed, actions: Actions) -> bool:
    """Add what init containers need; whether ordinary containers may run."""
    initialized = has_initialized(pod, runtime)
    for container in podspec.inits(pod):
        current = runtime.current(container["name"])
        if podspec.is_sidecar(container):
            done = _sidecar(container, current, probed, actions)
        elif initialized:
            done = True
        else:
            done = _init(pod, container, current, actions)
        if not done and not initialized:
            return False
    return not actions.kill_pod


def _init(pod: Object, container: Object, current: Container | None, actions: Actions) -> bool:
    if current is None or current.state == State.CREATED:
        actions.start.append(container["name"])
        return False
    if current.state == State.EXITED:
        if current.exit_code == 0:
            return True
        if podspec.restart_policy(pod) == "Never":
            actions.kill_pod = True
        else:
            actions.start.append(container["name"])
        return False
    if current.state == State.UNKNOWN:
        actions.kill.append(Kill(container=current, message=f"Init container {current.name} is in unknown state"))
        actions.start.append(container["name"])
    return False


def _sidecar(container: Object, current: Container | None, probed: Probed, actions: Actions) -> bool:
    if current is None or current.state in (State.CREATED, State.EXITED):
        actions.start.append(container["name"])
        return False
    for kill in _outdated(container, current, probed):
        actions.kill.append(kill)
        actions.start.append(container["name"])
        return False
    return probed.started(current)


def _regular(pod: Object, container: Object, runtime: PodRuntime, probed: Probed, actions: Actions) -> bool:
    """Add what an ordinary container needs; whether it goes on as it is."""
    current = runtime.current(container["name"])
    if current is None or current.state == State.CREATED:
        actions.start.append(container["name"])
        return False
    if current.state == State.EXITED:
        if podspec.restarts(pod, container, current.exit_code):
            actions.start.append(container["name"])
        return False
    for kill in _outdated(container, current, probed):
        actions.kill.append(kill)
        # A container that a probe failed ends by TERM or KILL: only the policy Never lets it rest.
        if podspec.restarts(pod, container, 137) or not kill.probe:
            actions.start.append(container["name"])
        return False
    return True


def _outdated(container: Object, current: Container, probed: Probed) -> Iterator[Kill]:
    name = current.name
    if current.state == State.UNKNOWN:
        yield Kill(container=current, message=f"Container {name} is in unknown state, try killing it before restart")
    elif current.hash and current.hash != podspec.container_hash(container):
        yield Kill(container=current, message=f"Container {name} definition changed, will be restarted")
    elif current.id in probed.failed:
        probe = probed.failed[current.id]
        yield Kill(container=current, message=f"Container {name} failed {probe} probe, will be restarted", probe=probe)


def has_initialized(pod: Object, runtime: PodRuntime) -> bool:
    """Whether the init containers have done their work in the present sandbox.

    An ordinary container that exists proves it, since init containers may have been removed since.
    """
    return any(runtime.current(container["name"]) for container in podspec.regulars(pod))
