"""Which pod is evicted: the one that uses more than it asked for, is least important, and uses most. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from pynetes.kubelet.cm import resources
from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

#: Pods from this priority on are never evicted for a shortage.
CRITICAL = 2_000_000_000
MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a pod uses: bytes of memory and of disk, inodes, processes."""

    memory: int = 0
    disk: int = 0
    inodes: int = 0
    processes: int = 0

    def of(self, resource: str) -> int:
        """By the resource's name in messages."""
        return {
            "memory": self.memory,
            "ephemeral-storage": self.disk,
            "inodes": self.inodes,
            "pids": self.processes,
        }[resource]


def rank(pods: Iterable[tuple[Object, Used]], resource: str) -> list[tuple[Object, Used]]:
    """Candidates, the first to go first."""

    def order(item: tuple[Object, Used]) -> tuple[bool, int, int]:
        pod, used = item
        asked = request(pod, resource)
        amount = used.of(resource)
        return amount <= asked, int(pod["spec"].get("priority") or 0), asked - amount

    return sorted((item for item in pods if not critical(item[0])), key=order)


def critical(pod: Object) -> bool:
    """Whether the node needs the pod more than the room."""
    annotations = pod["metadata"].get("annotations") or {}
    return int(pod["spec"].get("priority") or 0) >= CRITICAL or MIRROR in annotations


def request(pod: Object, resource: str) -> int:
    """What a pod has asked for; nothing where it cannot ask."""
    return resources.pod_requests(pod).get(resource, 0) // 1000 if resource in ("memory", "ephemeral-storage") else 0


def message(pod: Object, used: Used, resource: str, *, left: int, least: int) -> str:
    """What the pod's status says, in upstream's words."""
    text = f"The node was low on resource: {resource}. Threshold quantity: {least}, available: {left}."
    container = pod["spec"]["containers"][0]["name"]
    asked = request(pod, resource)
    if used.of(resource) > asked:
        text += f" Container {container} was using {used.of(resource)}, request is {asked},"
        text += f" has larger consumption of {resource}."
    return text


def over_limits(pod: Object, used: Used, layers: dict[str, int], volumes: dict[str, int]) -> str:
    """Why a pod has used more disk than it may, "" when it has not: of an emptyDir, of a container, or of the pod."""
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit and volumes.get(volume["name"], 0) > quantity.parse(limit).value():
            return f'Usage of EmptyDir volume "{volume["name"]}" exceeds the limit "{limit}". '
    total = 0
    bounded = True
    for container in spec["containers"]:
        limit = ((container.get("resources") or {}).get("limits") or {}).get("ephemeral-storage")
        bounded = bounded and limit is not None
        if limit is None:
            continue
        total += quantity.parse(limit).value()
        if layers.get(container["name"], 0) > quantity.parse(limit).value():
            return f'Container {container["name"]} exceeded its local ephemeral storage limit "{limit}". '
    if bounded and total and used.disk > total:
        return f"Pod ephemeral local storage usage exceeds the total limit of containers {total}. "
    return ""
