"""One active instance among several: whoever holds a Lease works, the others wait.

As upstream: the holder renews every retry period; others take the Lease over when it was not renewed for its duration,
measured by their own clock from when they saw it change, so that clocks need not agree. A holder that could not renew
until the renew deadline stops at once: its process ends, and the supervisor starts it again as a candidate.
"""

import logging
import random
import socket
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from pynetes.apis.coordination import leases
from pynetes.client.events import Recorder
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs, tasks
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import time as times
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object

_LOG = logging.getLogger(__name__)
_MASTER = REGISTRY.gauge(
    "leader_election_master_status",
    "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master.",
    "name",
)


class Timing(NamedTuple):
    """Seconds: how long a Lease is good for, how long its holder tries to renew it, and how often."""

    lease: int = 15
    renew: float = 10.0
    retry: float = 2.0


DEFAULT = Timing()


class LeadershipLost(Exception):
    """The Lease could not be renewed in time; somebody else may hold it now."""


def identity(port: int = 0) -> str:
    """A holderIdentity that no other process has: host_uuid.

    With the port that the process listens on, the same one again after a restart: the kernel lets only one process
    have the port, so an instance that was killed goes on at once instead of waiting for its own Lease to run out."""
    if not port:
        return f"{socket.gethostname()}_{uuid.uuid4()}"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    network = Path("/proc/self/ns/net").stat().st_ino
    return f"{socket.gethostname()}_{uuid.uuid5(uuid.UUID(boot), f'{network}:{port}')}"


class LeaderElector:
    """A candidate for the Lease kube-system/NAME."""

    def __init__(
        self,
        client: Client,
        name: str,
        *,
        clock: Clock,
        holder: str = "",
        namespace: str = "kube-system",
        dice: random.Random | None = None,
        timing: Timing = DEFAULT,
    ) -> None:
        self._timing = timing
        self._client, self._clock, self._dice = client, clock, dice or random.Random()
        self._key = Key(namespace, name)
        self._holder = holder or identity()
        self._events = Recorder(client, clock=clock)
        self._observed: Object | None = None
        self._observed_at = 0.0
        self.leading = False

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, then work for as long as it is held. Raises LeadershipLost."""
        while not await self._try():
            await self._clock.sleep(self._timing.retry * (1 + 0.2 * self._dice.random()))
        self.leading = True
        _MASTER.set(1, self._key.name)
        _LOG.info(logs.fact("became leader", lease=self._key, holder=self._holder))
        try:
            told = f"{self._holder} became leader"
            self._events.event(self._lease(), "Normal", "LeaderElection", told, source=self._key.name)
            await tasks.first(_awaited(work), self._renew(), self._events.run())
        finally:
            self.leading = False
            _MASTER.set(0, self._key.name)
            await self._release()

    async def _renew(self) -> None:
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._timing.retry)
            if await self._try():
                renewed = self._clock.monotonic()
            elif self._clock.monotonic() - renewed >= self._timing.renew or self._other_holds():
                raise LeadershipLost(f"the lease {self._key} was not renewed for {self._timing.renew:.0f} s")

    async def _try(self) -> bool:
        """Take or renew the Lease; whether it is ours."""
        try:
            if self.leading and self._observed is not None and await self._renewed(self._observed):
                return True
            lease = await self._client.find(leases.RESOURCE, self._key)
            if lease is None:
                self._saw(await self._client.create(leases.RESOURCE, self._lease()))
                return True
            if self._observed is None or lease["spec"] != self._observed["spec"]:
                self._saw(lease)
            if not self._free(lease["spec"]):
                return False
            self._saw(await self._client.update(leases.RESOURCE, self._held(lease)))
            return True
        except (StatusError, Unreachable) as error:
            _LOG.info(logs.fact("cannot hold the lease", lease=self._key, error=error))
            return False

    async def _renewed(self, lease: Object) -> bool:
        """Renew without reading first: the Lease is as this holder left it, unless somebody else has written it."""
        try:
            self._saw(await self._client.update(leases.RESOURCE, self._held(lease)))
        except StatusError as error:
            if error.reason not in ("Conflict", "NotFound"):
                raise
            return False
        return True

    def _free(self, spec: Object) -> bool:
        holder = spec.get("holderIdentity") or ""
        duration = float(spec.get("leaseDurationSeconds") or self._timing.lease)
        return holder in ("", self._holder) or self._clock.monotonic() - self._observed_at >= duration

    def _other_holds(self) -> bool:
        return bool(self._observed and self._observed["spec"].get("holderIdentity") not in ("", None, self._holder))

    def _saw(self, lease: Object) -> None:
        self._observed, self._observed_at = lease, self._clock.monotonic()

    def _lease(self) -> Object:
        metadata = {"namespace": self._key.namespace, "name": self._key.name}
        now = times.micro(self._clock.now())
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": self._timing.lease,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }

    def _held(self, lease: Object) -> Object:
        spec, now = dict(lease["spec"]), times.micro(self._clock.now())
        if spec.get("holderIdentity") != self._holder:
            transitions = spec.get("leaseTransitions") or 0
            spec |= {"holderIdentity": self._holder, "acquireTime": now, "leaseTransitions": transitions + 1}
        return {**lease, "spec": {**spec, "renewTime": now, "leaseDurationSeconds": self._timing.lease}}

    async def _release(self) -> None:
        """Let the next candidate begin at once; best effort, the Lease runs out anyway."""
        if self._observed is None or self._other_holds():
            return
        released = self._held(self._observed)
        released["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._client.update(leases.RESOURCE, released)
        except (StatusError, Unreachable) as error:
            _LOG.info(logs.fact("cannot release the lease", lease=self._key, error=error))


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
