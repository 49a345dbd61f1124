"""The cluster's objects as a dict, for policies and handlers: reads see writes at once, indexes follow."""

import copy
import itertools
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from pynetes.apiserver.authn.user import AUTHENTICATED, MASTERS, User
from pynetes.apiserver.authz.union import Modes
from pynetes.apiserver.objects import Context, Index, Settings
from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object, Revision, key_of
from pynetes.machinery.resource import Resource

ADMIN = User("admin", groups=(MASTERS, AUTHENTICATED))
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class FakeClock:
    """Stands still unless told or slept on."""

    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


class FakeObjects:
    """Implements objects.Objects."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[Key, Object]] = {}
        self._changes: dict[str, int] = {}
        self._indexes: dict[str, list[Index]] = {}
        self._revisions = itertools.count(1)
        self._marks: set[str] = set()

    def put(self, resource: Resource, obj: Object) -> Object:
        """Store as is, with a uid and a resourceVersion."""
        old = self.get(resource, key_of(obj))
        new = copy.deepcopy(obj)
        new["metadata"].setdefault("uid", str(uuid.uuid4()))
        new["metadata"].setdefault("creationTimestamp", "2026-01-02T03:04:05Z")
        new["metadata"]["resourceVersion"] = str(next(self._revisions))
        self.stored.setdefault(resource.qualified, {})[key_of(new)] = new
        self._tell(resource, new, old)
        return new

    def remove(self, resource: Resource, key: Key) -> Object:
        """Take it away at once."""
        old = self.stored[resource.qualified].pop(key)
        self._tell(resource, None, old)
        return old

    def count(self, resource: Resource) -> int:
        return len(self.stored.get(resource.qualified, {}))

    def _tell(self, resource: Resource, new: Object | None, old: Object | None) -> None:
        self._changes[resource.qualified] = self.changed(resource) + 1
        for index in self._indexes.get(resource.qualified, ()):
            index.changed(new, old)

    def get(self, resource: Resource, key: Key) -> Object | None:
        return self.stored.get(resource.qualified, {}).get(key)

    def list(self, resource: Resource, namespace: str = "") -> Iterable[Object]:
        found = self.stored.get(resource.qualified, {}).items()
        return [obj for key, obj in found if not namespace or key.namespace == namespace]

    def changed(self, resource: Resource) -> int:
        return self._changes.get(resource.qualified, 0)

    def keep(self, resource: Resource, index: Index, *, having: str = "") -> None:
        index.reset(self.list(resource))
        self._indexes.setdefault(resource.qualified, []).append(index)

    async def fresh(self, resource: Resource) -> Revision:
        return Revision(0)

    async def mark(self, name: str) -> bool:
        if name in self._marks:
            return False
        self._marks.add(name)
        return True

    async def unmark(self, name: str) -> None:
        self._marks.discard(name)

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        if self.get(resource, key_of(obj)) is not None:
            raise errors.already_exists(resource.plural, resource.group, obj["metadata"]["name"])
        return obj if dry_run else self.put(resource, obj)

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
        current = self.get(resource, key)
        if current is None:
            raise errors.not_found(resource.plural, resource.group, key.name)
        if revision and current["metadata"]["resourceVersion"] != revision:
            raise errors.conflict(resource.plural, resource.group, key.name)
        new = mutate(copy.deepcopy(current))
        return new if dry_run else self.put(resource, new)

    async def delete(
        self, resource: Resource, key: Key, options: Object | None = None, *, dry_run: bool = False
    ) -> Object:
        current = self.get(resource, key)
        if current is None:
            raise errors.not_found(resource.plural, resource.group, key.name)
        return current if dry_run else self.remove(resource, key)


def obj(resource: Resource, name: str, namespace: str = "", **parts: object) -> Object:
    """An object with its kind, name and whatever else is given."""
    metadata: Object = {"name": name, **({"namespace": namespace} if namespace else {})}
    metadata |= parts.pop("metadata", {})  # type: ignore[arg-type]
    return {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata, **parts}


def context(
    objects: FakeObjects | None = None, *, modes: tuple[str, ...] = ("Node", "RBAC"), **parts: object
) -> Context:
    """What policies and handlers are handed."""
    found = objects or FakeObjects()
    authorizer = Modes(modes, found)
    given = {"clock": FakeClock(), "settings": Settings(), **parts}
    return Context(objects=found, authorizer=authorizer, rbac=authorizer.rbac, **given)  # type: ignore[arg-type]
