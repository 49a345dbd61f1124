"""The scheduler's side of ResourceClaims: what was chosen for pods, written before they are bound.

Between a choice and the moment when the watch shows it, the choice is kept here: no two pods get one device because one
of them was quick. A device may ask that the pod wait until somebody has made it ready (KEP-5007); when that fails, the
claim is let go again, and the pod is placed anew.
"""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from pynetes.apis.core import pods
from pynetes.apis.resource import deviceclasses, resourceclaims, resourceslices
from pynetes.client.informer import Informer, InformerFactory
from pynetes.client.rest import Client
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.resource import Resource
from pynetes.scheduler import devicesharing, extendedclaims
from pynetes.scheduler.devicesharing import Taken
from pynetes.scheduler.pods import PodInfo
from pynetes.scheduler.volumes import NotBound

RESOURCES = (resourceclaims.RESOURCE, resourceslices.RESOURCE, deviceclasses.RESOURCE)
FINALIZER = "resource.kubernetes.io/delete-protection"
POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
#: Seconds that a pod waits for its devices to be made ready, as upstream.
BIND_TIMEOUT = 600.0
#: The key of a claim for extended resources before it is made.
EXTENDED = Key("", "<extended resources>")


class Claims:
    """All claims, slices and classes; and what is promised to pods that are on their way."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._informers: dict[Resource, Informer] = {}
        #: Pod UID → claim → its allocation.
        self._chosen: dict[str, dict[Key, Object]] = {}
        #: Pod UID → the claim to be made for its extended resources, and which request is whose.
        self._extended: dict[str, tuple[Object, list[Object]]] = {}
        #: Claims as they were last written here, until the watch shows as much.
        self._written: dict[Key, Object] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    def follow(self, informers: InformerFactory) -> None:
        """Follow all three kinds."""
        for resource in RESOURCES:
            self._informers[resource] = informers.informer(resource)
        self._informers[resourceclaims.RESOURCE].handle(self._changed)

    def slices(self) -> list[Object]:
        """All ResourceSlices."""
        return list(self._informers[resourceslices.RESOURCE].listed())

    def classes(self) -> dict[str, Object]:
        """All DeviceClasses by name."""
        return {one["metadata"]["name"]: one for one in self._informers[deviceclasses.RESOURCE].listed()}

    def classes_of_resources(self) -> dict[str, str]:
        """Which extended resource is which class."""
        return extendedclaims.by_resource(self._informers[deviceclasses.RESOURCE].listed()) if self._informers else {}

    def get(self, key: Key) -> Object | None:
        """A claim as it was last seen or written."""
        seen = self._informers[resourceclaims.RESOURCE].get(key)
        written = self._written.get(key)
        if written is None:
            return seen
        if seen is None or not _is_older(seen, written):
            del self._written[key]
            return seen
        return written

    def listed(self) -> Iterator[Object]:
        """All claims."""
        for seen in self._informers[resourceclaims.RESOURCE].listed():
            yield (self.get(key_of(seen)) or seen) if self._written else seen

    def of(self, pod: PodInfo) -> Iterator[tuple[str, Object | None]]:
        """A pod's claims by their names in the pod; None for one that is not there yet."""
        told = {
            one["name"]: one.get("resourceClaimName")
            for one in (pod.pod.get("status") or {}).get("resourceClaimStatuses") or ()
        }
        for entry in pod.spec.get("resourceClaims") or ():
            name = entry.get("resourceClaimName") or told.get(entry["name"])
            if name:
                yield entry["name"], self.get(Key(pod.key.namespace, name))
            elif entry["name"] not in told:
                made = next((one for one in self.listed() if _made_for(one, pod, entry["name"])), None)
                yield entry["name"], made

    # Choosing.

    def taken(self, pod: PodInfo) -> Taken:
        """What others have or are promised."""
        own = _extended_key(pod)
        promised = {key: one for uid, made in self._chosen.items() if uid != pod.uid for key, one in made.items()}
        taken = Taken()
        # What is written while it is still promised counts once.
        devicesharing.count(taken, (one for one in self.listed() if key_of(one) not in promised and key_of(one) != own))
        devicesharing.count(taken, ({"status": {"allocation": one}} for one in promised.values()))
        return taken

    def is_promised(self, key: Key, pod: PodInfo) -> bool:
        """Whether devices for this claim have just been chosen with another pod in mind."""
        return any(key in made for uid, made in self._chosen.items() if uid != pod.uid)

    def reserve(
        self, pod: PodInfo, allocations: dict[Key, Object], extended: tuple[Object, list[Object]] | None = None
    ) -> None:
        """Keep what was chosen until `bind` is through; that of a claim that is yet to be made is under EXTENDED."""
        self._chosen[pod.uid] = allocations
        if extended is not None:
            self._extended[pod.uid] = extended

    def release(self, pod: PodInfo) -> None:
        """The pod goes nowhere, or is where it should be."""
        self._chosen.pop(pod.uid, None)
        self._extended.pop(pod.uid, None)

    # Writing.

    async def bind(self, pod: PodInfo, client: Client) -> None:
        """Write what was chosen, and wait for devices that want it. Raises NotBound, StatusError."""
        chosen = self._chosen.get(pod.uid, {})
        keys = []
        for name, claim in list(self.of(pod)):
            if claim is None:
                raise NotBound(f"resource claim {name} is gone")
            keys.append(key_of(claim))
            await self._write(client, pod, keys[-1], chosen.get(keys[-1]))
        if pod.uid in self._extended:
            keys.append(await self._make(client, pod))
        try:
            async with asyncio.timeout(BIND_TIMEOUT):
                for key in keys:
                    await self._ready(key)
        except TimeoutError:
            await self._let_go(client, pod, keys)
            raise NotBound(f"the devices of {pod.key} were not ready within {BIND_TIMEOUT:.0f} s") from None
        except NotBound:
            await self._let_go(client, pod, keys)
            raise

    async def _write(self, client: Client, pod: PodInfo, key: Key, allocation: Object | None) -> None:
        """Allocate where nobody has meanwhile, and reserve for the pod. A conflict is a StatusError: another try."""
        claim: Any = await client.get(resourceclaims.RESOURCE, key)
        status = claim.get("status") or {}
        if allocation is not None and not status.get("allocation"):
            finalizers = claim["metadata"].get("finalizers") or []
            if FINALIZER not in finalizers:
                metadata = {**claim["metadata"], "finalizers": [*finalizers, FINALIZER]}
                claim = await client.update(resourceclaims.RESOURCE, {**claim, "metadata": metadata})
            if any(one.get("bindingConditions") for one in allocation["devices"]["results"]):
                allocation = {**allocation, "allocationTimestamp": time.rfc3339(self._now())}
            status = {**(claim.get("status") or {}), "allocation": allocation}
        elif not status.get("allocation"):
            raise NotBound(f"resource claim {key.name} is not allocated any more")
        reserved = status.get("reservedFor") or []
        if all(one["uid"] != pod.uid for one in reserved):
            consumer = {"resource": "pods", "name": pod.key.name, "uid": pod.uid}
            changed = {**claim, "status": {**status, "reservedFor": [*reserved, consumer]}}
            claim = await client.update(resourceclaims.RESOURCE, changed, subresource="status")
        self._written[key] = claim

    async def _make(self, client: Client, pod: PodInfo) -> Key:
        """Make the claim for the pod's extended resources, and tell the pod of it."""
        before = _extended_key(pod)
        if before is not None:
            await self._discard(client, before)
        wanted, mappings = self._extended[pod.uid]
        if EXTENDED not in self._chosen[pod.uid]:
            raise NotBound(f"the extended resources of {pod.key} are not there any more")
        claim = await client.create(resourceclaims.RESOURCE, wanted)
        key = key_of(claim)
        self._written[key] = claim
        # Told first: a claim that no pod knows of would be nobody's to clear away.
        status = {"extendedResourceClaimStatus": {"resourceClaimName": key.name, "requestMappings": mappings}}
        await client.patch(pods.RESOURCE, pod.key, {"status": status}, subresource="status")
        # From here on it is an allocation like others.
        chosen = self._chosen[pod.uid]
        chosen[key] = chosen.pop(EXTENDED)
        await self._write(client, pod, key, chosen[key])
        return key

    async def _discard(self, client: Client, key: Key) -> None:
        """Do away with a claim that an earlier attempt has made."""
        claim: Any = await client.find(resourceclaims.RESOURCE, key)
        if claim is None:
            return
        if claim.get("status"):
            claim = await client.update(resourceclaims.RESOURCE, {**claim, "status": {}}, subresource="status")
        left = [one for one in claim["metadata"].get("finalizers") or () if one != FINALIZER]
        await client.update(resourceclaims.RESOURCE, {**claim, "metadata": {**claim["metadata"], "finalizers": left}})
        await client.delete(resourceclaims.RESOURCE, key)

    async def _ready(self, key: Key) -> None:
        """Wait until all devices of a claim are ready. Raises NotBound."""
        while True:
            claim = self.get(key)
            if claim is None:
                raise NotBound(f"resource claim {key.name} is gone")
            if is_ready(claim):
                return
            await self._change()

    async def _let_go(self, client: Client, pod: PodInfo, keys: list[Key]) -> None:
        """Undo the allocation of claims whose devices were not made ready, unless other pods have them too."""
        for key in keys:
            claim = await client.find(resourceclaims.RESOURCE, key)
            if claim is None or is_settled(claim):
                continue
            status = {**claim["status"]}
            others = [one for one in status.get("reservedFor") or () if one["uid"] != pod.uid]
            status["reservedFor"] = others
            if not others:
                status.pop("allocation", None)
                status.pop("devices", None)
            self._written[key] = await client.update(
                resourceclaims.RESOURCE, {**claim, "status": status}, subresource="status"
            )

    def _changed(self, _new: Object, _old: Object | None, _gone: bool) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


def is_ready(claim: Object) -> bool:
    """Whether nothing has to be waited for any more. Raises NotBound where a device says that it failed."""
    status = claim.get("status") or {}
    told = {
        tuple(one.get(name) for name in ("driver", "pool", "device", "shareID")): one.get("conditions") or ()
        for one in status.get("devices") or ()
    }
    ready = True
    for one in ((status.get("allocation") or {}).get("devices") or {}).get("results") or ():
        conditions = told.get(tuple(one.get(name) for name in ("driver", "pool", "device", "shareID")), ())
        true = {each["type"] for each in conditions if each["status"] == "True"}
        if failed := true & set(one.get("bindingFailureConditions") or ()):
            raise NotBound(f"device {one['device']} of {claim['metadata']['name']} failed: {', '.join(sorted(failed))}")
        ready = ready and set(one.get("bindingConditions") or ()) <= true
    return ready


def is_settled(claim: Object) -> bool:
    """Whether its devices are ready, or were never waited for."""
    try:
        return is_ready(claim)
    except NotBound:
        return False


def _is_older(one: Object, than: Object) -> bool:
    """By revision, of one object or of two with one name."""
    return int(one["metadata"]["resourceVersion"]) < int(than["metadata"]["resourceVersion"])


def _made_for(claim: Object, pod: PodInfo, name: str) -> bool:
    """Whether a claim was made from the pod's template, though the pod's status does not say so yet."""
    metadata = claim["metadata"]
    owners = metadata.get("ownerReferences") or ()
    return (metadata.get("annotations") or {}).get(POD_CLAIM) == name and any(one["uid"] == pod.uid for one in owners)


def _extended_key(pod: PodInfo) -> Key | None:
    """The claim that was made for a pod's extended resources."""
    name = ((pod.pod.get("status") or {}).get("extendedResourceClaimStatus") or {}).get("resourceClaimName")
    return Key(pod.key.namespace, name) if name else None
