"""DynamicResources: a pod goes where its claims' devices are, and claims without devices get theirs on the pod's node.

What was chosen is kept in memory until it is written, so that no two pods get one device; it is written into the claim
before the pod is bound (finalizer, allocation, reservation).
"""

from collections.abc import Iterable, Iterator

from pynetes.apis.core import _node_selector
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.machinery import quantity
from pynetes.machinery.meta import Key, Object, is_deleting, key_of
from pynetes.scheduler import devices, devicesharing, extendedclaims
from pynetes.scheduler.claims import EXTENDED, Claims
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo

#: The pods that may share one claim.
MOST_CONSUMERS = 256


class DynamicResources(Plugin):
    wakes_on = (
        *(Event("resourceclaims", action) for action in ("add", "update", "delete")),
        *(Event("resourceslices", action) for action in ("add", "update")),
        *(Event("deviceclasses", action) for action in ("add", "update")),
        *(Event("nodes", action) for action in ("add", "update")),
    )

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._inventory = devices.Inventory()

    def follow(self, informers: InformerFactory) -> None:
        self._claims.follow(informers)

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        extended = self._extended(pod)
        if not pod.spec.get("resourceClaims") and not extended:
            return
        pending: list[Object] = []
        for name, claim in self._claims.of(pod):
            problem = _problem(pod, name, claim)
            if problem or claim is None:
                yield Rejection(nodes.alive.copy(), problem, unresolvable=True)
                return
            allocation = (claim.get("status") or {}).get("allocation")
            if allocation is None:
                if self._claims.is_promised(key_of(claim), pod):
                    # Its node is decided by the pod that came first; once written, this one follows.
                    text = f"resource claim {claim['metadata']['name']} is in the process of being allocated"
                    yield Rejection(nodes.alive.copy(), text, unresolvable=True)
                    return
                pending.append(claim)
            elif selector := allocation.get("nodeSelector"):
                here = nodes.rows_where(nodes.alive, lambda node, it=selector: _node_selector.matches(it, node))  # type: ignore[misc]
                yield Rejection(nodes.alive & ~here, "resourceclaim not available on the node", unresolvable=True)
        if pending or extended:
            yield from self._place(pod, pending, nodes)

    def _extended(self, pod: PodInfo) -> dict[str, str]:
        """The pod's extended resources that are devices of classes, and which."""
        if not any("/" in name for name in pod.requests):
            return {}
        known = self._claims.classes_of_resources()
        return {name: known[name] for name in pod.requests if name in known}

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
        stock = self._inventory.on(self._claims.slices(), node)
        classes = self._claims.classes()
        taken = self._claims.taken(pod)
        made: dict[Key, Object] = {}
        for claim in pending:
            allocation = devices.allocate(claim, classes, stock, taken, node)
            if allocation is None:
                return None
            made[key_of(claim)] = allocation
            devicesharing.count(taken, [{"status": {"allocation": allocation}}])
        extended, mappings = self._extended_claim(pod, node)
        if mappings:
            allocation = devices.allocate(extended, classes, stock, taken, node)
            if allocation is None:
                return None
            made[EXTENDED] = allocation
        return made

    def _extended_claim(self, pod: PodInfo, node: Object) -> tuple[Object, list[Object]]:
        """What to claim for extended resources; a node that has some by a device plugin serves them by itself."""
        have = (node.get("status") or {}).get("allocatable") or {}
        own = {name for name, amount in have.items() if quantity.parse(amount)}
        return extendedclaims.claim_for(pod, self._extended(pod), own)

    # What was decided.

    def reserve(self, pod: PodInfo, node: Object) -> None:
        found = [claim for _, claim in self._claims.of(pod) if claim is not None]
        pending = [claim for claim in found if not (claim.get("status") or {}).get("allocation")]
        extended = self._extended_claim(pod, node) if self._extended(pod) else None
        if found or extended:
            made = self._try(pod, pending, node) if pending or extended else {}
            self._claims.reserve(pod, made or {}, extended if extended and extended[1] else None)

    def unreserve(self, pod: PodInfo) -> None:
        self._claims.release(pod)

    async def pre_bind(self, pod: PodInfo, client: Client) -> None:
        await self._claims.bind(pod, client)


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
