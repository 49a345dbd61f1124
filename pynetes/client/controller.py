"""The frame of a controller: what it watches, its one reconcile function, and the RBAC rules it needs.

A controller is a pure decision, a short reconcile, and this record. The manager (client/manager.py) gives it everything
else: informers shared by all controllers, a work queue with back-off per key, workers, leader election, events,
metrics and the ClusterRole of the ServiceAccount it runs as.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from pynetes.component.metrics import Gauge
from pynetes.machinery.meta import UID, Key, Object
from pynetes.machinery.resource import Resource


class Foreseen(Exception):
    """A failure of the world outside that a reconcile counts on: tried again like any other, logged in one line."""


class Rule(NamedTuple):
    """An RBAC rule: Rule("jobs.batch,pods", "get,list,watch"); a subresource is "pods/status"."""

    resources: str
    verbs: str


class Context(Protocol):
    """What reconcile may use. Objects from `cached` and `listed` are shared: copy before changing."""

    def now(self) -> datetime:
        """The clock's time, UTC."""

    async def cached(self, resource: Resource, key: Key) -> Object | None:
        """From the informer; None when absent."""

    async def live(self, resource: Resource, key: Key) -> Object | None:
        """From the API server; None when absent."""

    def listed(self, resource: Resource, *, namespace: str = "", index: str = "", value: str = "") -> Sequence[Object]:
        """All cached objects, of one namespace, or those an index maps to value.

        Every informer has the indexes "owner" (UIDs of all ownerReferences) and "controller" (UID of the controller
        reference); a Watch may declare more."""

    async def create(self, resource: Resource, obj: Object, *, subresource: str = "", key: Key | None = None) -> Object:
        """Create, or POST to a subresource of key. Raises StatusError."""

    async def update(self, resource: Resource, obj: Object) -> Object:
        """Replace spec and metadata; skipped, returning obj, when it equals the cached object."""

    async def update_status(self, resource: Resource, obj: Object) -> Object:
        """Replace status, and annotations where the kind lets a status write; skipped, returning obj, when both are the
        cached object's."""

    async def patch(
        self, resource: Resource, key: Key, patch: Any, *, subresource: str = "", kind: str = "merge"
    ) -> Object:
        """kind is merge, json, strategic or apply."""

    async def delete(self, resource: Resource, obj: Object, *, propagation: str = "", grace: int | None = None) -> None:
        """Delete this very object (UID precondition); an absent one is no error. propagation: Foreground, …"""

    def event(self, obj: Object, kind: str, reason: str, message: str) -> None:
        """Record an Event about obj, kind Normal or Warning; aggregated, written in the background."""

    def enqueue(self, key: Key, *, after: timedelta = timedelta()) -> None:
        """Reconcile another key of this controller, now or later."""

    def expect(self, key: Key, *, creates: int = 0, deletes: Iterable[UID] = ()) -> None:
        """Say before writing what the cache will have to show before `satisfied(key)` is true again."""

    def satisfied(self, key: Key) -> bool:
        """Whether the cache has seen all that was expected for key (or five minutes have passed)."""


#: None: done. A timedelta: look again after it. An exception: again with back-off, logged once at the edge.
Reconcile = Callable[[Any, Key], Awaitable[timedelta | None]]
#: Maps a changed object to keys to reconcile. Called with the newest state and its predecessor (None on add); on a
#: delete with the last state as both.
Mapper = Callable[["Lookup", Object, Object | None], Iterable[Key]]
#: An index function: the values under which an object is found.
Indexer = Callable[[Object], Iterable[str]]


class Lookup(Protocol):
    """The caches, for mappers."""

    def listed(self, resource: Resource, *, namespace: str = "", index: str = "", value: str = "") -> Sequence[Object]:
        """As Context.listed."""


@dataclass(frozen=True)
class Watch:
    """A resource that wakes the controller.

    Neither owner nor keys: the object's own key. owner=R: the key of its controller reference of kind R, which also
    counts towards expectations. keys=f: whatever f yields.
    """

    resource: Resource
    _: KW_ONLY
    owner: Resource | None = None
    keys: Mapper | None = None
    indexes: Mapping[str, Indexer] | None = None
    field_selector: str = ""


#: A gauge, and what it shows when somebody scrapes, read from the caches: pairs of label values and number.
Shown = tuple[Gauge, Callable[[Lookup], Iterable[tuple[tuple[str, ...], float]]]]


@dataclass(frozen=True, kw_only=True)
class Controller:
    """A controller, named as in upstream's --controllers."""

    name: str
    reconcile: Reconcile
    watches: Sequence[Watch]
    rules: Sequence[Rule] = ()
    workers: int = 5
    #: The ServiceAccount in kube-system that it runs as, where its name is another than the controller's.
    service_account: str = ""
    #: Whether it writes as the controller manager itself, because no ServiceAccount may do what it does.
    itself: bool = False
    #: Runs beside the workers, for what no object wakes (a lease that did not move): yields keys to reconcile.
    ticks: Callable[[Any], AsyncIterator[Key]] | None = None
    #: What of the caches is shown as metrics.
    shows: Sequence[Shown] = ()
