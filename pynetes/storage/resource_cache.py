"""The cached objects of one resource, in the store's order, with the newest changes for watchers and older snapshots.

Everything here is synchronous, so a reader that takes entries and then a watch from `revision` without awaiting in
between has missed nothing.
"""

import logging
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Any, Protocol

from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Resource
from pynetes.storage.backend import Change, KeyValue
from pynetes.storage.entry import Entry, Fields, Parsed, Undecodable, decode
from pynetes.storage.watch import CacheEvent, Filter, Progress, Watch, Watchers

log = logging.getLogger(__name__)

#: Events kept for watchers that resume, and the bytes of superseded versions that they may hold on to.
WINDOW_EVENTS = 8192
WINDOW_BYTES = 16 << 20
#: Events whose encoded frames are kept; by then every live watcher has written them.
FRAMED_EVENTS = 256
#: Objects that are looked at to estimate the size of all.
SAMPLED = 100

EVERYTHING = Filter()


class Entries(list[Entry]):
    """All objects of a resource or a namespace, the same list for every reader until one of them changes.

    `memo` is for what readers compute from all of them: its size, its compressed form."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        super().__init__(entries)
        self.memo: dict[object, Any] = {}


class Follower(Protocol):
    """Something derived from all entries, kept by difference; told of a change before any watcher is."""

    def reset(self, entries: Iterable[Entry]) -> None:
        """Start over from these."""

    def changed(self, event: CacheEvent) -> None:
        """One change."""


class ResourceCache:
    """Made by Cacher. `revision` is how far all of it has come; entries are shared and never change."""

    def __init__(self, resource: Resource, progress: Progress, parsed: Parsed) -> None:
        self.resource = resource
        self._progress = progress
        self._parsed = parsed
        self._fields = Fields(resource)
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        #: By namespace, "" for all.
        self._complete: dict[str, Entries] = {}
        #: Moves with every change of this resource.
        self.changed = 0
        #: For metrics: whole listings taken, changes that the store told, changes that were offered to watchers.
        self.filled = self.received = self.published = 0
        self._followers: list[Follower] = []
        self._watchers = Watchers()
        self._events: deque[CacheEvent] = deque()
        self._framed: deque[CacheEvent] = deque()
        self._held = 0
        #: Watches and snapshots can start here or later.
        self._start = Revision(0)
        #: Changes that came while the first listing was under way; None when there is none.
        self._pending: list[Change] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        return True

    @property
    def size(self) -> int:
        """Bytes of all objects, as the store has them: of a sample of them, where there are many."""
        step = max(len(self._keys) // SAMPLED, 1)
        sampled = [len(self._entries[key].item) for key in self._keys[::step]]
        return round(sum(sampled) / len(sampled) * len(self._keys)) if sampled else 0

    def watched(self) -> Iterator[Filter]:
        """What each watcher of now wants."""
        return (watch.wanted for watch in self._watchers)

    @property
    def revision(self) -> Revision:
        """Every change up to here is included."""
        return max(self._progress.revision, self._start)

    def entry(self, key: Key) -> Entry | None:
        """One object."""
        return self._entries.get(self.resource.storage_key(key))

    def entries(self, wanted: Filter = EVERYTHING, *, start: str = "") -> list[Entry]:
        """The objects that match, in key order, from `start` (a storage key, inclusive) on. Not to be changed."""
        if wanted.name and (wanted.namespace or not self.resource.namespaced):
            found = self.entry(Key(wanted.namespace, wanted.name))
            return [found] if found and found.storage_key >= start and wanted.matches(found) else []
        if not start and wanted == Filter(namespace=wanted.namespace):
            return self.within(wanted.namespace)
        keys = self._range(self._keys, wanted.namespace, start)
        return _select(map(self._entries.__getitem__, keys), wanted)

    def count(self, wanted: Filter) -> int:
        """How many objects must be looked at to find those that match."""
        if wanted.name and (wanted.namespace or not self.resource.namespaced):
            return 1
        return len(self._range(self._keys, wanted.namespace, "")) if wanted.namespace else len(self)

    def within(self, namespace: str = "") -> "Entries":
        """All objects, or all of a namespace, in key order. Not to be changed."""
        complete = self._complete.get(namespace)
        if complete is None:
            keys = self._range(self._keys, namespace, "")
            complete = self._complete[namespace] = Entries(map(self._entries.__getitem__, keys))
        return complete

    def entries_at(self, revision: Revision, wanted: Filter = EVERYTHING, *, start: str = "") -> list[Entry] | None:
        """As `entries`, but as things were at a revision; None if that is longer ago than the cache remembers."""
        if revision < self._start or revision > self.revision:
            return None
        then: dict[str, Entry | None] = {}
        for event in takewhile(lambda event: event.revision > revision, reversed(self._events)):
            then[event.entry.storage_key] = event.old_entry
        if not then:
            return self.entries(wanted, start=start)
        keys = self._range(sorted({*self._keys, *then}), wanted.namespace, start)
        versions = (then[key] if key in then else self._entries[key] for key in keys)
        return _select((entry for entry in versions if entry is not None), wanted)

    def watch(self, after: Revision | None = None, wanted: Filter = EVERYTHING) -> Watch:
        """Changes after a revision; None means from now. Raises StatusError (410) if that is too long ago."""
        after = self.revision if after is None else after
        if after < self._start:
            raise errors.expired(f"too old resource version: {after} ({self._start})")
        missed = list(takewhile(lambda event: event.revision > after, reversed(self._events)))
        backlog = [mine for event in reversed(missed) if (mine := event.seen_by(wanted)) is not None]
        watch = Watch(wanted, self, self._watchers, backlog)
        self._watchers.add(watch)
        return watch

    def follow(self, follower: Follower) -> None:
        """Tell the follower what there is now, and every change from now on."""
        self._followers.append(follower)
        follower.reset(self._entries.values())

    def make(self, item: KeyValue, obj: Object | None = None) -> Entry:
        """The entry of a stored value; obj is the same object, where the caller has it. Raises Undecodable."""
        if obj is not None and "resourceVersion" in obj["metadata"]:
            obj = {**obj, "metadata": {name: v for name, v in obj["metadata"].items() if name != "resourceVersion"}}
        return Entry(item.key, item.modified, item.value, obj or decode(item.value), self._parsed, self._fields)

    def begin(self) -> None:
        """A first listing begins while the watch is running: remember what it may or may not include."""
        self._pending = []

    def fill(self, items: Iterable[KeyValue], revision: Revision) -> None:
        """The first listing is there; what came since is applied on top."""
        pending, self._pending = self._pending or [], None
        self.replace(items, revision)
        for change in pending:
            if change.modified > revision:
                self.apply(change, None)

    def replace(self, items: Iterable[KeyValue], revision: Revision) -> None:
        """Take a whole listing. Watchers are closed: what happened in between is not known."""
        self.reset()
        self.filled += 1
        for item in items:
            if (entry := self._made(item)) is not None:
                self._entries[item.key] = entry
        self._keys = sorted(self._entries)
        self._complete.clear()
        self._start = revision
        self._refollow()

    def settle(self) -> None:
        """Forget what led here; watchers that are running go on."""
        self._start = self.revision

    def disconnect(self) -> None:
        """End every watch; whoever watches comes back and goes on from where he was."""
        for watch in self._watchers:
            watch.close()

    def reset(self) -> None:
        """Forget everything."""
        self.disconnect()
        self._entries.clear()
        self._keys.clear()
        self._events.clear()
        self._framed.clear()
        self._held = 0
        self._refollow()

    def apply(self, change: Change, entry: Entry | None) -> None:
        """Take one change; `entry` is the new version if this process has written it."""
        if self._pending is not None:
            self._pending.append(change)
            return
        self.received += 1
        if change.modified <= self._start:
            return
        old = self._entries.get(change.key)
        if change.value is None:
            self._removed(change, old, entry)
            return
        if entry is None:
            entry = self._made(KeyValue(change.key, change.value, change.created, change.modified))
        if entry is None:
            self._removed(change, old, None)
            return
        if old is None:
            insort(self._keys, change.key)
        self._entries[change.key] = entry
        self._publish(CacheEvent("MODIFIED" if old else "ADDED", entry, old, change.modified))

    def _removed(self, change: Change, old: Entry | None, entry: Entry | None) -> None:
        if old is None:
            return
        del self._entries[change.key]
        del self._keys[bisect_left(self._keys, change.key)]
        self._publish(CacheEvent("DELETED", entry or old.at(change.modified), old, change.modified))

    def _refollow(self) -> None:
        self.changed += 1
        self._complete.clear()
        for follower in self._followers:
            follower.reset(self._entries.values())

    def _publish(self, event: CacheEvent) -> None:
        self.changed += 1
        self.published += 1
        self._complete.clear()
        for follower in self._followers:
            follower.changed(event)
        self._events.append(event)
        self._held += len(event.old_entry.item) if event.old_entry else 0
        while len(self._events) > WINDOW_EVENTS or self._held > WINDOW_BYTES:
            dropped = self._events.popleft()
            self._held -= len(dropped.old_entry.item) if dropped.old_entry else 0
            self._start = dropped.revision
        self._framed.append(event)
        if len(self._framed) > FRAMED_EVENTS:
            self._framed.popleft().forget()
        self._watchers.publish(event)

    def _made(self, item: KeyValue) -> Entry | None:
        try:
            return self.make(item)
        except Undecodable as error:
            # One bad value must not take the whole resource down with it.
            log.error("the value of %s is left out: %s", item.key, error)
            return None

    def _range(self, keys: Sequence[str], namespace: str, start: str) -> Sequence[str]:
        prefix = f"{self.resource.prefix}{namespace}/" if namespace else self.resource.prefix
        first = bisect_left(keys, max(prefix, start))
        return keys[first : bisect_left(keys, prefix[:-1] + chr(ord("/") + 1), lo=first)]


def _select(entries: Iterable[Entry], wanted: Filter) -> list[Entry]:
    if wanted == EVERYTHING or wanted == Filter(namespace=wanted.namespace):
        return list(entries)
    return [entry for entry in entries if wanted.matches(entry)]
