"""The Context of one controller: reads from the shared caches, writes that are worth a request, and nothing else.

See client/controller.py for what each method promises.

A controller reads what it wrote: after an update, the cache is read only once it shows that write. Otherwise the next
reconcile, woken by something else, would decide from the object as it was before and run into a conflict.
"""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from pynetes.client.events import Recorder
from pynetes.client.expectations import Expectations
from pynetes.client.informer import Informer, InformerFactory
from pynetes.client.rest import Client
from pynetes.client.workqueue import WorkQueue
from pynetes.component import tracing
from pynetes.component.clock import Clock
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import UID, Key, Object, controller_of, key_of, uid_of
from pynetes.machinery.resource import Resource

#: Seconds after which a cache that does not show an own write is read as it is: its watch has broken.
OWN_WRITE = 1.0


class ControllerContext:
    """Implements client.controller.Context."""

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        informers: InformerFactory,
        queue: WorkQueue[Key],
        recorder: Recorder,
        clock: Clock,
    ) -> None:
        self.name = name
        self.client = client
        self.expectations = Expectations(clock)
        #: For the few controllers that follow resources nobody names beforehand: the garbage collector, quota.
        self.informers = informers
        self._queue, self._recorder, self._clock = queue, recorder, clock
        #: The newest own update of each resource.
        self._written: dict[Resource, int] = {}

    def now(self) -> datetime:
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """For ticks."""
        await self._clock.sleep(seconds)

    async def cached(self, resource: Resource, key: Key) -> Object | None:
        informer = self._informer(resource)
        revision = self._written.get(resource, 0)
        if revision > informer.reached:
            try:
                async with asyncio.timeout(OWN_WRITE):
                    await informer.reach(revision)
            except TimeoutError:
                pass  # a conflict is the worst that follows, and it is tried again
        return informer.get(key)

    async def live(self, resource: Resource, key: Key) -> Object | None:
        return await self.client.find(resource, key)

    def listed(self, resource: Resource, *, namespace: str = "", index: str = "", value: str = "") -> Sequence[Object]:
        return self._informer(resource).listed(namespace=namespace, index=index, value=value)

    async def create(self, resource: Resource, obj: Object, *, subresource: str = "", key: Key | None = None) -> Object:
        owner = controller_of(obj) if not subresource and "metadata" in obj else None
        expected = Key(obj["metadata"].get("namespace") or "", owner["name"]) if owner else None
        try:
            created = await self.client.create(resource, obj, subresource=subresource, key=key)
        except BaseException:
            if expected:
                self.expectations.tried(expected, created=False)
            raise
        if expected:
            self.expectations.tried(expected, created=True)
        return created

    async def update(self, resource: Resource, obj: Object) -> Object:
        known = self._known(resource, key_of(obj))
        if known is not None and _without_status(known) == _without_status(obj):
            return obj
        return self._wrote(resource, known, await self.client.update(resource, obj))

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        known = self._known(resource, key_of(obj))
        if known is not None and _status_write(known) == _status_write(obj):
            return obj
        return self._wrote(resource, known, await self.client.update(resource, obj, subresource="status"))

    async def patch(
        self, resource: Resource, key: Key, patch: Any, *, subresource: str = "", kind: str = "merge"
    ) -> Object:
        manager = self.client.component if kind == "apply" else ""
        return await self.client.patch(
            resource, key, patch, kind=kind, subresource=subresource, field_manager=manager, force=kind == "apply"
        )

    async def delete(self, resource: Resource, obj: Object, *, propagation: str = "", grace: int | None = None) -> None:
        uid = uid_of(obj)
        try:
            await self.client.delete(resource, key_of(obj), uid=uid, propagation=propagation, grace=grace)
        except StatusError as error:
            self.expectations.not_deleted(uid)
            # Another object of this name has another UID: the one meant is gone.
            if error.reason not in ("NotFound", "Conflict"):
                raise

    def event(self, obj: Object, kind: str, reason: str, message: str) -> None:
        self._recorder.event(obj, kind, reason, message, source=self.name.removesuffix("-controller") + "-controller")

    def enqueue(self, key: Key, *, after: timedelta = timedelta()) -> None:
        self._queue.add_after(key, after.total_seconds())

    def expect(self, key: Key, *, creates: int = 0, deletes: Iterable[UID] = ()) -> None:
        self.expectations.expect(key, creates=creates, deletes=deletes)

    def satisfied(self, key: Key) -> bool:
        return self.expectations.satisfied(key)

    def _informer(self, resource: Resource) -> Informer:
        informer = self.informers.known(resource)
        if informer is None:
            raise LookupError(f"{self.name} reads {resource.qualified} from the cache but declares no Watch for it")
        return informer

    def _wrote(self, resource: Resource, known: Object | None, obj: Object) -> Object:
        # What is not in the cache may be outside its selection, and then no event would tell of the write.
        if known is not None:
            self._written[resource] = max(self._written.get(resource, 0), tracing.revision(obj["metadata"]))
        return obj

    def _known(self, resource: Resource, key: Key) -> Object | None:
        informer = self.informers.known(resource)
        return informer.get(key) if informer else None


def _without_status(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name != "status"}


def _status_write(obj: Object) -> tuple[Object | None, Object]:
    """What a status write can change: some kinds keep annotations with it."""
    return obj.get("status"), obj["metadata"].get("annotations") or {}
