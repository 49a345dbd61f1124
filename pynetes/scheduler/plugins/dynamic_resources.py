"""DynamicResources: a pod goes where its claims' devices are, and claims without devices get theirs on the pod's node.

What was chosen is kept in memory until it is written, so that no two pods get one device; it is written into the claim
before the pod is bound (finalizer, allocation, reservation).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pynetes.apis.core import _node_selector
from pynetes.apis.resource import deviceclasses, resourceclaims, resourceslices
from pynetes.client.informer import Informer, InformerFactory
from pynetes.client.rest import Client
from pynetes.machinery.meta import Key, Object, is_deleting, key_of
from pynetes.machinery.resource import Resource
from pynetes.scheduler import devices
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.devices import Id
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo

RESOURCES = (resourceclaims.RESOURCE, resourceslices.RESOURCE, deviceclasses.RESOURCE)
FINALIZER = "resource.kubernetes.io/delete-protection"
#: The pods that may share one claim.
MOST_CONSUMERS = 256
POD_CLAIM = "resource.kubernetes.io/pod-claim-name"


class DynamicResources(Plugin):
    wakes_on = (
        *(Event("resourceclaims", action) for action in ("add", "update", "delete")),
        *(Event("resourceslices", action) for action in ("add", "update")),
        *(Event("deviceclasses", action) for action in ("add", "update")),
        *(Event("nodes", action) for action in ("add", "update")),
    )

    def __init__(self) -> None:
        self._informers: dict[Resource, Informer] = {}
        self._inventory = devices.Inventory()
        #: Pod UID → claim → what it will be told.
        self._chosen: dict[str, dict[Key, Object]] = {}

    def follow(self, informers: InformerFactory) -> None:
        for resource in RESOURCES:
            self._informers[resource] = informers.informer(resource)

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        if not pod.spec.get("resourceClaims"):
            return
        pending: list[Object] = []
        for name, claim in self._claims(pod):
            problem = _problem(pod, name, claim)
            if problem or claim is None:
                yield Rejection(nodes.alive.copy(), problem, unresolvable=True)
                return
            allocation = (claim.get("status") or {}).get("allocation")
            if allocation is None:
                pending.append(claim)
            elif selector := allocation.get("nodeSelector"):
                here = nodes.rows_where(nodes.alive, lambda node, it=selector: _node_selector.matches(it, node))  # type: ignore[misc]
                yield Rejection(nodes.alive & ~here, "resourceclaim not available on the node", unresolvable=True)
        if pending:
            yield from self._place(pod, pending, nodes)

    def _place(self, pod: PodInfo, pending: list[Object], nodes: NodeColumns) -> Iterator[Rejection]:
        without: list[int] = []
        for row in nodes.alive.nonzero()[0].tolist():
            try:
                if self._try(pod, pending, nodes.node(row)) is None:
                    without.append(row)
            except devices.Impossible as problem:
                yield Rejection(nodes.alive.copy(), str(problem), unresolvable=True)
                return
        yield Rejection(nodes.mask(without), "cannot allocate all claims")

    def _try(self, pod: PodInfo, pending: Iterable[Object], node: Object) -> dict[Key, Object] | None:
        """Allocations of all claims on a node, None where one cannot be met."""
        available = self._inventory.on(self._informers[resourceslices.RESOURCE].listed(), node)
        classes = {one["metadata"]["name"]: one for one in self._informers[deviceclasses.RESOURCE].listed()}
        taken = self._taken(pod)
        made: dict[Key, Object] = {}
        for claim in pending:
            allocation = devices.allocate(claim, classes, available, taken, node)
            if allocation is None:
                return None
            made[key_of(claim)] = allocation
            taken |= devices.used([{"status": {"allocation": allocation}}])
        return made

    def _taken(self, pod: PodInfo) -> set[Id]:
        promised = [
            {"status": {"allocation": allocation}}
            for uid, claims in self._chosen.items()
            if uid != pod.uid
            for allocation in claims.values()
        ]
        return devices.used([*self._informers[resourceclaims.RESOURCE].listed(), *promised])

    def _claims(self, pod: PodInfo) -> Iterator[tuple[str, Object | None]]:
        """The pod's claims by their names in the pod; None for one that is not there yet."""
        informer = self._informers[resourceclaims.RESOURCE]
        told = {
            one["name"]: one.get("resourceClaimName")
            for one in (pod.pod.get("status") or {}).get("resourceClaimStatuses") or ()
        }
        for entry in pod.spec.get("resourceClaims") or ():
            name = entry.get("resourceClaimName") or told.get(entry["name"])
            if name:
                yield entry["name"], informer.get(Key(pod.key.namespace, name))
            elif entry["name"] not in told:
                yield (
                    entry["name"],
                    next((one for one in informer.listed() if _made_for(one, pod, entry["name"])), None),
                )

    # What was decided.

    def reserve(self, pod: PodInfo, node: Object) -> None:
        found = [claim for _, claim in self._claims(pod) if claim is not None]
        pending = [claim for claim in found if not (claim.get("status") or {}).get("allocation")]
        if found:
            made = self._try(pod, pending, node) if pending else {}
            self._chosen[pod.uid] = made or {}

    def unreserve(self, pod: PodInfo) -> None:
        self._chosen.pop(pod.uid, None)

    async def pre_bind(self, pod: PodInfo, client: Client) -> None:
        chosen = self._chosen.get(pod.uid, {})
        for name, claim in list(self._claims(pod)):
            if claim is None:
                raise devices.Impossible(f"resource claim {name} is gone")
            await _write(client, pod, key_of(claim), chosen.get(key_of(claim)))


async def _write(client: Client, pod: PodInfo, key: Key, allocation: Object | None) -> None:
    """Allocate where nobody has meanwhile, and reserve for the pod. A conflict is a StatusError, and another try."""
    claim: Any = await client.get(resourceclaims.RESOURCE, key)
    status = claim.get("status") or {}
    if allocation is not None and not status.get("allocation"):
        finalizers = claim["metadata"].get("finalizers") or []
        if FINALIZER not in finalizers:
            metadata = {**claim["metadata"], "finalizers": [*finalizers, FINALIZER]}
            claim = await client.update(resourceclaims.RESOURCE, {**claim, "metadata": metadata})
        status = {**(claim.get("status") or {}), "allocation": allocation}
    elif not status.get("allocation"):
        raise devices.Impossible(f"resource claim {key.name} is not allocated any more")
    reserved = status.get("reservedFor") or []
    if any(one["uid"] == pod.uid for one in reserved):
        return
    consumer = {"resource": "pods", "name": pod.key.name, "uid": pod.uid}
    changed = {**claim, "status": {**status, "reservedFor": [*reserved, consumer]}}
    await client.update(resourceclaims.RESOURCE, changed, subresource="status")


def _problem(pod: PodInfo, name: str, claim: Object | None) -> str:
    """Why no node can do, "" when one may."""
    if claim is None:
        return f'waiting for resource claim "{name}" to be created'
    if is_deleting(claim):
        return f'resourceclaim "{claim["metadata"]["name"]}" is being deleted'
    reserved = (claim.get("status") or {}).get("reservedFor") or ()
    if len(reserved) >= MOST_CONSUMERS and all(one["uid"] != pod.uid for one in reserved):
        return f'resourceclaim "{claim["metadata"]["name"]}" is in use'
    return ""


def _made_for(claim: Object, pod: PodInfo, name: str) -> bool:
    """Whether a claim was made from the pod's template, though the pod's status does not say so yet."""
    metadata = claim["metadata"]
    owners = metadata.get("ownerReferences") or ()
    return (metadata.get("annotations") or {}).get(POD_CLAIM) == name and any(one["uid"] == pod.uid for one in owners)
