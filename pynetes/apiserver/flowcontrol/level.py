"""One priority level: its seats, its share of every turn of the event loop, and its queues.

Seats bound what waits for the store. They do not bound the processor: an answer from the cache is computed without a
pause, so a thousand requests that came together would all run before whoever came next. So a level also begins only so
many requests per turn of the event loop, by its shares; between two turns every other level gets its own.

Queues are dealt by shuffle sharding: a flow has a hand of a few queues and takes the shortest; two flows rarely share a
whole hand, so a noisy client fills its own queues and not everybody's. Queues are served in turn.

A level whose seats are all taken may use seats that others lend and do not use now.
"""

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Sequence

#: Of a level's shares, one in so many is what it begins per turn.
SHARES_PER_TURN = 4


class Rejected(Exception):
    """No room; the text is upstream's reason: queue-full, time-out, concurrency-limit."""


class Level:
    """Limits requests. Made anew when its configuration changes; requests that have begun end in the old one."""

    def __init__(
        self,
        name: str,
        *,
        seats: int,
        shares: int,
        queuing: tuple[int, int, int] | None,
        lendable: int = 0,
        borrowing: int | None = 0,
        others: "Sequence[Level]" = (),
    ) -> None:
        """queuing: number of queues, size of a hand, longest queue; None rejects at once.

        lendable: seats of its own that others may use while it does not; borrowing: seats of others that it may use,
        None for all that there are; others: all levels, itself among them."""
        self.name = name
        self.seats = max(seats, 1)
        self._lendable, self._borrowing, self._others = lendable, borrowing, others
        self.executing = 0
        self.waiting = 0
        self._queuing = queuing
        self._per_turn = max(shares // SHARES_PER_TURN, 1)
        self._begun = 0
        self._turning = False
        #: Queues with something in them; the first is served next.
        self._queues: OrderedDict[int, deque[asyncio.Future[bool]]] = OrderedDict()

    async def enter(self, flow: str, patience: float) -> None:
        """Return when the request may begin; `leave` must follow. Raises Rejected."""
        if not self.waiting and self._has_seat() and self._begun < self._per_turn:
            self._begin()
            return
        if self._queuing is None and not self._has_seat():
            raise Rejected("concurrency-limit")
        place = self._queue(flow)
        # Cheaper than asyncio.timeout, and most who wait do so for a turn only.
        timer = asyncio.get_running_loop().call_later(patience, _end, place)
        try:
            if not await place:
                raise Rejected("time-out")
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                # It got its seat in the moment in which the client went.
                self.leave()
            raise
        finally:
            timer.cancel()

    def passes(self) -> bool:
        """Whether a request that needs no seat for any time may be answered in this turn of the loop; it counts."""
        if self.waiting or self._begun >= self._per_turn or not self._has_seat():
            return False
        self._begin()
        self.executing -= 1
        return True

    def leave(self) -> None:
        """The request is done."""
        self.executing -= 1
        if self.waiting:
            self._serve()
        elif self._lendable and self.executing < self.seats:
            for other in self._others:
                if other.waiting and other is not self:
                    other._serve()

    def _has_seat(self) -> bool:
        """Whether one of its own is free, or one that others lend. Its own are always its own: who lends gets a seat
        at once when it wants one, and whoever borrowed it ends when he ends."""
        if self.executing < self.seats:
            return True
        borrowed = self.executing - self.seats
        if self._borrowing == 0 or (self._borrowing is not None and borrowed >= self._borrowing):
            return False
        lent = sum(max(0, other.executing - other.seats) for other in self._others)
        spare = sum(
            max(0, min(other._lendable, other.seats - other.executing)) for other in self._others if other is not self
        )
        return lent < spare

    def _begin(self) -> None:
        self.executing += 1
        self._begun += 1
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._begun = 0
        if self.waiting:
            self._serve()

    def _serve(self) -> None:
        while self.waiting and self._has_seat() and self._begun < self._per_turn:
            number, queue = next(iter(self._queues.items()))
            place = queue.popleft()
            self.waiting -= 1
            if queue:
                self._queues.move_to_end(number)
            else:
                del self._queues[number]
            if not place.done():
                self._begin()
                place.set_result(True)

    def _queue(self, flow: str) -> "asyncio.Future[bool]":
        queues, hand, longest = self._queuing or (1, 1, self.seats)
        chosen = min(dealt(flow, queues, hand), key=lambda number: len(self._queues.get(number, ())))
        queue = self._queues.setdefault(chosen, deque())
        # Who waits for a turn only, while there are seats, would not have to wait upstream.
        if len(queue) >= longest + max(self.seats - self.executing, 0):
            raise Rejected("queue-full")
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self.waiting += 1
        return place


def _end(place: "asyncio.Future[bool]") -> None:
    """Nobody waits longer than this; the place is skipped when its turn comes."""
    if not place.done():
        place.set_result(False)


def dealt(flow: str, queues: int, hand: int) -> list[int]:
    """The flow's hand: distinct queues, the same every time."""
    left = int.from_bytes(hashlib.blake2b(flow.encode(), digest_size=16).digest(), "big")
    cards = list(range(queues))
    chosen = []
    for _ in range(min(hand, queues)):
        left, at = divmod(left, len(cards))
        chosen.append(cards.pop(at))
    return chosen
