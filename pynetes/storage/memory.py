"""A store in memory, for tests and in-process clusters: all of the Backend protocol, nothing kept on exit."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import NamedTuple

from pynetes.machinery.meta import Revision
from pynetes.storage.backend import (
    Change,
    Compacted,
    KeyExists,
    KeyValue,
    LeaseID,
    Page,
    RevisionMismatch,
)
from pynetes.storage.changelog import ChangeLog


class _Version(NamedTuple):
    """One value a key has had; value None is a deletion."""

    value: bytes | None
    created: Revision
    modified: Revision


class MemoryBackend:
    """Keeps every version of every key until compaction."""

    def __init__(self) -> None:
        # Like etcd, an empty store is at revision 1, so that 0 never is the revision of anything.
        self._log = ChangeLog(Revision(1))
        self._oldest = Revision(1)
        self._keys: list[str] = []
        self._versions: dict[str, list[_Version]] = {}
        self._leases: dict[LeaseID, set[str]] = {}
        self._timers: dict[LeaseID, asyncio.TimerHandle] = {}
        self._lease_ids = count(1)

    async def get(self, key: str) -> KeyValue | None:
        return self._current(key)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: Revision | None = None) -> Page:
        if revision is not None and revision < self._oldest:
            raise Compacted(self._oldest)
        found: list[KeyValue] = []
        remaining = 0
        for index in range(bisect_left(self._keys, max(prefix, start)), len(self._keys)):
            key = self._keys[index]
            if not key.startswith(prefix):
                break
            item = self._at(key, revision)
            if item is None:
                continue
            if limit and len(found) >= limit:
                remaining += 1
            else:
                found.append(item)
        return Page(found, self._log.revision, remaining)

    async def create(self, key: str, value: bytes, *, lease: LeaseID | None = None) -> Revision:
        if self._current(key) is not None:
            raise KeyExists(key)
        revision = self._next()
        self._put(key, _Version(value, revision, revision), lease)
        return revision

    async def update(self, key: str, value: bytes, *, expected: Revision, lease: LeaseID | None = None) -> Revision:
        before = self._expect(key, expected)
        revision = self._next()
        self._put(key, _Version(value, before.created, revision), lease)
        return revision

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        return self._delete(self._expect(key, expected))

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Change]]]:
        if after < self._log.start:
            raise Compacted(self._oldest)
        yield self._follow(prefix, after)

    async def compact(self, revision: Revision) -> None:
        revision = Revision(min(revision, self._log.revision))
        if revision <= self._oldest:
            return
        self._oldest = revision
        # A watch may still start at the compacted revision itself: the changes after it are all here.
        self._log.forget(revision)
        for key in list(self._versions):
            self._forget(key, revision)

    async def current_revision(self) -> Revision:
        return self._log.revision

    async def size(self) -> int:
        return sum(len(key) + len(value) for key, value in self.content().items())

    async def grant_lease(self, seconds: int) -> LeaseID:
        lease = next(self._lease_ids)
        self._leases[lease] = set()
        self._timers[lease] = asyncio.get_running_loop().call_later(seconds, self._expire, lease)
        return lease

    def content(self) -> dict[str, bytes]:
        """Every key that there is now and its value: what `restore` takes."""
        found = ((key, self._at(key, None)) for key in self._keys)
        return {key: item.value for key, item in found if item is not None}

    def restore(self, content: Mapping[str, bytes]) -> Revision:
        """Write and delete until exactly this content is there; watchers see each difference as a change."""
        for key, value in sorted({**dict.fromkeys(self._keys), **content}.items()):
            current = self._current(key)
            if value is None:
                if current is not None:
                    self._delete(current)
            elif current is None or current.value != value:
                revision = self._next()
                self._put(key, _Version(value, current.created if current else revision, revision), None)
        return self._log.revision

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    async def _follow(self, prefix: str, after: Revision) -> AsyncIterator[Sequence[Change]]:
        while True:
            await self._log.wait(after)
            changes = self._log.since(after)
            if changes is None:
                raise Compacted(self._oldest)
            after = changes[-1].modified
            if wanted := [change for change in changes if change.key.startswith(prefix)]:
                yield wanted

    def _next(self) -> Revision:
        return Revision(self._log.revision + 1)

    def _current(self, key: str) -> KeyValue | None:
        return self._at(key, None)

    def _at(self, key: str, revision: Revision | None) -> KeyValue | None:
        versions = self._versions.get(key, ())
        found = next((v for v in reversed(versions) if revision is None or v.modified <= revision), None)
        if found is None or found.value is None:
            return None
        return KeyValue(key, found.value, found.created, found.modified)

    def _expect(self, key: str, expected: Revision) -> KeyValue:
        current = self._current(key)
        if current is None or current.modified != expected:
            raise RevisionMismatch(current)
        return current

    def _put(self, key: str, version: _Version, lease: LeaseID | None) -> None:
        for keys in self._leases.values():
            keys.discard(key)
        if lease is not None and version.value is not None:
            self._leases[lease].add(key)
        if key not in self._versions:
            insort(self._keys, key)
        self._versions.setdefault(key, []).append(version)
        self._log.append([Change(key, version.value, version.created, version.modified)])

    def _delete(self, current: KeyValue) -> Revision:
        revision = self._next()
        self._put(current.key, _Version(None, current.created, revision), None)
        return revision

    def _expire(self, lease: LeaseID) -> None:
        for key in sorted(self._leases.pop(lease)):
            if current := self._current(key):
                self._delete(current)
        del self._timers[lease]

    def _forget(self, key: str, revision: Revision) -> None:
        """Keep what can still be read at `revision` or later."""
        versions = self._versions[key]
        while len(versions) > 1 and versions[1].modified <= revision:
            del versions[0]
        if versions[0].value is None and versions[0].modified <= revision:
            del versions[0]
        if not versions:
            del self._versions[key]
            del self._keys[bisect_left(self._keys, key)]
