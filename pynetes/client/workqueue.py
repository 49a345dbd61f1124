"""The queue between what happened and what is done about it: keys, not events.

A key stands in it once, however often it was added. A key that is added while it is being worked on is queued again
when that work is done, so that no change is missed and no key is worked on twice at a time. Failures come back later
and later: 5 ms, 10 ms, … up to 1000 s, per key.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.component.tasks import Group
from pynetes.component.tracing import CAUSE

K = TypeVar("K")
BASE_DELAY = 0.005
MAX_DELAY = 1000.0

_BOUNDS = exponential(10e-9, 10, 12)
_DEPTH = REGISTRY.gauge("workqueue_depth", "Current depth of workqueue", "name")
_ADDS = REGISTRY.counter("workqueue_adds_total", "Total number of adds handled by workqueue", "name")
_RETRIES = REGISTRY.counter("workqueue_retries_total", "Total number of retries handled by workqueue", "name")
_WAITED = REGISTRY.histogram(
    "workqueue_queue_duration_seconds",
    "How long in seconds an item stays in workqueue before being requested.",
    "name",
    buckets=_BOUNDS,
)
_WORKED = REGISTRY.histogram(
    "workqueue_work_duration_seconds",
    "How long in seconds processing an item from workqueue takes.",
    "name",
    buckets=_BOUNDS,
)


_QUEUES: "WeakSet[WorkQueue[Any]]" = WeakSet()
Samples = Iterator[tuple[tuple[str, ...], float]]


def _unfinished() -> Samples:
    for queue in sorted(_QUEUES, key=lambda queue: queue.name):
        yield (queue.name,), sum(queue.unfinished())


def _longest() -> Samples:
    for queue in sorted(_QUEUES, key=lambda queue: queue.name):
        yield (queue.name,), max(queue.unfinished(), default=0.0)


REGISTRY.gauge(
    "workqueue_unfinished_work_seconds",
    "How many seconds of work has done that is in progress and hasn't been observed by work_duration.",
    "name",
    read=_unfinished,
)
REGISTRY.gauge(
    "workqueue_longest_running_processor_seconds",
    "How many seconds has the longest running processor for workqueue been running.",
    "name",
    read=_longest,
)


class WorkQueue(Generic[K]):
    """Keys to work on. Delays run as tasks of `group`, and end with it."""

    def __init__(
        self, name: str, *, clock: Clock, group: Group, observer: Callable[[K, int, float], None] | None = None
    ) -> None:
        self.name = name
        self._clock, self._group, self._observer = clock, group, observer
        self._ready: deque[K] = deque()
        self._dirty: dict[K, int] = {}
        self._added: dict[K, float] = {}
        #: Keys that are being worked on, since when.
        self._processing: dict[K, float] = {}
        self._due: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Semaphore(0)
        _QUEUES.add(self)

    def add(self, key: K, *, cause: int = 0) -> None:
        """Work on key soon. cause is the revision that made it necessary, for tracing."""
        if key in self._dirty:
            self._dirty[key] = cause or self._dirty[key]
            return
        _ADDS.inc(self.name)
        self._dirty[key] = cause
        self._added[key] = self._clock.monotonic()
        if key not in self._processing:
            self._push(key)

    def add_after(self, key: K, seconds: float, *, cause: int = 0) -> None:
        """Work on key in seconds; of several delays of a key the shortest counts."""
        if seconds <= 0:
            self.add(key, cause=cause)
            return
        due = self._clock.monotonic() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._due[key] = due
        self._group.start(self._later(key, due, seconds, cause), name=f"{self.name} delay")

    def add_failed(self, key: K, *, cause: int = 0) -> float:
        """Work on key again after its back-off, which this makes longer; the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(BASE_DELAY * 2.0 ** min(failures, 60), MAX_DELAY)
        _RETRIES.inc(self.name)
        self.add_after(key, delay, cause=cause)
        return delay

    def forget(self, key: K) -> None:
        """The work succeeded: its back-off starts anew."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """How often in a row the work on key failed."""
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Wait for the next key; the caller must work on it inside `working`."""
        await self._wake.acquire()
        key = self._ready.popleft()
        _DEPTH.set(len(self._ready), self.name)
        return key

    @contextmanager
    def working(self, key: K) -> Iterator[int]:
        """Mark key as being worked on; gives its cause. Changes that come meanwhile queue it again afterwards."""
        cause = self._dirty.pop(key, 0)
        started = self._processing[key] = self._clock.monotonic()
        _WAITED.observe(started - self._added.pop(key, started), self.name)
        token = CAUSE.set(cause)
        try:
            yield cause
        finally:
            CAUSE.reset(token)
            seconds = self._clock.monotonic() - started
            _WORKED.observe(seconds, self.name)
            del self._processing[key]
            if key in self._dirty:
                self._push(key)
            if self._observer is not None:
                self._observer(key, cause, seconds)

    def unfinished(self) -> Sequence[float]:
        """For how many seconds each key that is being worked on has been."""
        now = self._clock.monotonic()
        return [now - since for since in self._processing.values()]

    @property
    def idle(self) -> bool:
        """Whether nothing is queued or being worked on; delayed keys do not count."""
        return not self._dirty and not self._processing

    def retries_in(self) -> float | None:
        """Seconds until the next key that failed comes back; None when none failed."""
        due = [self._due[key] for key in self._failures if key in self._due]
        return max(0.0, min(due) - self._clock.monotonic()) if due else None

    def __len__(self) -> int:
        return len(self._ready)

    def _push(self, key: K) -> None:
        self._ready.append(key)
        _DEPTH.set(len(self._ready), self.name)
        self._wake.release()

    async def _later(self, key: K, due: float, seconds: float, cause: int) -> None:
        await self._clock.sleep(seconds)
        if self._due.get(key) == due:
            del self._due[key]
            self.add(key, cause=cause)
