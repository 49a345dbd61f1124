"""The cluster's objects for policies, the registry and start-up hooks: cache reads, and writes past the filters."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import orjson

from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints import objectmeta
from pynetes.apiserver.endpoints.delete import Deletion, checked
from pynetes.apiserver.endpoints.update import complete_deletion, spec_of
from pynetes.apiserver.objects import Index
from pynetes.machinery import errors, schema
from pynetes.machinery.meta import Key, Object, Revision, key_of
from pynetes.machinery.resource import Resource
from pynetes.storage.backend import Backend, KeyExists, RevisionMismatch
from pynetes.storage.cache import Cacher
from pynetes.storage.entry import Entry
from pynetes.storage.leases import Leases
from pynetes.storage.store import Store
from pynetes.storage.watch import CacheEvent

#: Where marks are stored, beside upstream's range allocations, and how many seconds they last by themselves.
MARKS, MARKED = "/registry/ranges/marks/", 60


class Stored:
    """Implements objects.Objects; the Api is set once it exists, because it needs this in turn."""

    def __init__(self, backend: Backend, cacher: Cacher) -> None:
        self._backend = backend
        self._cacher = cacher
        self._leases = Leases(backend)
        self._marks: dict[str, Revision] = {}
        self.api: Api | None = None

    def get(self, resource: Resource, key: Key) -> Object | None:
        """From the cache."""
        entry = self._cacher.of(resource).entry(key)
        return entry.obj if entry is not None else None

    def list(self, resource: Resource, namespace: str = "") -> Iterable[Object]:
        """From the cache."""
        return [entry.obj for entry in self._cacher.of(resource).within(namespace)]

    def count(self, resource: Resource) -> int:
        """In the cache."""
        return len(self._cacher.of(resource))

    def changed(self, resource: Resource) -> int:
        """Moves with every change of this resource."""
        return self._cacher.of(resource).changed

    async def fresh(self, resource: Resource) -> Revision:
        """Wait for every acknowledged write."""
        return await self._cacher.fresh()

    def keep(self, resource: Resource, index: Index, *, having: str = "") -> None:
        """Reset the index now and tell it every change."""
        self._cacher.of(resource).follow(_Told(index, having))

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Complete metadata as the server does and store."""
        assert self.api is not None
        kept = {name: obj["metadata"][name] for name in ("uid", "creationTimestamp") if obj["metadata"].get(name)}
        copy: Object = {"kind": resource.kind, "apiVersion": resource.storage_api_version, **obj}
        copy["metadata"] = dict(obj["metadata"])
        objectmeta.begin(copy, self.api.clock.now())
        copy["metadata"] |= kept
        if resource.generation:
            copy["metadata"]["generation"] = 1
        schema.of(resource).decode(copy)
        schema.of(resource).default(copy)
        if dry_run:
            if self.get(resource, key_of(copy)) is not None:
                raise errors.already_exists(resource.plural, resource.group, copy["metadata"]["name"])
            return copy
        return (await self._store(resource).create(copy)).obj

    async def update(
        self,
        resource: Resource,
        key: Key,
        mutate: Callable[[Object], Object],
        *,
        revision: str = "",
        respecified: bool = True,
        dry_run: bool = False,
    ) -> Object:
        """Read, change, store; again on a conflict unless a revision was demanded."""

        async def change(obj: Object) -> Object:
            if revision and obj["metadata"]["resourceVersion"] != revision:
                raise errors.conflict(resource.plural, resource.group, key.name)
            before = orjson.dumps(spec_of(obj))
            new = mutate(obj)
            if respecified and resource.generation and orjson.dumps(spec_of(new)) != before:
                new["metadata"]["generation"] = (new["metadata"].get("generation") or 0) + 1
            return new

        if dry_run:
            return await change((await self._store(resource).read(key)).copy())
        assert self.api is not None
        entry = await self._store(resource).update(key, change)
        await complete_deletion(self.api, resource, key, entry.obj)
        return entry.obj

    async def delete(
        self, resource: Resource, key: Key, options: Object | None = None, *, dry_run: bool = False
    ) -> Object:
        """As the API deletes, without admission."""
        assert self.api is not None
        scope = Scope(resource, resource.version, "", key.namespace, key.name)
        wanted = checked({**(options or {}), **({"dryRun": ["All"]} if dry_run else {})})
        obj, _ = await Deletion(self.api, None, scope, wanted).run()
        return obj

    async def mark(self, name: str) -> bool:
        """A key on a lease."""
        try:
            lease = await self._leases.get(MARKED)
            self._marks[name] = await self._backend.create(f"{MARKS}{name}", b"{}", lease=lease)
        except KeyExists:
            return False
        return True

    async def unmark(self, name: str) -> None:
        """Only what was set here."""
        if revision := self._marks.pop(name, None):
            with suppress(RevisionMismatch):
                await self._backend.delete(f"{MARKS}{name}", expected=revision)

    def _store(self, resource: Resource) -> Store:
        assert self.api is not None
        return self.api.store(resource)


async def ensure(objects: Stored, resource: Resource, obj: Object) -> bool:
    """Create the object if it is absent; whether it was."""
    if objects.get(resource, key_of(obj)) is not None:
        return False
    try:
        await objects.create(resource, obj)
    except errors.StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        return False
    return True


class _Told:
    """Tells an index of the policies what the cache's events say."""

    def __init__(self, index: Index, having: str) -> None:
        self._index = index
        self._having = having

    def reset(self, entries: Iterable[Entry]) -> None:
        """All of it."""
        self._index.reset([entry.obj for entry in entries if self._wanted(entry)])

    def changed(self, event: CacheEvent) -> None:
        """One change."""
        new = event.entry if event.type != "DELETED" and self._wanted(event.entry) else None
        old = event.old_entry if event.old_entry is not None and self._wanted(event.old_entry) else None
        if new is not None or old is not None:
            self._index.changed(new.obj if new else None, old.obj if old else None)

    def _wanted(self, entry: Entry) -> bool:
        return not self._having or bool(entry.fields.get(self._having))
