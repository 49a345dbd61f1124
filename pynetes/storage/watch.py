"""Watching one resource of the cache: events, who gets which, and what one change is to a watcher with selectors.

The cost of a change grows with the watchers that want it, not with all there are: watchers that name one object, one
namespace or one value of a field (a kubelet's spec.nodeName) are found by that value. A watcher that does not keep up
is closed; it never misses an event silently, and its client resumes from the last revision it has seen.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pynetes.machinery.meta import Revision
from pynetes.storage.entry import Entry

EventType = Literal["ADDED", "MODIFIED", "DELETED"]

#: Events that may wait for one watcher.
BUFFER = 4096
#: Watchers that are woken in one turn of the event loop.
TOGETHER = 32


class Matcher(Protocol):
    """A label or field selector."""

    def matches(self, values: Mapping[str, str], /) -> bool:
        """Whether an object with these labels (or field values) is selected."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a reader wants of a resource. `exact` are field values it requires, which indexes make use of."""

    namespace: str = ""
    name: str = ""
    labels: Matcher | None = None
    fields: Matcher | None = None
    exact: tuple[tuple[str, str], ...] = ()

    def matches(self, entry: Entry) -> bool:
        """Whether this version of the object is wanted."""
        key = entry.key
        return (
            (not self.namespace or key.namespace == self.namespace)
            and (not self.name or key.name == self.name)
            and (self.labels is None or self.labels.matches(entry.labels))
            and (self.fields is None or self.fields.matches(entry.fields))
            and all(entry.fields.get(field) == value for field, value in self.exact)
        )


class CacheEvent:
    """A change as watchers are told it. `frames` holds it encoded, by whatever key the encoder chooses."""

    __slots__ = ("_as_added", "_as_deleted", "entry", "frames", "old_entry", "revision", "type")

    def __init__(self, kind: EventType, entry: Entry, old_entry: Entry | None, revision: Revision) -> None:
        self.type: EventType = kind
        #: The object to show; in a DELETED event its last state with the deletion's resourceVersion.
        self.entry = entry
        #: The version before: None in an ADDED event.
        self.old_entry = old_entry
        self.revision = revision
        self.frames: dict[object, bytes] = {}
        self._as_added: CacheEvent | None = None
        self._as_deleted: CacheEvent | None = None

    def seen_by(self, wanted: Filter) -> "CacheEvent | None":
        """This change for a watcher with selectors: what begins to match is ADDED, what ceases to is DELETED."""
        before = self.old_entry is not None and wanted.matches(self.old_entry)
        if self.type == "DELETED":
            return self if before else None
        now = wanted.matches(self.entry)
        if now:
            return self if before or self.type == "ADDED" else self._added()
        return self._deleted() if before else None

    def forget(self) -> None:
        """Let go of the encoded frames: those who were watching have written them."""
        for event in (self, self._as_added, self._as_deleted):
            if event is not None:
                event.frames.clear()

    def _added(self) -> "CacheEvent":
        if self._as_added is None:
            self._as_added = CacheEvent("ADDED", self.entry, None, self.revision)
        return self._as_added

    def _deleted(self) -> "CacheEvent":
        if self._as_deleted is None:
            assert self.old_entry is not None
            gone = self.old_entry.at(self.revision)
            self._as_deleted = CacheEvent("DELETED", gone, self.old_entry, self.revision)
        return self._as_deleted


class Progress(Protocol):
    """Knows how far the cache has come."""

    @property
    def revision(self) -> Revision:
        """Every change up to this revision has been offered to the watchers."""


class Watch:
    """One watcher: an async iterator of events, or batches of them. Ends when it is closed.

    Use it as a context manager; leaving it takes it out of the index.
    """

    def __init__(self, wanted: Filter, progress: Progress, watchers: "Watchers", backlog: Sequence[CacheEvent]) -> None:
        self.wanted = wanted
        self.closed = False
        #: Set by `nudge`; for the reader to reset.
        self.nudged = False
        self._events: deque[CacheEvent] = deque(backlog)
        self._progress = progress
        self._watchers = watchers
        self._waiter: asyncio.Future[None] | None = None
        #: Whether its turn to be woken is to come.
        self._queued = False

    def offer(self, event: CacheEvent) -> None:
        """Add an event that is wanted; a full buffer closes the watch."""
        if self.closed:
            return
        if len(self._events) >= BUFFER:
            self.close()
            return
        self._events.append(event)
        if self._waiter is not None and not self._queued:
            self._queued = True
            self._watchers.turns.take(self)

    def wake(self) -> None:
        """Its turn has come."""
        self._queued = False
        self._wake()

    def progress(self) -> Revision | None:
        """The revision a bookmark may carry now: everything up to it has been taken. None while events wait."""
        return None if self._events else self._progress.revision

    async def batch(self) -> Sequence[CacheEvent]:
        """All events that wait, at least one. An empty batch means that the watch was closed, or nudged."""
        while not (self._events or self.closed or self.nudged):
            await self._change()
        taken = tuple(self._events)
        self._events.clear()
        return taken

    def close(self) -> None:
        """End it: for a reader that is gone or does not keep up, or a cache that lost its place."""
        self.closed = True
        self._events.clear()
        self._watchers.remove(self)
        self._wake()

    def nudge(self) -> None:
        """Wake the reader, who has something else to do at this time. A timer that calls this costs nothing per event,
        as a timeout around every batch does."""
        self.nudged = True
        self._wake()

    async def _change(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> CacheEvent:
        while not (self._events or self.closed):
            await self._change()
        if self.closed:
            raise StopAsyncIteration
        return self._events.popleft()


class Turns:
    """Wakes few watchers at a time: a change that a thousand wait for must not hold up everybody else's requests.

    While one sweep over them goes on, other writes are taken in, and who is woken late gets all of them at once."""

    def __init__(self) -> None:
        self._waiting: deque[Watch] = deque()
        self._woken = 0
        self._turning = False

    def take(self, watch: Watch) -> None:
        """Wake it, now or in a later turn of the loop."""
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
        if self._woken < TOGETHER:
            self._woken += 1
            watch.wake()
        else:
            self._waiting.append(watch)

    def _turn(self) -> None:
        self._woken = min(TOGETHER, len(self._waiting))
        for _ in range(self._woken):
            self._waiting.popleft().wake()
        self._turning = self._woken > 0
        if self._turning:
            asyncio.get_running_loop().call_soon(self._turn)


class Watchers:
    """The watchers of one resource, found by what they require; those that want the same are asked once."""

    def __init__(self) -> None:
        self.turns = Turns()
        # A dict as an ordered set: events go out in the order in which watchers came.
        self._index: defaultdict[tuple[str, str], dict[Filter, dict[Watch, None]]] = defaultdict(dict)
        self._fields: dict[str, int] = {}

    def __iter__(self) -> Iterator[Watch]:
        return (
            watch for group in list(self._index.values()) for alike in list(group.values()) for watch in list(alike)
        )

    def add(self, watch: Watch) -> None:
        """Offer it events from now on."""
        place = _place(watch.wanted)
        self._fields[place[0]] = self._fields.get(place[0], 0) + 1
        self._index[place].setdefault(watch.wanted, {})[watch] = None

    def remove(self, watch: Watch) -> None:
        """Offer it nothing more. Nothing happens if it is gone already."""
        place = _place(watch.wanted)
        group = self._index.get(place, {})
        alike = group.get(watch.wanted)
        if alike is None or watch not in alike:
            return
        del alike[watch]
        if not alike:
            del group[watch.wanted]
        if not group:
            del self._index[place]
        self._fields[place[0]] -= 1
        if not self._fields[place[0]]:
            del self._fields[place[0]]

    def publish(self, event: CacheEvent) -> None:
        """Offer a change to those that want it."""
        for field in list(self._fields):
            values = {_value(event.entry, field)}
            if event.old_entry is not None:
                values.add(_value(event.old_entry, field))
            for value in values:
                for wanted, alike in list(self._index.get((field, value), {}).items()):
                    if (mine := event.seen_by(wanted)) is not None:
                        for watch in list(alike):
                            watch.offer(mine)


def _place(wanted: Filter) -> tuple[str, str]:
    """Where a watcher is indexed: by the narrowest thing it requires."""
    if wanted.name:
        return "metadata.name", wanted.name
    exact = next((pair for pair in wanted.exact if pair[0] != "metadata.namespace"), None)
    if exact:
        return exact
    return ("metadata.namespace", wanted.namespace) if wanted.namespace else ("", "")


def _value(entry: Entry, field: str) -> str:
    return entry.fields.get(field, "") if field else ""
