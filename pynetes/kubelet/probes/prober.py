"""Runs the probes of all containers and answers what they found.

A probe belongs to one container ID: a restarted container starts with a fresh verdict. Liveness and readiness wait for
the startup probe. A changed verdict wakes the pod's worker, which acts on it; nothing here stops a container.
"""

import asyncio
from collections.abc import Callable, Iterator

from pynetes.component import metrics
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group
from pynetes.kubelet import handlers, podspec
from pynetes.kubelet.cri.runtime import Runtime
from pynetes.kubelet.cri.state import Container, PodRuntime, State
from pynetes.kubelet.probes.judge import KINDS, Judge, timing
from pynetes.machinery.meta import Object

#: What /metrics/probes shows: apart from the component's own, since its size grows with the pods.
PROBES = metrics.Registry()
_TOTAL = PROBES.counter(
    "prober_probe_total",
    "Cumulative number of a liveness, readiness or startup probe for a container by result.",
    "container", "namespace", "pod", "pod_uid", "probe_type", "result",
)  # fmt: skip
_SECONDS = PROBES.histogram(
    "prober_probe_duration_seconds",
    "Duration in seconds for a probe response.",
    "probe_type", "container", "pod", "namespace",
)  # fmt: skip
_RESULTS = ("successful", "failed")

#: (pod, container name, kind of event, reason, message).
Report = Callable[[Object, str, str, str, str], None]


class Prober:
    """Probes, by container ID and kind."""

    def __init__(self, runtime: Runtime, clock: Clock, group: Group, *, wake: Callable[[str], None], report: Report):
        self._runtime, self._clock, self._group = runtime, clock, group
        self._wake, self._report = wake, report
        self._judges: dict[tuple[str, str], Judge] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._started: dict[str, asyncio.Event] = {}
        self._by_pod: dict[str, set[str]] = {}
        self._pods: dict[str, tuple[str, str]] = {}

    def sync(self, pod: Object, runtime: PodRuntime, ips: tuple[str, ...]) -> None:
        """Probe exactly the running containers of a pod."""
        uid = pod["metadata"]["uid"]
        running = {one.id: one for one in runtime.containers if one.state == State.RUNNING}
        for gone in self._by_pod.get(uid, set()) - running.keys():
            self._drop(gone)
        self._by_pod[uid] = set(running)
        self._pods[uid] = pod["metadata"]["name"], pod["metadata"]["namespace"]
        for container in running.values():
            for kind, probe in _probes(pod, container.name):
                key = (container.id, kind)
                if key not in self._judges:
                    self._judges[key] = judge = Judge.of(kind, probe)
                    if _told(pod, container, kind):
                        # A kubelet that starts anew goes on from what its predecessor has found.
                        judge.verdict = True
                        if kind == "startup":
                            self._started.setdefault(container.id, asyncio.Event()).set()
                    self._tasks[key] = self._group.start(self._probe(pod, container, kind, probe, ips))

    def forget(self, uid: str) -> None:
        """Stop probing a pod."""
        for container_id in self._by_pod.pop(uid, set()):
            self._drop(container_id)
        _TOTAL.discard(lambda labels: labels[3] == uid)
        if pod := self._pods.pop(uid, None):
            _SECONDS.discard(lambda labels: labels[2:] == pod)

    def stop_liveness(self, uid: str) -> None:
        """A pod that terminates is no more restarted, but may still turn unready."""
        for container_id in self._by_pod.get(uid, set()):
            for kind in ("liveness", "startup"):
                task = self._tasks.pop((container_id, kind), None)
                if task:
                    task.cancel()

    def started(self, container: Container) -> bool:
        """No startup probe, or one that has succeeded."""
        judge = self._judges.get((container.id, "startup"))
        return judge is None or judge.verdict is True

    def ready(self, container: Container) -> bool:
        """No readiness probe, or one that succeeds."""
        judge = self._judges.get((container.id, "readiness"))
        return judge is None or judge.verdict is True

    def failed(self, uid: str) -> dict[str, str]:
        """Containers of a pod that have to be restarted: ID to the kind of probe that says so."""
        found = {}
        for container_id in self._by_pod.get(uid, ()):
            for kind in ("liveness", "startup"):
                judge = self._judges.get((container_id, kind))
                if judge and judge.verdict is False:
                    found[container_id] = kind
        return found

    def _drop(self, container_id: str) -> None:
        for kind in KINDS:
            self._judges.pop((container_id, kind), None)
            task = self._tasks.pop((container_id, kind), None)
            if task:
                task.cancel()
        self._started.pop(container_id, None)

    async def _probe(self, pod: Object, container: Container, kind: str, probe: Object, ips: tuple[str, ...]) -> None:
        spec = podspec.find(pod, container.name) or {}
        delay, period, timeout = timing(probe)
        judge = self._judges[container.id, kind]
        target = handlers.Target.of(pod, container.id, spec, ips)
        if kind != "startup" and spec.get("startupProbe"):
            await self._started.setdefault(container.id, asyncio.Event()).wait()
        begun = container.started
        waited = (self._clock.now() - begun).total_seconds() if begun else delay
        await self._clock.sleep(max(delay - waited, 0.0))
        while not judge.done:
            asked = self._clock.monotonic()
            outcome = await handlers.perform(probe, target, self._runtime, timeout=timeout)
            name, namespace, pod_name, uid, shown = _labels(pod, container.name, kind)
            _SECONDS.observe(self._clock.monotonic() - asked, shown, name, pod_name, namespace)
            _TOTAL.inc(name, namespace, pod_name, uid, shown, _RESULTS[not outcome.success])
            if not outcome.success:
                message = f"{kind.capitalize()} probe failed: {outcome.output}"
                self._report(pod, container.name, "Warning", "Unhealthy", message)
            if judge.add(outcome.success):
                if kind == "startup" and outcome.success:
                    self._started.setdefault(container.id, asyncio.Event()).set()
                self._wake(pod["metadata"]["uid"])
            if judge.done:
                return
            await self._clock.sleep(period)


def _labels(pod: Object, container: str, kind: str) -> tuple[str, str, str, str, str]:
    metadata = pod["metadata"]
    return container, metadata["namespace"], metadata["name"], metadata["uid"], kind.capitalize()


def _told(pod: Object, container: Container, kind: str) -> bool:
    """Whether the pod's status already says that this very container is ready, or has started."""
    status = pod.get("status") or {}
    field = {"readiness": "ready", "startup": "started"}.get(kind, "")
    for shown in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        if shown.get("containerID", "").endswith(f"://{container.id}"):
            return bool(shown.get(field))
    return False


def _probes(pod: Object, name: str) -> Iterator[tuple[str, Object]]:
    spec = podspec.find(pod, name)
    inits = {one["name"] for one in podspec.inits(pod) if not podspec.is_sidecar(one)}
    if spec is None or name in inits:
        return
    for kind, field in KINDS.items():
        if spec.get(field):
            yield kind, spec[field]
