"""A local copy of a collection that follows the API server: list once, then watch.

A watch that ends goes on from the last revision it saw; only a revision that the server has forgotten (410) makes it
list again. Handlers see each change once, in order, with the object before and after; after a new list, the difference
to what was known. Informers are shared: a process has one per resource, however many controllers watch it.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

from pynetes.client.controller import Indexer
from pynetes.client.rest import Client, Event
from pynetes.client.store import Store
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.tasks import Group
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource

#: Called with the newest state and its predecessor (None on add); on a delete with the last state as both and True.
Handler = Callable[[Object, Object | None, bool], None]

#: Delay before trying again, in seconds: doubles from the first to the last, with jitter. A server that is not there
#: is tried again every second at most, because a refused connection costs nobody anything; one that answers with an
#: error is left in peace.
FIRST_DELAY = 0.1
LONGEST_UNREACHABLE = 1.0
LONGEST_REFUSED = 30.0
#: How long one watch lasts, in seconds; between it and twice it, so that watches do not all end together.
WATCH_SECONDS = 300

_LOG = logging.getLogger(__name__)


class _Where(TypedDict):
    namespace: str
    field_selector: str
    label_selector: str


class Informer:
    """Follows one resource, possibly of one namespace or filtered by field or label."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        clock: Clock,
        namespace: str = "",
        field_selector: str = "",
        label_selector: str = "",
        dice: random.Random | None = None,
    ) -> None:
        self.resource = resource
        self.store = Store()
        #: The revision up to which the store is complete.
        self.revision = ""
        self._client, self._clock, self._dice = client, clock, dice or random.Random()
        self._where: _Where = {
            "namespace": namespace,
            "field_selector": field_selector,
            "label_selector": label_selector,
        }
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], int] = {}
        self._delay = 0.0
        self._absent = 0.0

    def handle(self, handler: Handler) -> None:
        """Tell handler of every change from now on, beginning with what is here already."""
        self._handlers.append(handler)
        for obj in self.store.listed():
            handler(obj, None, False)

    def index(self, indexes: Mapping[str, Indexer]) -> None:
        """Add indexes to the store."""
        self.store.index(indexes)

    def get(self, key: Key) -> Object | None:
        """The object, None when absent. Shared: copy before changing."""
        return self.store.get(key)

    def listed(self, *, namespace: str = "", index: str = "", value: str = "") -> Sequence[Object]:
        """As Store.listed."""
        return self.store.listed(namespace=namespace, index=index, value=value)

    @property
    def synced(self) -> bool:
        """Whether the first list has arrived and every handler has seen it."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait for the first list."""
        await self._synced.wait()

    @property
    def reached(self) -> int:
        """The revision as a number; 0 before the first list, and where the server's revisions are not numbers."""
        return int(self.revision) if self.revision.isdecimal() else 0

    async def reach(self, revision: int) -> None:
        """Wait until the store shows what was written at this revision."""
        while self.reached < revision:
            shown = asyncio.get_running_loop().create_future()
            self._waiting[shown] = revision
            try:
                await shown
            finally:
                del self._waiting[shown]

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                if not self.revision:
                    await self._list()
                await self._watch()
            except StatusError as error:
                await self._failed(error)
            except Unreachable as error:
                _LOG.debug(logs.fact("watch interrupted", resource=self.resource.qualified, error=error))
                self._absent = min(self._absent * 2 or FIRST_DELAY, LONGEST_UNREACHABLE)
                await self._pause(self._absent)

    async def _failed(self, error: StatusError) -> None:
        if error.code == 410 or error.reason in ("Expired", "Gone"):
            _LOG.info(logs.fact("revision expired, listing again", resource=self.resource.qualified))
            self.revision = ""
        else:
            _LOG.warning(logs.fact("cannot list or watch", resource=self.resource.qualified, error=error))
        await self._back_off()

    async def _back_off(self) -> None:
        self._absent = 0.0  # it did answer
        self._delay = min(self._delay * 2 or FIRST_DELAY, LONGEST_REFUSED)
        await self._pause(self._delay)

    async def _pause(self, seconds: float) -> None:
        await self._clock.sleep(seconds * (0.5 + self._dice.random() / 2))

    async def _list(self) -> None:
        listed = await self._client.list(self.resource, **self._where)
        gone = set(self.store.keys())
        for obj in listed.items:
            key = key_of(obj)
            gone.discard(key)
            known = self.store.get(key)
            if known is None or known["metadata"].get("resourceVersion") != obj["metadata"].get("resourceVersion"):
                self._put(key, obj)
        for key in gone:
            self._remove(key, self.store.get(key))
        self._at(listed.resource_version)
        self._synced.set()

    async def _watch(self) -> None:
        seconds = WATCH_SECONDS + self._dice.randrange(WATCH_SECONDS)
        watch = self._client.watch(
            self.resource, resource_version=self.revision, timeout_seconds=seconds, **self._where
        )
        before = self.revision
        started = self._clock.monotonic()
        try:
            async with watch as events:
                async for event in events:
                    self._apply(event)
        finally:
            if self._clock.monotonic() - started > 1:
                self._delay = self._absent = 0.0
        if self.revision == before:  # a server that closes at once must not be asked in a tight loop
            await self._back_off()

    def _apply(self, event: Event) -> None:
        obj = event.object
        if event.type == "DELETED":
            self._remove(key_of(obj), obj)
        elif event.type != "BOOKMARK":
            self._put(key_of(obj), obj)
        self._at(obj["metadata"]["resourceVersion"])

    def _at(self, revision: str) -> None:
        self.revision = revision
        if not self._waiting:
            return
        reached = self.reached
        for shown, wanted in self._waiting.items():
            if reached >= wanted and not shown.done():
                shown.set_result(None)

    def _put(self, key: Key, obj: Object) -> None:
        old = self.store.replace(key, obj)
        for handler in self._handlers:
            handler(obj, old, False)

    def _remove(self, key: Key, last: Object | None) -> None:
        known = self.store.replace(key, None)
        obj = last or known
        if known is not None and obj is not None:
            for handler in self._handlers:
                handler(obj, obj, True)


class InformerFactory:
    """The informers of a process: one per resource and selection, started when first asked for."""

    def __init__(self, client: Client, *, clock: Clock, group: Group, dice: random.Random | None = None) -> None:
        self._client, self._clock, self._group, self._dice = client, clock, group, dice
        self._informers: dict[tuple[Resource, str, str], Informer] = {}
        self._tasks: dict[tuple[Resource, str, str], asyncio.Task[None]] = {}

    def informer(self, resource: Resource, *, namespace: str = "", field_selector: str = "") -> Informer:
        """The shared informer, running."""
        name = (resource, namespace, field_selector)
        if name not in self._informers:
            informer = self._informers[name] = Informer(
                self._client,
                resource,
                clock=self._clock,
                namespace=namespace,
                field_selector=field_selector,
                dice=self._dice,
            )
            self._tasks[name] = self._group.start(informer.run(), name=f"informer {resource.qualified}")
        return self._informers[name]

    def stop(self, resource: Resource) -> None:
        """End the unfiltered informer of a resource that is no longer served."""
        if self._informers.pop((resource, "", ""), None):
            self._tasks.pop((resource, "", "")).cancel()

    def known(self, resource: Resource) -> Informer | None:
        """The informer of a resource if anyone asked for one, the unfiltered one first."""
        whole = self._informers.get((resource, "", ""))
        return whole or next((i for (kind, _, _), i in self._informers.items() if kind == resource), None)

    def unsynced(self) -> list[str]:
        """Resources whose first list has not arrived."""
        return sorted(i.resource.qualified for i in self._informers.values() if not i.synced)

    async def wait_synced(self) -> None:
        """Wait for the first list of every informer."""
        for informer in tuple(self._informers.values()):
            await informer.wait_synced()
