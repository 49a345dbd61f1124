"""Keeps what a cloud last listed, so that many controllers and a thousand nodes cost one describe call.

A reader says how old an answer may be. Readers that come while a call is under way share it. A call that failed is not
repeated before PAUSE has passed, whoever asks: a throttled cloud is not asked harder.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from pynetes.cloud.provider import CloudError, Instance, Provider, Throttled
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY

#: How old an inventory may be when nobody knows better, and the least time between two calls, in seconds.
FRESH, PAUSE = 60.0, 2.0
T = TypeVar("T")

_CALLS = REGISTRY.counter(
    "cloud_provider_describe_total", "Inventories asked of the cloud, by kind and result.", "kind", "result"
)


class Inventory(Generic[T]):
    """One kind of thing."""

    def __init__(self, kind: str, read: Callable[[], Awaitable[Sequence[T]]], clock: Clock) -> None:
        self._kind, self._read, self._clock = kind, read, clock
        self._lock = asyncio.Lock()
        self._known: Sequence[T] = ()
        self._at = float("-inf")
        self._failed: tuple[float, CloudError] | None = None

    async def get(self, *, newer_than: float = FRESH) -> Sequence[T]:
        """At most newer_than seconds old (never younger than PAUSE allows). Raises CloudError."""
        asked = self._clock.monotonic()
        async with self._lock:
            age = self._clock.monotonic() - self._at
            if age <= max(newer_than, PAUSE) or self._at >= asked:
                return self._known
            if self._failed and self._clock.monotonic() < self._failed[0]:
                raise self._failed[1]
            try:
                self._known = await self._read()
            except CloudError as error:
                pause = max(PAUSE, error.after) if isinstance(error, Throttled) else PAUSE
                self._failed = self._clock.monotonic() + pause, error
                _CALLS.inc(self._kind, type(error).__name__)
                raise
            self._at, self._failed = self._clock.monotonic(), None
            _CALLS.inc(self._kind, "ok")
            return self._known

    def forget(self) -> None:
        """What was known has just been changed."""
        self._at = float("-inf")


class Recent(Generic[T]):
    """A provider's own last answer, shared by those who ask together; it may put what it changes into it."""

    def __init__(self, read: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._read, self._clock = read, clock
        self._lock = asyncio.Lock()
        self._known: tuple[float, T] | None = None

    async def get(self, *, newer_than: float) -> T:
        """At most so many seconds old. Raises CloudError."""
        async with self._lock:
            if self._known is None or self._clock.monotonic() - self._known[0] > newer_than:
                self._known = self._clock.monotonic(), await self._read()
            return self._known[1]

    def forget(self) -> None:
        """What was known has just been changed."""
        self._known = None


class Machines:
    """The instances, found by node."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.inventory: Inventory[Instance] = Inventory("instances", provider.instances.list, clock)

    async def of(self, node: str, provider_id: str, *, newer_than: float = FRESH) -> Instance | None:
        """The instance of a node, by provider ID where it has one, else by name; None when there is none."""
        for instance in await self.inventory.get(newer_than=newer_than):
            if instance.provider_id == provider_id if provider_id else instance.name == node:
                return instance
        return None
