"""Leases for objects that go by themselves (events). One lease serves many objects: a grant costs the store a write.

Objects therefore live up to a tenth longer than asked for, which is what upstream does too.
"""

from asyncio import get_running_loop
from dataclasses import dataclass

from pynetes.component.metrics import REGISTRY
from pynetes.storage.backend import Backend, LeaseID

#: Objects on one lease at most; its expiry deletes them all at once.
SHARED_BY = 1000


_OBJECTS = REGISTRY.histogram(
    "etcd_lease_object_counts",
    "Number of objects attached to a single etcd lease.",
    buckets=(10, 50, 100, 500, 1000, 2500, 5000),
)


@dataclass
class _Granted:
    lease: LeaseID
    until: float
    used: int = 0


class Leases:
    """Hands out leases by time to live, reusing a recent one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._granted: dict[int, _Granted] = {}

    async def get(self, seconds: int) -> LeaseID:
        """A lease that lasts at least so many seconds from now."""
        now = get_running_loop().time()
        granted = self._granted.get(seconds)
        if granted is None or granted.until < now or granted.used >= SHARED_BY:
            if granted is not None:
                _OBJECTS.observe(granted.used)
            spare = max(1, seconds // 10)
            granted = _Granted(await self._backend.grant_lease(seconds + spare), now + spare)
            self._granted[seconds] = granted
        granted.used += 1
        return granted.lease
