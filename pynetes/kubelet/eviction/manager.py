"""The eviction manager: looks every ten seconds, makes room where that is enough, and else ends one pod at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.kubelet import logs as podlogs
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.cm.measure import Measured, Meter
from pynetes.kubelet.cri.runtime import Runtime, RuntimeFailure
from pynetes.kubelet.eviction import observe, ranking
from pynetes.kubelet.eviction.ranking import Used
from pynetes.kubelet.eviction.thresholds import RESOURCES, Judge, Seen, Threshold
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

INTERVAL = 10.0
EVICTIONS = REGISTRY.counter(
    "kubelet_evictions", "Cumulative number of pod evictions by eviction signal", "eviction_signal"
)


class Victim(Protocol):
    """A pod's worker."""

    pod: Object

    def evict(self, message: str, *, grace: int) -> None:
        """End the pod."""


class Eviction:
    """Of one node; `run` it. room makes disk space (images), and says how many bytes it made."""

    def __init__(
        self,
        judge: Judge,
        *,
        root: Path,
        log_root: Path,
        runtime: Runtime,
        cgroups: Cgroups,
        clock: Clock,
        workers: Callable[[], Iterable[Victim]],
        room: Callable[[], Awaitable[int]],
        warn: Callable[[str, str], None],
        changed: Callable[[], None],
        most_grace: int,
    ) -> None:
        self._judge, self._root, self._log_root, self._runtime = judge, root, log_root, runtime
        self._cgroups, self._clock, self._workers, self._room = cgroups, clock, workers, room
        self._warn, self._changed, self._most_grace = warn, changed, most_grace
        self._meter = Meter()
        self._images: Path | None = None
        #: The conditions that hold: MemoryPressure, DiskPressure, PIDPressure.
        self.pressures: set[str] = set()

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            try:
                told = await self.once()
                if told:
                    log.warning(logs.fact(told))
            except (RuntimeFailure, OSError) as failure:
                log.warning(logs.fact("resources not looked at", error=failure))
            await self._clock.sleep(INTERVAL)

    async def once(self) -> str:
        """Look once; what was done, "" when nothing was."""
        if self._images is None:
            self._images = await self._runtime.image_folder()
        seen = await asyncio.to_thread(observe.signals, self._root, self._images)
        return await self.deal(seen)

    async def deal(self, seen: dict[str, Seen]) -> str:
        """Act on what was seen."""
        now = self._clock.monotonic()
        due = self._judge.judge(seen, now)
        pressures = self._judge.conditions(now)
        if pressures != self.pressures:
            self.pressures = pressures
            self._changed()
        victims = list(self._workers())
        usage = {id(one): await self._used(one.pod) for one in victims} if due or _limited(victims) else {}
        told = await self._enforce(victims)
        if told or due is None:
            return told
        return await self._reclaim(due, seen[due.signal], victims, usage)

    async def _reclaim(self, due: Threshold, left: Seen, victims: Sequence[Victim], usage: dict[int, Used]) -> str:
        resource = RESOURCES[due.signal]
        self._warn("EvictionThresholdMet", f"Attempting to reclaim {resource}")
        if resource in ("ephemeral-storage", "inodes") and await self._room():
            return "images removed to make room"
        ranked = ranking.rank([(one.pod, usage[id(one)]) for one in victims], resource)
        if not ranked:
            return f"no pod can be evicted although {resource} is short"
        pod, used = ranked[0]
        victim = next(one for one in victims if one.pod is pod)
        text = ranking.message(pod, used, resource, left=left.available, least=due.least(left.capacity))
        EVICTIONS.inc(due.signal)
        grace = (
            0 if not due.grace else min(self._most_grace, int(pod["spec"].get("terminationGracePeriodSeconds") or 30))
        )
        victim.evict(text, grace=grace)
        return f"pod {pod['metadata']['name']} evicted: {text}"

    async def _enforce(self, victims: Sequence[Victim]) -> str:
        """Evict what uses more disk than its own limits say."""
        limited = _limited(victims)
        if not limited:
            return ""
        layers = await self._layers()
        for victim in limited:
            uid = victim.pod["metadata"]["uid"]
            own = {container: size for (owner, container), size in layers.items() if owner == uid}
            volumes = await asyncio.to_thread(self._volumes, victim.pod)
            used = Used(disk=sum(own.values()) + sum(volumes.values()))
            text = ranking.over_limits(victim.pod, used, own, volumes)
            if text:
                EVICTIONS.inc("localStorage")
                victim.evict(text, grace=0)
                return f"pod {victim.pod['metadata']['name']} evicted: {text}"
        return ""

    async def _used(self, pod: Object) -> Used:
        measured = self._meter.measure(self._cgroups.parent(pod)) or Measured()
        folders = await asyncio.to_thread(self._folders, pod)
        return Used(memory=measured.working_set, disk=folders.bytes, inodes=folders.inodes, processes=measured.threads)

    def _folders(self, pod: Object) -> observe.Size:
        metadata = pod["metadata"]
        own = podlogs.directory(self._log_root, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
        return observe.size([self._root / "pods" / metadata["uid"], own])

    def _volumes(self, pod: Object) -> dict[str, int]:
        base = self._root / "pods" / pod["metadata"]["uid"] / "volumes" / "kubernetes.io~empty-dir"
        return {path.name: observe.size([path]).bytes for path in base.glob("*")}

    async def _layers(self) -> dict[tuple[str, str], int]:
        return {
            (one.attributes.labels["io.kubernetes.pod.uid"], one.attributes.metadata.name):
            one.writable_layer.used_bytes.value
            for one in await self._runtime.stats()
        }  # fmt: skip


def _limited(victims: Iterable[Victim]) -> list[Victim]:
    """Those that have a limit of disk at all: only they are measured all the time."""
    return [one for one in victims if _has_limit(one.pod)]


def _has_limit(pod: Object) -> bool:
    volumes = pod["spec"].get("volumes") or ()
    if any((volume.get("emptyDir") or {}).get("sizeLimit") for volume in volumes):
        return True
    containers = pod["spec"]["containers"]
    return any("ephemeral-storage" in ((one.get("resources") or {}).get("limits") or {}) for one in containers)
