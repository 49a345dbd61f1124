"""How fast calls may go: a bucket of tokens per kind of call, and waiting longer after each refusal.

Changes and descriptions have buckets of their own, as cloud APIs have: a burst of new Services must not keep nodes from
being looked up.
"""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pynetes.cloud.provider import Throttled
from pynetes.component.clock import Clock

T = TypeVar("T")
#: Calls per second and at once.
RATE, BURST = 20.0, 50.0
TRIES, FIRST, LONGEST = 5, 0.2, 10.0


class Pace:
    """A token bucket; `await turn()` before each call."""

    def __init__(self, clock: Clock, *, rate: float = RATE, burst: float = BURST) -> None:
        self._clock, self._rate, self._burst = clock, rate, burst
        self._left, self._at = burst, clock.monotonic()

    async def turn(self) -> None:
        """Wait for a token; those who come first go first, since each takes its token at once."""
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate) - 1
        self._at = now
        if self._left < 0:
            await self._clock.sleep(-self._left / self._rate)


async def patiently(call: Callable[[], Awaitable[T]], *, clock: Clock, dice: random.Random, tries: int = TRIES) -> T:
    """Repeat a call that was throttled, twice as late each time (and by chance earlier); the last error is raised."""
    for attempt in range(tries):
        try:
            return await call()
        except Throttled as error:
            if attempt == tries - 1:
                raise
            delay = min(LONGEST, FIRST * 2**attempt)
            await clock.sleep(max(error.after, delay * (0.5 + dice.random() / 2)))
    raise AssertionError("unreachable")
