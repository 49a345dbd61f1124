"""What the components have seen of the 29 paths, as it happens, for everybody who looks at the live map.

One reader follows the components' sockets while there is anybody to look, adds up what comes, and tells it on in ticks;
with nobody looking, no socket is read. Components that come or go are noticed within a tick.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pynetes.component import tasks
from pynetes.component.clock import Clock
from pynetes.component.tracing import Interaction
from pynetes.machinery.meta import Object
from pynetes.paths import observed, registry

#: Seconds between two tellings.
TICK = 1.0
#: Ticks that rate, latency and errors are taken over.
WINDOW = 30
#: The newest interactions kept per path.
KEPT = 40
MOST_SECONDS = 10.0


@dataclass
class Edge:
    """One path, all components together."""

    row: observed.Row = field(default_factory=observed.Row)
    newest: deque[Interaction] = field(default_factory=lambda: deque(maxlen=KEPT))
    #: Per tick of the window: requests, errors, requests by bucket of latency.
    ticks: deque[tuple[int, int, list[int]]] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def tick(self, row: observed.Row) -> int:
        """A second is over, and this is what was counted by now; the requests of that second."""
        before, self.row = self.row, row
        # A component that was started again counts from nothing.
        requests, errors = max(0, row.requests - before.requests), max(0, row.errors - before.errors)
        spread = [max(0, now - then) for now, then in zip(row.buckets, before.buckets, strict=True)]
        self.ticks.append((requests, errors, spread))
        return requests

    @property
    def settling(self) -> bool:
        """Whether its figures still change though nothing comes any more."""
        return any(tick[0] for tick in self.ticks)

    def told(self, calls: Iterable[Interaction]) -> Object:
        """For the page: totals, figures of the window, and these interactions."""
        seconds = max(1, len(self.ticks)) * TICK
        window = observed.Row(buckets=[sum(counts) for counts in zip(*(tick[2] for tick in self.ticks), strict=True)])
        return {
            "requests": self.row.requests,
            "errors": self.row.errors,
            "last": self.row.last,
            "rate": sum(tick[0] for tick in self.ticks) / seconds,
            "failing": sum(tick[1] for tick in self.ticks) / seconds,
            "p50": _seconds(window, 0.5),
            "p99": _seconds(window, 0.99),
            "identity": asdict(self.row.identity),
            "calls": [item._asdict() for item in calls],
        }


def _seconds(window: observed.Row, share: float) -> float | None:
    """Upper bound of the bucket that the share falls into; None with nothing measured."""
    return min(window.quantile(share), MOST_SECONDS) if any(window.buckets) else None


class Traffic:
    """What is known now. `follow` is for one viewer; the sockets are read as long as there is one."""

    def __init__(self, folder: Path, clock: Clock, group: tasks.Group) -> None:
        self._folder, self._clock, self._group = folder, clock, group
        self.edges: dict[int, Edge] = {}
        #: What each socket has told: component, instance, counters.
        self._documents: dict[Path, Object] = {}
        self._fresh: dict[int, list[Interaction]] = {}
        self._viewers: set[asyncio.Queue[Object]] = set()
        self._reader: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

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
            "components": self._components(),
            "edges": {str(number): edge.told(edge.newest) for number, edge in self.edges.items()},
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
                self._tell({"edges": self._ticked(), "components": self._components()})
                await self._look(following, group)

    def _ticked(self) -> Object:
        """What of the edges is to be told now."""
        told: Object = {}
        for number, row in observed.rows(self._documents.values()).items():
            edge = self.edges.setdefault(number, Edge())
            was_settling = edge.settling
            if edge.tick(row) or was_settling:
                told[str(number)] = edge.told(self._fresh.get(number, ()))
        self._fresh.clear()
        return told

    def _components(self) -> dict[str, list[str]]:
        """Component → its instances."""
        found: dict[str, list[str]] = {}
        for document in self._documents.values():
            found.setdefault(document["component"], []).append(document["instance"])
        return found

    async def _look(self, following: dict[Path, "asyncio.Task[None]"], group: tasks.Group) -> None:
        """Notice components that have come or gone; what a new one has seen so far is taken over at once."""
        sockets = set(self._folder.glob("*.sock"))
        running = {socket for socket, task in following.items() if not task.done()}
        if sockets != running:
            self._took(await observed.snapshots(self._folder))
            for socket in sockets - running:
                following[socket] = group.start(self._listen(socket), name=f"traffic of {socket.name}")
        for socket in set(following) - sockets:
            following.pop(socket).cancel()

    def _took(self, documents: list[Object]) -> None:
        newest: dict[int, deque[Interaction]] = {}
        for item in observed.interactions(documents):
            newest.setdefault(item.path, deque(maxlen=KEPT)).append(item)
        for document in documents:
            ring = document.pop("ring")
            document["newest"] = ring[-1]["at"] if ring else 0.0
        self._documents = {self._folder / f"{document['instance']}.sock": document for document in documents}
        for number, row in observed.rows(documents).items():
            edge = self.edges.setdefault(number, Edge())
            edge.row, edge.newest = row, newest.get(number, edge.newest)

    async def _listen(self, socket: Path) -> None:
        since = self._documents[socket]["newest"] if socket in self._documents else 0.0
        with contextlib.suppress(OSError, EOFError, ValueError):
            async for message in observed.stream(socket, f"/ticks?since={since}"):
                document = self._documents.get(socket)
                if document is None:
                    return
                document["counters"].update(message["counters"])
                told = observed.told_by_dialler(self._documents.values())
                for item in map(_interaction, message["ring"]):
                    if document["component"] != observed.SERVER or item.path not in told:
                        self._fresh.setdefault(item.path, []).append(item)
                        self.edges.setdefault(item.path, Edge()).newest.append(item)

    def _tell(self, message: Object) -> None:
        for queue in self._viewers:
            # Who cannot keep up misses a tick; the next one has the totals again.
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(message)


def _interaction(item: Object) -> Interaction:
    return Interaction(**item)
