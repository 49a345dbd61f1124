"""NodeVolumeLimits: no node gets more volumes of a driver than the driver says that it can have."""

from collections.abc import Iterable

from pynetes.apis.core import persistentvolumes as pvs
from pynetes.apis.storage import csinodes, storageclasses
from pynetes.client.informer import InformerFactory
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo
from pynetes.scheduler.volumes import Volumes

REASON = "node(s) exceed max volume count"


class NodeVolumeLimits(Plugin):
    wakes_on = (
        Event("csinodes", "add"),
        Event("csinodes", "update"),
        Event("pods", "delete"),
        Event("persistentvolumeclaims", "add"),
        Event("persistentvolumeclaims", "update"),
    )

    def __init__(self, volumes: Volumes) -> None:
        self._volumes = volumes

    def follow(self, informers: InformerFactory) -> None:
        self._volumes.follow(informers)

    @property
    def name(self) -> str:
        return "NodeVolumeLimits"

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        wanted = self._used_by(pod)
        if not wanted:
            return
        full = []
        for row in nodes.alive.nonzero()[0].tolist():
            limits = self._limits(nodes.name(row))
            if not limits:
                continue
            here = set().union(*(self._used_by(other) for other in nodes.pods[row].values()))
            for driver, most in limits.items():
                more = {one for one in wanted - here if one[0] == driver}
                if more and len(more) + sum(one[0] == driver for one in here) > most:
                    full.append(row)
                    break
        yield Rejection(nodes.mask(full), REASON)

    def _used_by(self, pod: PodInfo) -> set[tuple[str, str]]:
        """Driver and volume of each of a pod's claims; one that has no volume yet counts as the one it will have."""
        found: set[tuple[str, str]] = set()
        for name, claim in self._volumes.claims_of(pod):
            if claim is None:
                continue
            volume = self._volumes.get(pvs.RESOURCE, claim["spec"].get("volumeName") or "")
            if volume is not None:
                csi = volume["spec"].get("csi")
                if csi:
                    found.add((csi["driver"], csi["volumeHandle"]))
                continue
            class_ = self._volumes.get(storageclasses.RESOURCE, claim["spec"].get("storageClassName") or "")
            if class_ is not None:
                found.add((class_["provisioner"], f"{pod.key.namespace}/{name}"))
        return found

    def _limits(self, node: str) -> dict[str, int]:
        found = self._volumes.get(csinodes.RESOURCE, node)
        drivers = (found or {"spec": {}})["spec"].get("drivers") or ()
        return {
            one["name"]: count for one in drivers if (count := (one.get("allocatable") or {}).get("count")) is not None
        }
