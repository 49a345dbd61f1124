"""What the scheduler knows of volumes: claims, volumes, classes and drivers, and what it has promised but not written.

Shared by the plugins that look at volumes. A volume that was chosen for a pod counts as taken at once, long before the
API server shows it, so that no second pod gets it; the choice is written before the pod is bound (`bind`), and a pod
whose volumes do not come gives them back.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as pvs
from pynetes.apis.storage import csidrivers, csinodes, csistoragecapacities, storageclasses
from pynetes.client.informer import Informer, InformerFactory
from pynetes.client.rest import Client
from pynetes.machinery.meta import Key, Object, is_deleting
from pynetes.machinery.resource import Resource
from pynetes.scheduler.pods import PodInfo

#: What is followed.
RESOURCES = (
    claims.RESOURCE,
    pvs.RESOURCE,
    storageclasses.RESOURCE,
    csinodes.RESOURCE,
    csidrivers.RESOURCE,
    csistoragecapacities.RESOURCE,
)
#: Seconds that a pod waits for its volumes before another node is tried, as upstream.
BIND_TIMEOUT = 600.0
_CLAIMS = "volume claims"


class NotBound(Exception):
    """A pod's volumes did not come; the text says why."""


@dataclass(frozen=True)
class Choice:
    """What has to be written before a pod may go to its node."""

    node: str
    #: Claims and the volumes that were found for them.
    found: Sequence[tuple[Object, Object]] = ()
    #: Claims for which a volume has to be made.
    wanted: Sequence[Object] = field(default_factory=tuple)


class Volumes:
    """See the module."""

    def __init__(self) -> None:
        self._informers: dict[Resource, Informer] = {}
        self._choices: dict[Key, Choice] = {}
        #: Volume → the claim that it was promised to.
        self._promised: dict[str, Key] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    def follow(self, informers: InformerFactory) -> None:
        """Keep up with the cluster; asked by each plugin, done once."""
        if self._informers:
            return
        self._informers = {resource: informers.informer(resource) for resource in RESOURCES}
        for resource in (claims.RESOURCE, pvs.RESOURCE):
            self._informers[resource].handle(self._changed)

    def get(self, resource: Resource, name: str, namespace: str = "") -> Object | None:
        """An object from the cache."""
        return self._informers[resource].get(Key(namespace, name)) if self._informers else None

    def listed(self, resource: Resource) -> Sequence[Object]:
        """All objects of a resource."""
        return self._informers[resource].listed() if self._informers else ()

    # A pod's claims.

    def claims_of(self, pod: PodInfo) -> list[tuple[str, Object | None]]:
        """The claims that a pod mounts, by name; None where there is none, or not the pod's own yet."""
        names = pod.compiled.get(_CLAIMS)
        if names is None:
            names = pod.compiled[_CLAIMS] = tuple(_claim_names(pod.pod))
        found = []
        for name, own in names:
            claim = self.get(claims.RESOURCE, name, pod.key.namespace)
            if claim is not None and own and not _is_owned(claim, pod):
                claim = None
            found.append((name, claim))
        return found

    def volumes_of(self, pod: PodInfo) -> Iterator[Object]:
        """The volumes that a pod's claims are bound to."""
        for _, claim in self.claims_of(pod):
            if claim is not None and claim["spec"].get("volumeName"):
                volume = self.get(pvs.RESOURCE, claim["spec"]["volumeName"])
                if volume is not None:
                    yield volume

    # Choosing.

    def taken(self, claim: Object) -> list[str]:
        """Volumes that are promised to other claims."""
        own = Key(claim["metadata"]["namespace"], claim["metadata"]["name"])
        return [name for name, promised in self._promised.items() if promised != own]

    def reserve(self, pod: PodInfo, choice: Choice) -> None:
        """Keep what was chosen for a pod until `bind` or `release`."""
        self._choices[pod.key] = choice
        for claim, volume in choice.found:
            name = volume["metadata"]["name"]
            self._promised[name] = Key(claim["metadata"]["namespace"], claim["metadata"]["name"])

    def release(self, pod: PodInfo) -> None:
        """The pod goes nowhere, or is where it should be: nothing is promised any more."""
        choice = self._choices.pop(pod.key, None)
        for _, volume in choice.found if choice else ():
            self._promised.pop(volume["metadata"]["name"], None)

    async def bind(self, pod: PodInfo, client: Client, *, timeout: float = BIND_TIMEOUT) -> None:
        """Write what was chosen, and wait until all of the pod's claims are bound. Raises NotBound, StatusError."""
        choice = self._choices.get(pod.key)
        if choice is None or not (choice.found or choice.wanted):
            return
        for claim, volume in choice.found:
            await client.update(pvs.RESOURCE, _kept_for(volume, claim))
        for claim in choice.wanted:
            marks = {binding.SELECTED_NODE: choice.node}
            if binding.annotations(claim).get(binding.SELECTED_NODE) != choice.node:
                version = claim["metadata"]["resourceVersion"]
                patch = {"metadata": {"annotations": marks, "resourceVersion": version}}
                key = Key(claim["metadata"]["namespace"], claim["metadata"]["name"])
                await client.patch(claims.RESOURCE, key, patch)
        seen: set[Key] = set()
        try:
            async with asyncio.timeout(timeout):
                while not self._all_bound(pod, choice, seen):
                    await self._change()
        except TimeoutError:
            raise NotBound(f"the volumes of {pod.key} did not come within {timeout:.0f} s") from None

    def _all_bound(self, pod: PodInfo, choice: Choice, seen: set[Key]) -> bool:
        done = True
        chosen = {claim["metadata"]["name"] for claim in choice.wanted}
        for name, claim in self.claims_of(pod):
            if claim is None or is_deleting(claim):
                raise NotBound(f'persistentvolumeclaim "{name}" is gone')
            if binding.is_bound(claim):
                continue
            done = False
            if name in chosen:
                selected = binding.annotations(claim).get(binding.SELECTED_NODE)
                key = Key(pod.key.namespace, name)
                if selected == choice.node:
                    seen.add(key)
                elif key in seen:
                    # Whoever makes volumes has found that it cannot be done for that node.
                    raise NotBound(f'provisioning failed for PVC "{name}" on node {choice.node}')
        return done

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


def _claim_names(pod: Object) -> Iterator[tuple[str, bool]]:
    """Names of a pod's claims, and whether they have to be the pod's own."""
    for volume in pod["spec"].get("volumes") or ():
        if volume.get("persistentVolumeClaim"):
            yield volume["persistentVolumeClaim"]["claimName"], False
        elif volume.get("ephemeral"):
            yield f"{pod['metadata']['name']}-{volume['name']}", True


def _is_owned(claim: Object, pod: PodInfo) -> bool:
    return any(ref.get("uid") == pod.uid for ref in claim["metadata"].get("ownerReferences") or ())


def _kept_for(volume: Object, claim: Object) -> Object:
    metadata = claim["metadata"]
    ref = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
    marks = {**binding.annotations(volume)}
    if not volume["spec"].get("claimRef"):
        marks[binding.BOUND_BY_CONTROLLER] = "yes"
    return volume | {
        "metadata": volume["metadata"] | {"annotations": marks},
        "spec": volume["spec"] | {"claimRef": ref},
    }
