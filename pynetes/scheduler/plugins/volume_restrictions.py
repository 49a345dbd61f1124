"""VolumeRestrictions: a ReadWriteOncePod claim is for one pod at a time, on whichever node."""

from collections.abc import Iterable

from pynetes.client.informer import InformerFactory
from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo
from pynetes.scheduler.volumes import Volumes

REASON = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"


class VolumeRestrictions(Plugin):
    wakes_on = (
        Event("pods", "delete"),
        Event("nodes", "add"),
        Event("persistentvolumeclaims", "add"),
        Event("persistentvolumeclaims", "update"),
    )

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def follow(self, informers: InformerFactory) -> None:
        self._volumes.follow(informers)

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        alone = {
            name
            for name, claim in self._volumes.claims_of(pod)
            if claim is not None and "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ())
        }
        if not alone:
            return
        for row in nodes.alive.nonzero()[0].tolist():
            for other in nodes.pods[row].values():
                if other.key.namespace != pod.key.namespace or other.key == pod.key:
                    continue
                if alone & {name for name, _ in self._volumes.claims_of(other)}:
                    # Wherever the pod goes, the other has to go first; only on its own node can preemption do that.
                    yield Rejection(nodes.mask([row]), REASON)
                    yield Rejection(nodes.alive & ~nodes.mask([row]), REASON, unresolvable=True)
                    return

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        return event.resource != "pods" or new["metadata"].get("namespace") == pod.key.namespace
