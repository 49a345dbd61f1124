"""The webhook backend: events in batches to a server outside.

A batch goes out when it is full or has waited long enough, a few a second at most. Nobody waits for it: a buffer holds
what is on its way, and when it is full events are lost and counted, because the cluster must go on. A batch that could
not be delivered is tried again, later each time.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import orjson

from pynetes.apiserver.audit.log import ERRORS
from pynetes.apiserver.remote import Send
from pynetes.component import logs
from pynetes.component.clock import Clock

log = logging.getLogger(__name__)
TRUNCATED = "audit.k8s.io/truncated"
#: Attempts for one batch, and by how much longer each waits than the one before.
ATTEMPTS, FACTOR = 5, 1.5
#: Seconds that what is left gets when the server ends.
FAREWELL = 3.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Upstream's flags --audit-webhook-batch-* and --audit-webhook-truncate-*; times in seconds, sizes in bytes."""

    buffer: int = 10000
    batch: int = 400
    wait: float = 30.0
    qps: float = 10.0
    burst: int = 15
    backoff: float = 10.0
    #: 0: nothing is cut.
    largest_event: int = 0
    largest_batch: int = 10 << 20


class Webhook:
    """A sink. `run` has to run while it is used."""

    def __init__(self, send: Send, clock: Clock, limits: Limits) -> None:
        self._send, self._clock, self._limits = send, clock, limits
        self._waiting: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._tokens, self._filled = float(limits.burst), clock.monotonic()

    def write(self, event: bytes) -> None:
        """One event; lost, and counted, when the buffer is full or it is too large even without its objects."""
        fitting = truncated(event, self._limits.largest_event)
        if fitting is None or len(self._waiting) >= self._limits.buffer:
            ERRORS.inc("webhook")
            return
        self._waiting.append(fitting)
        self._arrived.set()

    def close(self) -> None:
        """What is left goes out when `run` ends."""

    async def run(self) -> None:
        """Send, for ever; when cancelled, what is left once more."""
        try:
            while True:
                await self._arrived.wait()
                await self._fill()
                await self._admitted()
                await self._deliver(self._batch())
                if not self._waiting:
                    self._arrived.clear()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    while self._waiting:
                        with suppress(OSError):
                            await self._send(_listed(self._batch()))

    async def _fill(self) -> None:
        """Until the batch is full, or its first event has waited long enough."""
        until = self._clock.monotonic() + self._limits.wait
        while len(self._waiting) < self._limits.batch and (left := until - self._clock.monotonic()) > 0:
            await self._clock.sleep(min(left, 0.1))

    async def _admitted(self) -> None:
        while True:
            now, limits = self._clock.monotonic(), self._limits
            self._tokens = min(limits.burst, self._tokens + (now - self._filled) * limits.qps)
            self._filled = now
            if self._tokens >= 1:
                self._tokens -= 1
                return
            await self._clock.sleep((1 - self._tokens) / limits.qps)

    def _batch(self) -> list[bytes]:
        found: list[bytes] = []
        size = 0
        while self._waiting and len(found) < self._limits.batch:
            size += len(self._waiting[0])
            if found and size > self._limits.largest_batch:
                break
            found.append(self._waiting.popleft())
        return found

    async def _deliver(self, batch: Sequence[bytes]) -> None:
        wait = self._limits.backoff
        for attempt in range(ATTEMPTS):
            try:
                await self._send(_listed(batch))
                return
            except OSError as error:
                log.warning(logs.fact("audit events not delivered", events=len(batch), attempt=attempt, error=error))
            await self._clock.sleep(wait)
            wait *= FACTOR
        ERRORS.inc("webhook", by=len(batch))


def _listed(batch: Sequence[bytes]) -> bytes:
    return b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[' + b",".join(batch) + b"]}"


def truncated(event: bytes, largest: int) -> bytes | None:
    """The event, without its objects where it is larger than that (0: however large); None when it still is."""
    if not largest or len(event) <= largest:
        return event
    document = orjson.loads(event)
    for name in ("requestObject", "responseObject"):
        document.pop(name, None)
    document["annotations"] = {**(document.get("annotations") or {}), TRUNCATED: "true"}
    cut = orjson.dumps(document)
    return cut if len(cut) <= largest else None
