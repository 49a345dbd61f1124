"""Writing objects of one resource: create, update and delete, each atomic against every other writer of the store.

An update reads from the cache first, because it is nearly always current; when it was not, the store's compare-and-swap
says so and hands back what is there, and the change is computed again. A value is encoded once: the same bytes go to
the store, into the cache and to the client.
"""

from collections.abc import Awaitable, Callable, Container
from typing import TypeAlias

from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object, Revision, key_of
from pynetes.machinery.resource import Resource
from pynetes.storage import metrics
from pynetes.storage.backend import Backend, Compacted, KeyExists, KeyValue, RevisionMismatch
from pynetes.storage.cache import Cacher
from pynetes.storage.encryption.backend import EncryptedBackend
from pynetes.storage.entry import Entry, encode
from pynetes.storage.leases import Leases
from pynetes.storage.resource_cache import EVERYTHING
from pynetes.storage.watch import Filter

#: Computes the new object from its own copy of the current one (with resourceVersion). It may run several times, first
#: perhaps on a stale object: an error it raises counts only if the object was current. If it changes nothing, nothing
#: is written.
Change: TypeAlias = Callable[[Object], Awaitable[Object]]
#: Judges the object about to be deleted, by raising.
Check: TypeAlias = Callable[[Object], Awaitable[None]]


class Store:
    """The objects of one resource. Raises StatusError for what a client did, Unavailable for what the store did."""

    def __init__(self, resource: Resource, backend: Backend, cacher: Cacher) -> None:
        self.resource = resource
        self._backend = backend
        self._cacher = cacher
        self._leases = Leases(backend)
        #: Keys that a write brings to the current encryption key even if it changes nothing else.
        self._stale: Container[str] = backend.stale if isinstance(backend, EncryptedBackend) else ()

    async def read(self, key: Key) -> Entry:
        """The object as the store has it now, past the cache."""
        return await self._live(self.resource.storage_key(key), key)

    async def list_at(self, revision: Revision, wanted: Filter = EVERYTHING, *, start: str = "") -> list[Entry]:
        """The objects as they were at a revision. Raises StatusError (410) if the store has compacted it."""
        cache = self._cacher.of(self.resource)
        await self._cacher.fresh(revision)
        entries = cache.entries_at(revision, wanted, start=start)
        if entries is not None:
            return entries
        prefix = f"{self.resource.prefix}{wanted.namespace}/" if wanted.namespace else self.resource.prefix
        try:
            page = await self._backend.list(prefix, start=start, revision=revision)
        except Compacted as error:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result."
                " You can start a new list without the continue parameter."
            ) from error
        made = (cache.make(item) for item in page.items)
        found = [entry for entry in made if wanted.matches(entry)]
        metrics.listed(self.resource, len(page.items), len(found))
        return found

    async def create(self, obj: Object, *, ttl: int = 0) -> Entry:
        """Store a new object; with a ttl it goes by itself after so many seconds, or a little later."""
        key = key_of(obj)
        storage_key, value = self.resource.storage_key(key), encode(obj)
        lease = await self._leases.get(ttl) if ttl else None
        try:
            with self._cacher.writing(storage_key, value, obj):
                revision = await self._backend.create(storage_key, value, lease=lease)
        except KeyExists:
            raise errors.already_exists(self.resource.plural, self.resource.group, key.name) from None
        return self._wrote(key, storage_key, value, revision, obj)

    async def update(self, key: Key, change: Change, *, ttl: int = 0) -> Entry:
        """Apply a change to the newest version, however often others get in between."""
        storage_key = self.resource.storage_key(key)
        cached = self._cacher.newest(self.resource, key)
        entry, live = (cached, False) if cached else (await self._live(storage_key, key), True)
        while True:
            try:
                changed = await change(entry.copy())
                value = encode(changed)
            except Exception:
                if live:
                    raise
                entry, live = await self._live(storage_key, key), True
                continue
            if entry.stores(changed, value) and storage_key not in self._stale:
                if live:
                    return entry
                entry, live = await self._live(storage_key, key), True
                continue
            lease = await self._leases.get(ttl) if ttl else None
            try:
                with self._cacher.writing(storage_key, value, changed):
                    revision = await self._backend.update(storage_key, value, expected=entry.revision, lease=lease)
            except RevisionMismatch as mismatch:
                entry, live = self._there(mismatch.current, key), True
                continue
            return self._wrote(key, storage_key, value, revision, changed)

    async def delete(self, key: Key, check: Check | None = None) -> Entry:
        """Remove the object, whose last state is returned with the deletion's revision."""
        storage_key = self.resource.storage_key(key)
        cached = self._cacher.newest(self.resource, key)
        entry, live = (cached, False) if cached else (await self._live(storage_key, key), True)
        while True:
            try:
                if check is not None:
                    await check(entry.copy())
            except Exception:
                if live:
                    raise
                entry, live = await self._live(storage_key, key), True
                continue
            try:
                revision = await self._backend.delete(storage_key, expected=entry.revision)
            except RevisionMismatch as mismatch:
                entry, live = self._there(mismatch.current, key), True
                continue
            gone = entry.at(revision)
            self._cacher.wrote(gone, deleted=True)
            return gone

    def _wrote(self, key: Key, storage_key: str, value: bytes, revision: Revision, obj: Object | None = None) -> Entry:
        # An embedded store's watch is often faster than its acknowledgement.
        entry = self._cacher.of(self.resource).entry(key)
        if entry is None or entry.revision != revision:
            entry = self._cacher.entry_of(self.resource, KeyValue(storage_key, value, revision, revision), obj)
            self._cacher.wrote(entry)
        return entry

    async def _live(self, storage_key: str, key: Key) -> Entry:
        return self._there(await self._backend.get(storage_key), key)

    def _there(self, item: KeyValue | None, key: Key) -> Entry:
        if item is None:
            raise errors.not_found(self.resource.plural, self.resource.group, key.name)
        return self._cacher.entry_of(self.resource, item)
