"""What the components have seen of the 29 paths, as it happens, for everybody who looks at the live map.

One reader follows the components' sockets while there is anybody to look, adds up what comes, and tells it on in ticks;
with nobody looking, no socket is read. Components that come or go are noticed within a tick.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pynetes.component import tasks
from pynetes.component.clock import Clock
from pynetes.component.tracing import BUCKETS, Identity, Interaction
from pynetes.machinery.meta import Object
from pynetes.paths import observed, registry

#: Seconds between two tellings.
TICK = 1.0
#: Ticks that rate, latency and errors are taken over.
WINDOW = 30
#: The newest interactions kept per path, and those that one tick tells at most per path.
KEPT, TOLD = 40, 12
MOST_SECONDS = 10.0


@dataclass
class Edge:
    """One path, all components together."""

    requests: int = 0
    errors: int = 0
    last: float = 0.0
    identity: Identity = field(default_factory=Identity)
    newest: deque[Interaction] = field(default_factory=lambda: deque(maxlen=KEPT))
    #: Per tick of the window: requests, errors, requests by bucket of latency.
    ticks: deque[tuple[int, int, Counter[int]]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    fresh: list[Interaction] = field(default_factory=list)

    def saw(self, item: Interaction) -> None:
        """Count one."""
        self.requests += 1
        self.errors += bool(item.error)
        self.last = max(self.last, item.at)
        self.newest.append(item)
        self.fresh.append(item)

    def tick(self) -> None:
        """A second is over."""
        spread = Counter(_bucket(item.seconds) for item in self.fresh if item.seconds)
        self.ticks.append((len(self.fresh), sum(bool(item.error) for item in self.fresh), spread))
        self.fresh = []

    def told(self, count: int) -> Object:
        """For the page: totals, figures of the window, and the newest `count` interactions."""
        seconds = max(1, len(self.ticks)) * TICK
        spread: Counter[int] = sum((tick[2] for tick in self.ticks), Counter())
        return {
            "requests": self.requests,
            "errors": self.errors,
            "last": self.last,
            "rate": sum(tick[0] for tick in self.ticks) / seconds,
            "failing": sum(tick[1] for tick in self.ticks) / seconds,
            "p50": _quantile(spread, 0.5),
            "p99": _quantile(spread, 0.99),
            "identity": asdict(self.identity),
            "calls": [item._asdict() for item in list(self.newest)[-count:]] if count else [],
        }


def _bucket(seconds: float) -> int:
    return next(index for index, bound in enumerate(BUCKETS) if seconds <= bound)


def _quantile(spread: Counter[int], share: float) -> float | None:
    """Upper bound in seconds of the bucket that the share falls into; None with nothing measured."""
    wanted, seen = share * spread.total(), 0
    for index, bound in enumerate(BUCKETS):
        seen += spread[index]
        if spread[index] and seen >= wanted:
            return min(bound, MOST_SECONDS)
    return None


class Traffic:
    """What is known now. `follow` is for one viewer; the sockets are read as long as there is one."""

    def __init__(self, folder: Path, clock: Clock, group: tasks.Group) -> None:
        self._folder, self._clock, self._group = folder, clock, group
        self.edges: dict[int, Edge] = {}
        self.components: dict[str, list[str]] = {}
        self._viewers: set[asyncio.Queue[Object]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self._told_by_dialler: set[int] = set()

    async def follow(self) -> AsyncGenerator[Object, None]:
        """First everything, then what changes, in ticks."""
        queue: asyncio.Queue[Object] = asyncio.Queue(8)
        self._viewers.add(queue)
        try:
            if self._reader is None:
                self._ready.clear()
                self._reader = self._group.start(self._read(), name="traffic")
            await self._ready.wait()
            yield self.whole()
            while True:
                yield await queue.get()
        finally:
            self._viewers.discard(queue)
            if not self._viewers and self._reader is not None:
                self._reader.cancel()
                self._reader = None

    def whole(self) -> Object:
        """The registry, and all that is known of it."""
        return {
            "paths": [path._asdict() for path in (*registry.PATHS, registry.MTLS)],
            "components": self.components,
            "edges": {str(number): edge.told(KEPT) for number, edge in self.edges.items()},
        }

    async def detail(self, number: int) -> Object:
        """What secured one path: of each component that counts it, who it was and which rule let it pass."""
        documents = await observed.snapshots(self._folder, ring=False)
        counted = [(each, each["counters"][str(number)]) for each in documents if str(number) in each["counters"]]
        identities = [
            {"component": each["component"], "instance": each["instance"], **counters["identity"]}
            for each, counters in counted
        ]
        edge = self.edges.get(number)
        return {"identities": identities, "calls": [item._asdict() for item in edge.newest] if edge else []}

    async def story(self, name: str) -> list[Object]:
        """The causal story of an object, "pods default/web", from what the components remember."""
        found = observed.interactions(await observed.snapshots(self._folder))
        return [item._asdict() for item in observed.story(found, name)]

    async def _read(self) -> None:
        async with tasks.Group() as group:
            following: dict[Path, asyncio.Task[None]] = {}
            await self._look(following, group)
            self._ready.set()
            while True:
                await self._clock.sleep(TICK)
                changed = {
                    str(number): edge.told(min(len(edge.fresh), TOLD))
                    for number, edge in self.edges.items()
                    if edge.fresh
                }
                for edge in self.edges.values():
                    edge.tick()
                quiet = {str(n): edge.told(0) for n, edge in self.edges.items() if _settling(edge)}
                self._tell({"edges": {**quiet, **changed}, "components": self.components})
                await self._look(following, group)

    async def _look(self, following: dict[Path, "asyncio.Task[None]"], group: tasks.Group) -> None:
        """Notice components that have come or gone; what a new one has seen so far is taken over at once."""
        sockets = set(self._folder.glob("*.sock"))
        running = {socket for socket, task in following.items() if not task.done()}
        if sockets != running:
            documents = await observed.snapshots(self._folder)
            self._took(documents)
            for socket in sockets - running:
                following[socket] = group.start(self._listen(socket), name=f"traffic of {socket.name}")
        for socket in set(following) - sockets:
            following.pop(socket).cancel()

    def _took(self, documents: Iterable[Object]) -> None:
        documents = list(documents)
        components: dict[str, list[str]] = {}
        for document in documents:
            components.setdefault(document["component"], []).append(document["instance"])
        self.components = components
        self._told_by_dialler = observed.told_by_dialler(documents)
        for number, row in observed.rows(documents).items():
            edge = self.edges.setdefault(number, Edge())
            edge.requests, edge.errors, edge.last = row.requests, row.errors, row.last
            edge.identity = row.identity
        newest: dict[int, deque[Interaction]] = {}
        for item in observed.interactions(documents):
            newest.setdefault(item.path, deque(maxlen=KEPT)).append(item)
        for number, items in newest.items():
            self.edges.setdefault(number, Edge()).newest = items

    async def _listen(self, socket: Path) -> None:
        with contextlib.suppress(OSError, EOFError, ValueError):
            async for item in observed.stream(socket):
                component = item.pop("component", "")
                number = item["path"]
                if component == observed.SERVER and number in self._told_by_dialler:
                    continue
                self.edges.setdefault(number, Edge()).saw(Interaction(**item))

    def _tell(self, message: Object) -> None:
        for queue in self._viewers:
            # Who cannot keep up misses a tick; the next one has the totals again.
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(message)


def _settling(edge: Edge) -> bool:
    """Whether its figures still change though nothing comes any more."""
    return any(tick[0] for tick in edge.ticks)
