"""Pods that wait for a node, each in the place that says what for.

    active         ready, by priority, then by age
    backoff        failed for a reason of our own (a binding that was refused), waits 1 s, 2 s, … 10 s
    unschedulable  no node fits; waits for an event that one of the plugins that rejected it hopes for
    gated          a plugin keeps it out altogether (scheduling gates)

A pod that an event has woken is tried again only when no other is ready, so that a stream of events about one big pod
does not hold up the small ones.
"""

import asyncio
import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from pynetes.component.clock import Clock
from pynetes.machinery.meta import Key, Object
from pynetes.scheduler import metrics
from pynetes.scheduler.framework import Event, Plugin
from pynetes.scheduler.pods import PodInfo

INITIAL_BACKOFF = 1.0
MAX_BACKOFF = 10.0
#: Seconds after which an unschedulable pod is tried again although nothing has happened.
LONGEST_WAIT = 300.0


@dataclass(eq=False)
class Queued:
    """A pod in the queue."""

    info: PodInfo
    added: float
    attempts: int = 0
    #: Names of the plugins that rejected it last.
    rejected_by: set[str] = field(default_factory=set)
    parked: float = 0.0


class Queue:
    """See the module. Everything but `pop` returns at once."""

    def __init__(self, plugins: Sequence[Plugin], clock: Clock) -> None:
        self._plugins, self._clock, self._order = plugins, clock, count()
        self._entries: dict[Key, Queued] = {}
        self._active: list[tuple[bool, int, float, int, Queued]] = []
        self._backoff: dict[Key, float] = {}
        self._unschedulable: dict[Key, Queued] = {}
        self._gated: dict[Key, Queued] = {}
        self._ready: dict[Key, Queued] = {}
        self._wake = asyncio.Event()

    def add(self, info: PodInfo) -> None:
        """A pod without a node appeared, or a waiting one changed."""
        known = self._entries.get(info.key)
        if known is not None and known.info.uid == info.uid:
            self._changed(known, info)
            return
        self._entries[info.key] = Queued(info, self._clock.monotonic())
        self._activate(self._entries[info.key], "PodAdd")

    def remove(self, key: Key) -> None:
        """The pod is gone, finished, or has a node."""
        if self._entries.pop(key, None):
            self._take_out(key)
            self._count()

    async def pop(self) -> Queued:
        """The next pod to schedule; hand it back with `unschedulable` or `failed`, or forget it with `remove`."""
        while True:
            self._flush_backoff()
            while self._active:
                entry = heapq.heappop(self._active)[-1]
                if self._ready.get(entry.info.key) is entry:
                    del self._ready[entry.info.key]
                    entry.attempts += 1
                    self._count()
                    return entry
            self._wake.clear()
            await self._wake.wait()

    def unschedulable(self, entry: Queued, rejected_by: set[str]) -> None:
        """No node fits: wait for an event that these plugins hope for."""
        if self._entries.get(entry.info.key) is entry:
            entry.rejected_by, entry.parked = rejected_by, self._clock.monotonic()
            self._unschedulable[entry.info.key] = entry
            metrics.INCOMING.inc("unschedulable", "ScheduleAttemptFailure")
            self._count()

    def failed(self, entry: Queued) -> float:
        """An attempt failed for another reason: try again after a back-off, whose seconds are returned."""
        delay = min(INITIAL_BACKOFF * 2.0 ** (entry.attempts - 1), MAX_BACKOFF)
        if self._entries.setdefault(entry.info.key, entry) is entry:
            self._backoff[entry.info.key] = self._clock.monotonic() + delay
            metrics.INCOMING.inc("backoff", "ScheduleAttemptFailure")
            self._count()
        return delay

    def happened(self, event: Event, new: Object, old: Object | None = None) -> None:
        """Wake the pods that this may help."""
        hopeful = {plugin.name: plugin for plugin in self._plugins if event in plugin.wakes_on}
        if not hopeful:
            return
        for waiting in (self._unschedulable, self._gated):
            for key, entry in tuple(waiting.items()):
                plugins = [hopeful[name] for name in entry.rejected_by if name in hopeful]
                if any(plugin.hint(entry.info, event, new, old) for plugin in plugins):
                    del waiting[key]
                    self._activate(entry, f"{event.resource} {event.action}", woken=True)

    def flush(self) -> None:
        """Once in a while: end back-offs that are over, and try what has waited longest without an event."""
        self._flush_backoff()
        limit = self._clock.monotonic() - LONGEST_WAIT
        for key, entry in tuple(self._unschedulable.items()):
            if entry.parked < limit:
                del self._unschedulable[key]
                self._activate(entry, "UnschedulableTimeout", woken=True)

    def rejections(self) -> Counter[str]:
        """Plugin → how many pods wait because of it."""
        waiting = (*self._unschedulable.values(), *self._gated.values())
        return Counter(name for entry in waiting for name in entry.rejected_by)

    @property
    def places(self) -> dict[str, int]:
        """How many pods wait where."""
        return {
            "active": len(self._ready),
            "backoff": len(self._backoff),
            "unschedulable": len(self._unschedulable),
            "gated": len(self._gated),
        }

    def _changed(self, entry: Queued, info: PodInfo) -> None:
        old, entry.info = entry.info.pod, info
        parked = info.key in self._unschedulable or info.key in self._gated
        # Our own status patch must not wake the pod.
        if parked and (info.pod["spec"] != old["spec"] or info.labels != (old["metadata"].get("labels") or {})):
            self._take_out(info.key)
            self._activate(entry, "PodUpdate", woken=True)

    def _activate(self, entry: Queued, event: str, *, woken: bool = False) -> None:
        gate = next((plugin for plugin in self._plugins if plugin.pre_enqueue(entry.info) is not None), None)
        key = entry.info.key
        if gate is not None:
            entry.rejected_by = {gate.name}
            self._gated[key] = entry
            metrics.INCOMING.inc("gated", event)
        else:
            self._ready[key] = entry
            metrics.INCOMING.inc("active", event)
            heapq.heappush(self._active, (woken, -entry.info.priority, entry.added, next(self._order), entry))
            self._wake.set()
        self._count()

    def _flush_backoff(self) -> None:
        now = self._clock.monotonic()
        for key, due in tuple(self._backoff.items()):
            if due <= now:
                del self._backoff[key]
                self._activate(self._entries[key], "BackoffComplete")

    def _take_out(self, key: Key) -> None:
        for place in (self._ready, self._backoff, self._unschedulable, self._gated):
            place.pop(key, None)

    def _count(self) -> None:
        for name, number in self.places.items():
            metrics.PENDING.set(number, name)
