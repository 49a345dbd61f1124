"""The seam through which every call to a cloud goes: paced, patient, counted, and seen by `pynetes paths`."""

import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pynetes.cloud.pace import Pace, patiently
from pynetes.cloud.provider import Absent
from pynetes.component import tracing
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY

T = TypeVar("T")
#: Nodes and routes; load balancers and volumes.
NODES, BALANCERS = 19, 26
_REQUESTS = REGISTRY.counter(
    "cloudprovider_api_requests_total",
    "Calls to the cloud's API, by provider, request and result.",
    "provider",
    "request",
    "result",
)
_SECONDS = REGISTRY.histogram(
    "cloudprovider_api_request_duration_seconds", "How long calls to the cloud's API took.", "provider", "request"
)


class Calls:
    """One cloud's; identity is what authenticates the calls, without its secret."""

    def __init__(
        self, provider: str, *, clock: Clock, identity: tracing.Identity, dice: random.Random | None = None
    ) -> None:
        self._provider, self._clock, self._identity = provider, clock, identity
        self._dice = dice or random.Random()
        self._reads, self._writes = Pace(clock), Pace(clock, rate=10.0, burst=30.0)

    async def make(
        self, name: str, call: Callable[[], Awaitable[T]], *, path: int, write: bool = False, about: str = ""
    ) -> T:
        """Make the call in its turn, again where the cloud asks for patience. Raises CloudError."""

        async def once() -> T:
            await (self._writes if write else self._reads).turn()
            return await self._observed(name, call, path=path, about=about)

        return await patiently(once, clock=self._clock, dice=self._dice)

    async def _observed(self, name: str, call: Callable[[], Awaitable[T]], *, path: int, about: str) -> T:
        began, error = time.monotonic(), ""
        try:
            return await call()
        except Exception as failure:
            # That something is not there is an answer.
            error = "" if isinstance(failure, Absent) else f"{type(failure).__name__}: {failure}"
            raise
        finally:
            seconds = time.monotonic() - began
            _REQUESTS.inc(self._provider, name, "error" if error else "ok")
            _SECONDS.observe(seconds, self._provider, name)
            tracing.RECORDER.record(
                tracing.Interaction(
                    path=path,
                    at=tracing.now(),
                    source="cloud-controller-manager",
                    target=self._provider,
                    action=name,
                    object=about,
                    seconds=seconds,
                    error=error,
                    cause=tracing.CAUSE.get(),
                ),
                self._identity,
            )
