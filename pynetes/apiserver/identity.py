"""The Lease in kube-system by which an API server says that it is there: `kubectl -n kube-system get leases`.

Its name stays that of the host, its holder is another one after each start (KEP-1965). Renewed every ten seconds, it
ends after an hour; the servers that are left remove what has ended.
"""

import base64
import logging
import socket
import uuid
from datetime import timedelta
from hashlib import sha256

from pynetes.apis.coordination import leases
from pynetes.apiserver.config import GATES
from pynetes.apiserver.objects import Objects
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.storage.backend import Unavailable

log = logging.getLogger(__name__)
COMPONENT = "kube-apiserver"
LABEL = "apiserver.kubernetes.io/identity"
NAMESPACE = "kube-system"
#: Seconds.
RENEW, DURATION, SWEEP = 10.0, 3600, 3600.0
FEATURE = GATES[0]


def name_of(host: str) -> str:
    """Of the server on a host: a digest of the two names, each after its length."""
    fields = (host.encode(), COMPONENT.encode())
    digest = sha256(b"".join(len(field).to_bytes(2, "big") + field for field in fields)).digest()
    return "apiserver-" + base64.b32encode(digest[:16]).decode().rstrip("=").lower()


class IdentityLease:
    """Keeps this server's, and removes those of servers that are gone."""

    def __init__(self, objects: Objects, clock: Clock, address: str) -> None:
        """address, HOST:PORT, is where other servers reach this one."""
        self._objects, self._clock, self._address = objects, clock, address
        self._host = socket.gethostname()
        self._key = Key(NAMESPACE, name_of(self._host))
        self._holder = f"{self._key.name}_{uuid.uuid4()}"

    async def follow(self) -> None:
        """Until cancelled; the cache must be filled."""
        swept = self._clock.monotonic()
        while True:
            try:
                await self.renew()
                if self._clock.monotonic() - swept >= SWEEP:
                    swept = self._clock.monotonic()
                    await self.sweep()
            except (StatusError, Unavailable, TimeoutError) as error:
                log.warning(logs.fact("the identity lease was not renewed", lease=self._key, error=error))
            await self._clock.sleep(RENEW)

    async def renew(self) -> None:
        """Say that this server is there, and who it is. Raises StatusError."""
        wanted = self._lease()
        if self._objects.get(leases.RESOURCE, self._key) is None:
            await self._objects.create(leases.RESOURCE, wanted)
        else:
            await self._objects.update(leases.RESOURCE, self._key, lambda old: _renewed(old, wanted))

    async def sweep(self) -> None:
        """Remove the leases of servers that have not renewed theirs. Raises StatusError."""
        for lease in self._objects.list(leases.RESOURCE, NAMESPACE):
            if (lease["metadata"].get("labels") or {}).get(LABEL) == COMPONENT and self._ended(lease):
                await self._objects.delete(leases.RESOURCE, key_of(lease))

    def _ended(self, lease: Object) -> bool:
        spec = lease.get("spec") or {}
        if not spec.get("renewTime"):
            return True
        until = time.parse(spec["renewTime"]) + timedelta(seconds=spec.get("leaseDurationSeconds") or 0)
        return until < self._clock.now()

    def _lease(self) -> Object:
        metadata = {
            "name": self._key.name,
            "namespace": NAMESPACE,
            "labels": {LABEL: COMPONENT, "kubernetes.io/hostname": self._host},
            "annotations": {"kubernetes.io/peer-advertise-address": self._address},
        }
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": DURATION,
            "renewTime": time.micro(self._clock.now()),
        }
        return {"metadata": metadata, "spec": spec}


def _renewed(old: Object, wanted: Object) -> Object:
    metadata = {**old["metadata"]}
    for member in ("labels", "annotations"):
        metadata[member] = {**(metadata.get(member) or {}), **wanted["metadata"][member]}
    return {**old, "metadata": metadata, "spec": {**(old.get("spec") or {}), **wanted["spec"]}}
