"""The watch cache: what the API server reads from, kept current by one watch over the whole store.

One watch means one order: when it has delivered revision N, every resource is at N, so a consistent read is one
question to the store (its revision now) and a wait, and concurrent readers share that question. The watch covers every
key, not just /registry/, so that writes elsewhere in the same etcd leave no reader waiting for a revision nobody
reports.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic

from pynetes.component.clock import Clock
from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Resource
from pynetes.storage import metrics
from pynetes.storage.backend import Backend, Change, Compacted, KeyValue, Unavailable
from pynetes.storage.entry import Entry, Parsed
from pynetes.storage.resource_cache import ResourceCache
from pynetes.storage.watch import CacheEvent, Filter, Watch

__all__ = ["CacheEvent", "Cacher", "Entry", "Filter", "ResourceCache", "Watch"]

log = logging.getLogger(__name__)

#: Where objects live; upstream's --etcd-prefix.
ROOT = "/registry/"
#: Turns of the loop for which a question for the store's revision waits until as many want to know it as were told the
#: last time: those who ask again and again come back in a moment, and share the next one (docs/decisions/240). Seconds
#: that this may take at most, because turns are long when there is much else to do.
TURNS, GATHERING = 8, 0.002
#: Objects asked of the store at once; upstream's page of a list is 500, larger ones make answers of many megabytes.
PAGE = 500
#: Seconds a reader waits for the cache to reach a revision, as upstream.
FRESH = 3.0
#: Entries of own writes that wait for their change to come back.
OWN_WRITES = 1024


class Cacher:
    """All cached resources of one store. `run` keeps it current; `ready` waits for the first listing."""

    def __init__(self, backend: Backend, clock: Clock, resources: Iterable[Resource] = ()) -> None:
        self.revision = Revision(0)
        self._backend = backend
        self._clock = clock
        self._caches: dict[str, ResourceCache] = {}
        self._parsed = Parsed()
        self._started = False
        self._listed = asyncio.Event()
        # Listing a new resource and listing all again must not overlap, or changes between the two would be lost.
        self._listing = asyncio.Lock()
        #: The newest own write of a key and whether it was a delete, until the watch has brought it.
        self._own: dict[str, tuple[Entry, bool]] = {}
        #: Values of keys that are being written, with the objects that they encode.
        self._writing: dict[str, tuple[bytes, Object]] = {}
        self._waiting: dict[asyncio.Future[None], Revision] = {}
        #: Who wants to know the store's revision: told all at once by the next question, which `_wanted` sets off.
        self._readers: list[Callable[[Revision | Exception], None]] = []
        self._wanted = asyncio.Event()
        for resource in resources:
            self._register(resource)

    def __iter__(self) -> Iterator[ResourceCache]:
        return iter(tuple(self._caches.values()))

    @property
    def listed(self) -> bool:
        """Whether the store has been read once."""
        return self._listed.is_set()

    def of(self, resource: Resource) -> ResourceCache:
        """The cache of a resource. Before `run` has started this registers it, afterwards use `add` for new ones.

        Resources with the same storage prefix (events of both groups) share one cache."""
        cache = self._caches.get(resource.prefix)
        if cache is not None:
            return cache
        if self._started:
            raise LookupError(f"{resource.qualified} is not cached; add it first")
        return self._register(resource)

    async def add(self, resource: Resource) -> ResourceCache:
        """Begin to cache a resource while running; returns when it can be read. Again for a known one is free."""
        await self._listed.wait()
        async with self._listing:
            cache = self._caches.get(resource.prefix)
            if cache is not None:
                return cache
            cache = self._register(resource)
            cache.begin()
            try:
                await self._list(cache)
            except BaseException:
                self.remove(resource)
                raise
            return cache

    def remove(self, resource: Resource) -> None:
        """Stop caching a resource; its watchers are closed."""
        cache = self._caches.pop(resource.prefix, None)
        if cache is not None:
            cache.reset()

    async def run(self) -> None:
        """Keep the cache current until cancelled."""
        self._started = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask())
            group.create_task(self._keep())

    async def _keep(self) -> None:
        """List, watch, and list again if the store has compacted our place."""
        while True:
            try:
                async with self._listing:
                    await self._relist()
                async with self._backend.watch("", after=self.revision) as changes:
                    await self._follow(changes)
            except Compacted:
                log.warning("the store has compacted the cache's revision %d; listing again", self.revision)
            except Unavailable as error:
                log.warning("the store is unavailable: %s", error)
                await self._clock.sleep(1.0)

    def settle(self) -> None:
        """Watches begin here or later: what came before is the server's own starting up, which nobody can have seen."""
        for cache in self._caches.values():
            cache.settle()

    async def ready(self) -> None:
        """Until everything has been listed once."""
        await self._listed.wait()

    async def fresh(self, min_revision: Revision | None = None) -> Revision:
        """Wait until the cache shows every write acknowledged before this call, or at least `min_revision`.

        Returns the cache's revision. Raises StatusError (504, upstream's too large resource version) after 3 s, and
        Unavailable if the store cannot be asked."""
        await self._listed.wait()
        wanted = await self._current() if min_revision is None else min_revision
        if self.revision < wanted:
            try:
                async with asyncio.timeout(FRESH):
                    await self._reach(wanted)
            except TimeoutError:
                raise _too_large(wanted, self.revision) from None
        return self.revision

    def soon(self, then: Callable[[bool], None]) -> None:
        """`fresh` without a task: calls back with True when it is, with False if one must wait for it or it failed."""
        self._join(partial(self._tell, then))

    def _tell(self, then: Callable[[bool], None], answer: Revision | Exception) -> None:
        then(not isinstance(answer, Exception) and self.revision >= answer)

    async def answers(self) -> bool:
        """Whether the store does, soon enough for who asks after our health."""
        try:
            async with asyncio.timeout(FRESH):
                await self._current()
        except (TimeoutError, Unavailable):
            return False
        return True

    @contextmanager
    def writing(self, storage_key: str, value: bytes, obj: Object) -> Iterator[None]:
        """Write within: a watch that is faster than the acknowledgement need not parse the value either."""
        self._writing[storage_key] = value, obj
        try:
            yield
        finally:
            self._writing.pop(storage_key, None)

    def wrote(self, entry: Entry, *, deleted: bool = False) -> None:
        """Note an own write: `newest` knows it at once, and the watch need not make its entry again."""
        own = self._own.pop(entry.storage_key, None)
        if own is not None and own[0].revision > entry.revision:
            self._own[entry.storage_key] = own
        elif entry.revision > self.revision:
            self._own[entry.storage_key] = entry, deleted
            if len(self._own) > OWN_WRITES:
                del self._own[next(iter(self._own))]

    def newest(self, resource: Resource, key: Key) -> Entry | None:
        """The newest version this process knows of: what it has written itself, or else the cache's."""
        own = self._own.get(resource.storage_key(key))
        if own is None:
            return self.of(resource).entry(key)
        return None if own[1] else own[0]

    def entry_of(self, resource: Resource, item: KeyValue, obj: Object | None = None) -> Entry:
        """The entry of a value read from the store itself, or written there from obj. Raises Undecodable."""
        return self._caches[resource.prefix].make(item, obj)

    def _register(self, resource: Resource) -> ResourceCache:
        cache = self._caches[resource.prefix] = ResourceCache(resource, self, self._parsed)
        metrics.named(resource)
        return cache

    async def _relist(self) -> None:
        """Fill every cache from one revision of the store. A cache that is not at its first listing loses its place."""
        items: dict[str, list[KeyValue]] = {prefix: [] for prefix in self._caches}
        revision: Revision | None = None
        async for page, at in self._pages(ROOT):
            revision = at
            for item in page:
                prefix = self._prefix(item.key)
                if prefix in items:
                    items[prefix].append(item)
        assert revision is not None
        self.revision = revision
        self._own.clear()
        for prefix, found in items.items():
            if (cache := self._caches.get(prefix)) is not None:
                cache.replace(found, revision)
                metrics.listed(cache.resource, len(found), len(found))
        self._listed.set()
        self._advance()

    async def _list(self, cache: ResourceCache) -> None:
        items: list[KeyValue] = []
        revision = Revision(0)
        async for page, at in self._pages(cache.resource.prefix):
            items.extend(page)
            revision = at
        cache.fill(items, revision)
        metrics.listed(cache.resource, len(items), len(items))

    async def _pages(self, prefix: str) -> AsyncIterator[tuple[Sequence[KeyValue], Revision]]:
        revision, start = None, ""
        while True:
            page = await self._backend.list(prefix, start=start, limit=PAGE, revision=revision)
            # Later pages are read at the first one's revision, whatever has been written since.
            revision = revision or page.revision
            yield page.items, revision
            if not page.remaining:
                return
            start = page.items[-1].key + "\0"

    async def _follow(self, changes: AsyncIterator[Sequence[Change]]) -> None:
        async for batch in changes:
            for change in batch:
                cache = self._caches.get(self._prefix(change.key))
                if cache is not None:
                    cache.apply(change, self._own_version(change))
            self.revision = batch[-1].modified
            self._advance()

    def _own_version(self, change: Change) -> Entry | None:
        own = self._own.get(change.key)
        if own is None or own[0].revision > change.modified:
            written = self._writing.get(change.key)
            if written is None or written[0] != change.value:
                return None
            cache = self._caches[self._prefix(change.key)]
            return cache.make(KeyValue(change.key, change.value, change.created, change.modified), written[1])
        del self._own[change.key]
        return own[0] if own[0].revision == change.modified else None

    def _prefix(self, key: str) -> str:
        """The registered prefix above a key: /registry/services/specs/ before /registry/services/."""
        parts = key.split("/", 4)
        if len(parts) > 4:
            longer = f"/{parts[1]}/{parts[2]}/{parts[3]}/"
            if longer in self._caches:
                return longer
        return f"/{parts[1]}/{parts[2]}/" if len(parts) > 3 else ""

    def _advance(self) -> None:
        for future, revision in list(self._waiting.items()):
            if self.revision >= revision and not future.done():
                future.set_result(None)

    async def _reach(self, revision: Revision) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = revision
        try:
            await future
        finally:
            del self._waiting[future]

    async def _current(self) -> Revision:
        """The store's revision, asked after this call began."""
        future: asyncio.Future[Revision] = asyncio.get_running_loop().create_future()

        def told(answer: Revision | Exception) -> None:
            if future.done():
                return
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self._join(told)
        return await future

    def _join(self, told: Callable[[Revision | Exception], None]) -> None:
        """Who comes while a question is out waits for the next one, which is asked for all of them."""
        self._readers.append(told)
        self._wanted.set()

    async def _ask(self) -> None:
        last = 0
        while True:
            await self._wanted.wait()
            await self._gather(last)
            self._wanted.clear()
            readers, self._readers = self._readers, []
            last = len(readers)
            answer: Revision | Exception
            try:
                answer = await self._backend.current_revision()
            except Exception as error:
                answer = error
            for told in readers:
                told(answer)

    async def _gather(self, readers: int) -> None:
        until = monotonic() + GATHERING
        for _ in range(TURNS):
            if len(self._readers) >= readers or monotonic() > until:
                return
            await asyncio.sleep(0)


def _too_large(wanted: Revision, current: Revision) -> errors.StatusError:
    message = f"Timeout: Too large resource version: {wanted}, current: {current}"
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    return errors.failure(504, "Timeout", message, causes=causes, retryAfterSeconds=1)
