"""VolumeBinding: a pod goes where its volumes can be used, and volumes that wait for a node get that of their pod."""

from collections.abc import Iterable
from typing import NamedTuple

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumes as pvs
from pynetes.apis.storage import csidrivers, csistoragecapacities, storageclasses
from pynetes.client.informer import InformerFactory
from pynetes.client.rest import Client
from pynetes.machinery import labels, quantity
from pynetes.machinery.meta import Object, is_deleting
from pynetes.scheduler.columns import Mask, NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo
from pynetes.scheduler.volumes import Choice, Volumes

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
CONFLICT = "node(s) didn't match PersistentVolume's node affinity"
NONE_FOUND = "node(s) didn't find available persistent volumes to bind"
NO_ROOM = "node(s) did not have enough free storage"


class _Late(NamedTuple):
    """A claim that waits for its pod's node."""

    claim: Object
    class_: Object


class VolumeBinding(Plugin):
    wakes_on = (
        Event("nodes", "add"),
        Event("nodes", "update"),
        Event("persistentvolumeclaims", "add"),
        Event("persistentvolumeclaims", "update"),
        Event("persistentvolumes", "add"),
        Event("persistentvolumes", "update"),
        Event("storageclasses", "add"),
        Event("csidrivers", "add"),
        Event("csidrivers", "update"),
        Event("csinodes", "add"),
        Event("csinodes", "update"),
        Event("csistoragecapacities", "add"),
        Event("csistoragecapacities", "update"),
    )

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def follow(self, informers: InformerFactory) -> None:
        self._volumes.follow(informers)

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        found = self._volumes.claims_of(pod)
        if not found:
            return
        everywhere = nodes.alive.copy()
        bound: list[Object] = []
        late: list[_Late] = []
        for name, claim in found:
            if problem := self._sort(name, claim, bound, late):
                yield Rejection(everywhere, problem, unresolvable=True)
                return
        for volume in bound:
            if (volume["spec"].get("nodeAffinity") or {}).get("required"):
                here = nodes.rows_where(nodes.alive, lambda node, it=volume: binding.reachable(it, node))  # type: ignore[misc]
                yield Rejection(nodes.alive & ~here, CONFLICT, unresolvable=True)
        if late:
            yield from self._place(late, nodes)

    def _sort(self, name: str, claim: Object | None, bound: list[Object], late: list[_Late]) -> str:
        """Add a claim to where it belongs; why no node can do if none can."""
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if is_deleting(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if (claim.get("status") or {}).get("phase") == "Lost":
            return f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume'
        if claim["spec"].get("volumeName"):
            volume = self._volumes.get(pvs.RESOURCE, claim["spec"]["volumeName"])
            if volume is None or not binding.is_bound(claim):
                return UNBOUND
            bound.append(volume)
            return ""
        class_ = self._volumes.get(storageclasses.RESOURCE, binding.class_of(claim))
        if class_ is None or class_.get("volumeBindingMode") != "WaitForFirstConsumer":
            return UNBOUND
        late.append(_Late(claim, class_))
        return ""

    def _place(self, late: list[_Late], nodes: NodeColumns) -> Iterable[Rejection]:
        reasons: dict[str, list[int]] = {}
        for row in nodes.alive.nonzero()[0].tolist():
            _, problem = self._try(late, nodes.node(row))
            if problem:
                reasons.setdefault(problem, []).append(row)
        for reason, rows in reasons.items():
            mask: Mask = nodes.mask(rows)
            yield Rejection(mask, reason, unresolvable=True)

    def _try(self, late: list[_Late], node: Object) -> tuple[Choice, str]:
        """What these claims would get on a node, and why they would not."""
        name = node["metadata"]["name"]
        found: list[tuple[Object, Object]] = []
        wanted: list[Object] = []
        nothing = Choice(name)
        candidates = self._volumes.listed(pvs.RESOURCE)
        # The largest wish last: a small claim must not take the only volume that suits a large one.
        for claim, class_ in sorted(late, key=lambda one: binding.requested(one.claim)):
            selected = binding.annotations(claim).get(binding.SELECTED_NODE)
            if selected is not None and selected != name:
                return nothing, NONE_FOUND
            taken = [*self._volumes.taken(claim), *(volume["metadata"]["name"] for _, volume in found)]
            volume = None if selected else binding.choose(claim, candidates, node=node, taken=taken)
            if volume is not None:
                found.append((claim, volume))
            elif class_["provisioner"] == binding.NO_PROVISIONER or not _is_allowed(class_, node):
                return nothing, NONE_FOUND
            elif not selected and not self._has_room(claim, class_, node):
                return nothing, NO_ROOM
            else:
                wanted.append(claim)
        return Choice(name, tuple(found), tuple(wanted)), ""

    def _has_room(self, claim: Object, class_: Object, node: Object) -> bool:
        """Whether the driver says that it has the room there; one that publishes no capacity is believed to."""
        driver = self._volumes.get(csidrivers.RESOURCE, class_["provisioner"])
        if driver is None or not driver["spec"].get("storageCapacity"):
            return True
        size = binding.requested(claim)
        for capacity in self._volumes.listed(csistoragecapacities.RESOURCE):
            if capacity["storageClassName"] != class_["metadata"]["name"]:
                continue
            largest = capacity.get("maximumVolumeSize") or capacity.get("capacity")
            if largest is None or quantity.parse(largest).value() < size:
                continue
            topology = capacity.get("nodeTopology")
            if topology is not None and labels.from_label_selector(topology).matches(node["metadata"].get("labels")):
                return True
        return False

    # What was decided.

    def reserve(self, pod: PodInfo, node: Object) -> None:
        late: list[_Late] = []
        for name, claim in self._volumes.claims_of(pod):
            self._sort(name, claim, [], late)
        if late:
            choice, _ = self._try(late, node)
            self._volumes.reserve(pod, choice)

    def unreserve(self, pod: PodInfo) -> None:
        self._volumes.release(pod)

    async def pre_bind(self, pod: PodInfo, client: Client) -> None:
        await self._volumes.bind(pod, client)


def _is_allowed(class_: Object, node: Object) -> bool:
    """Whether a class lets volumes be made for a node: any of its terms, all expressions of a term."""
    terms = class_.get("allowedTopologies") or ()
    of_node = node["metadata"].get("labels") or {}
    return not terms or any(
        all(of_node.get(one["key"]) in one["values"] for one in term.get("matchLabelExpressions") or ())
        for term in terms
    )
