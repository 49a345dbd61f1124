"""ConfigMaps and Secrets that pods refer to: read once when first needed, then watched one by one.

A node may read only the objects its pods name, so each has a watch of its own, which lives as long as a pod needs it.
A change wakes the pods that use the object, and their volumes are refreshed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pynetes.apis.core import configmaps, secrets
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

#: Seconds between two watches of one object, and how long one lasts.
PAUSE = 5.0
WATCH = 1800
Name = tuple[str, Key]
KINDS: dict[str, Resource] = {"configmaps": configmaps.RESOURCE, "secrets": secrets.RESOURCE}


@dataclass
class _Watched:
    users: set[str] = field(default_factory=set)
    object: Object | None = None
    known: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class References:
    """Referenced objects by kind and key, with the UIDs of the pods that use them."""

    def __init__(self, client: Client, clock: Clock, group: Group, wake: Callable[[str], None]) -> None:
        self._client, self._clock, self._group, self._wake = client, clock, group, wake
        self._watched: dict[Name, _Watched] = {}

    def use(self, uid: str, names: Iterable[Name]) -> None:
        """Say what a pod refers to; what it no longer names is let go."""
        wanted = set(names)
        for name in wanted:
            entry = self._watched.get(name)
            if entry is None:
                entry = self._watched[name] = _Watched()
                entry.task = self._group.start(self._follow(name, entry))
            entry.users.add(uid)
        for name, entry in tuple(self._watched.items()):
            if uid in entry.users and name not in wanted:
                self._leave(uid, name, entry)

    def release(self, uid: str) -> None:
        """A pod is gone."""
        self.use(uid, ())

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object, None when there is none; of an object not in use, as it is right now. Raises StatusError."""
        entry = self._watched.get((kind, Key(namespace, name)))
        if entry is None:
            return await self._client.find(KINDS[kind], Key(namespace, name))
        if not entry.known.is_set() or entry.object is None:
            # Absent may have changed since: the pod waits for exactly this object, so ask.
            entry.object = await self._client.find(KINDS[kind], Key(namespace, name))
            entry.known.set()
        return entry.object

    def _leave(self, uid: str, name: Name, entry: _Watched) -> None:
        entry.users.discard(uid)
        if not entry.users:
            del self._watched[name]
            if entry.task:
                entry.task.cancel()

    async def _follow(self, name: Name, entry: _Watched) -> None:
        kind, key = name
        while True:
            with contextlib.suppress(StatusError, Unreachable):
                await self._watch(KINDS[kind], key, entry)
            await self._clock.sleep(PAUSE)

    async def _watch(self, resource: Resource, key: Key, entry: _Watched) -> None:
        listed = await self._client.list(resource, namespace=key.namespace, field_selector=f"metadata.name={key.name}")
        self._put(entry, listed.items[0] if listed.items else None)
        async with self._client.watch(
            resource,
            namespace=key.namespace,
            name=key.name,
            resource_version=listed.resource_version,
            timeout_seconds=WATCH,
        ) as events:
            async for event in events:
                if event.type != "BOOKMARK":
                    self._put(entry, None if event.type == "DELETED" else event.object)

    def _put(self, entry: _Watched, obj: Object | None) -> None:
        before = entry.object
        entry.object = obj
        entry.known.set()
        if _revision(before) != _revision(obj):
            for uid in entry.users:
                self._wake(uid)


def _revision(obj: Object | None) -> str:
    return str(obj["metadata"].get("resourceVersion")) if obj else ""
