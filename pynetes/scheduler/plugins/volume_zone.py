"""VolumeZone: a volume that is labelled with zones or regions is used in those only."""

from collections.abc import Iterable

from pynetes.client.informer import InformerFactory
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo
from pynetes.scheduler.volumes import Volumes

KEYS = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
REASON = "node(s) had no available volume zone"
#: Separates the zones of a volume that is in several.
_SEPARATOR = "__"


class VolumeZone(Plugin):
    wakes_on = (
        Event("nodes", "add"),
        Event("nodes", "update"),
        Event("persistentvolumeclaims", "add"),
        Event("persistentvolumeclaims", "update"),
        Event("persistentvolumes", "add"),
        Event("persistentvolumes", "update"),
        Event("storageclasses", "add"),
    )

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def follow(self, informers: InformerFactory) -> None:
        self._volumes.follow(informers)

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        for volume in self._volumes.volumes_of(pod):
            for key, value in (volume["metadata"].get("labels") or {}).items():
                if key in KEYS:
                    by_value = nodes.labelled.get(key, {})
                    rows = {row for zone in value.split(_SEPARATOR) for row in by_value.get(zone, ())}
                    yield Rejection(nodes.alive & ~nodes.mask(rows), REASON, unresolvable=True)
