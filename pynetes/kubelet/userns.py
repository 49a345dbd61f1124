"""User namespaces of pods with `hostUsers: false`: root inside one is, on the node, a user that owns nothing.

Every such pod gets IDs of its own, 65,536 of them, from 65,536 on: what breaks out is a stranger to the node and
to every other pod. Which ones lies in the pod's folder, as upstream's kubelet keeps it: a restarted kubelet goes
on with them, and they are free again when the folder goes. Volumes are mounted with the same mapping: files keep the
owners that the pod knows.
"""

import json
from pathlib import Path

from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

FILE = "userns"
#: IDs of one pod. Below the first are the node's own users.
LENGTH = 1 << 16
_END = 1 << 32


class Exhausted(Exception):
    """There are no more IDs."""


def wanted(pod: Object) -> bool:
    """Whether a pod asks for a namespace of its own."""
    return pod["spec"].get("hostUsers") is False


def take(home: Path) -> None:
    """See to it that the pod whose folder this is has IDs, those of before if it has had some.

    Raises Exhausted, OSError."""
    if of(home) is not None:
        return
    used = {found.uids[0].host_id for other in home.parent.glob(f"*/{FILE}") if (found := of(other.parent)) is not None}
    first = next((each for each in range(LENGTH, _END, LENGTH) if each not in used), None)
    if first is None:
        raise Exhausted("every user ID of the node belongs to a pod")
    mapping = [{"hostId": first, "containerId": 0, "length": LENGTH}]
    home.mkdir(parents=True, exist_ok=True)
    # Moved into place whole: IDs that cannot be read would be given to another pod as well.
    partial = home / f"{FILE}.partial"
    partial.write_text(json.dumps({"uidMappings": mapping, "gidMappings": mapping}))
    partial.replace(home / FILE)


def of(home: Path) -> pb.UserNamespace | None:
    """What `take` has kept; None without it. Raises ValueError, OSError."""
    try:
        kept = json.loads((home / FILE).read_bytes())
    except FileNotFoundError:
        return None
    return pb.UserNamespace(mode=pb.POD, uids=_mappings(kept["uidMappings"]), gids=_mappings(kept["gidMappings"]))


def _mappings(kept: list[Object]) -> list[pb.IDMapping]:
    return [
        pb.IDMapping(host_id=each["hostId"], container_id=each["containerId"], length=each["length"]) for each in kept
    ]


def into_container(config: pb.ContainerConfig, namespace: pb.UserNamespace) -> None:
    """Put a container there, and let it see its volumes' files as its own users'."""
    config.linux.security_context.namespace_options.userns_options.CopyFrom(namespace)
    for mount in config.mounts:
        # Images are unpacked for the namespace by the runtime.
        if mount.host_path:
            mount.uidMappings.extend(namespace.uids)
            mount.gidMappings.extend(namespace.gids)
