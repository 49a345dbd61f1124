"""A clock that moves only when a test says so, and wakes sleepers in order."""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta
from itertools import count

#: Turns of the event loop after which work that waits for nothing outside has come to rest.
TURNS = 50
#: Turns after which tasks that wake each other for ever are left to it.
MOST_TURNS = 10_000


async def settle(turns: int = TURNS) -> None:
    """Let every task that can run do so. Enough for in-process work; what waits for a socket is not covered.

    asyncio's own loop shows when nobody else is about to run, which saves most of the turns."""
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(turns if ready is None else MOST_TURNS):
        await asyncio.sleep(0)
        if ready is not None and not ready:
            return


class VirtualClock:
    """A Clock for tests: `await clock.advance(30)` lets thirty seconds pass at once."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._start, self._elapsed = start, 0.0
        self._order = count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), woken))
        await woken

    async def advance(self, seconds: float) -> None:
        """Let seconds pass: each sleeper wakes at its moment, and what it does comes to rest before the next wakes."""
        await settle()
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, woken = heapq.heappop(self._sleepers)
            if woken.done():  # cancelled
                continue
            self._elapsed = at
            woken.set_result(None)
            await settle()
        self._elapsed = end
        await settle()

    @property
    def next_wake(self) -> float | None:
        """Seconds until the next sleeper wakes; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] - self._elapsed if self._sleepers else None
