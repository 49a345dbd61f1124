"""What should be attached to a node, and when what is attached may go: decided from objects alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from pynetes.controllers import _pvs as pvs
from pynetes.machinery import time as times
from pynetes.machinery.meta import Object, is_deleting

#: How long a node that is not ready may hold on to a volume before it is taken away all the same.
MAX_WAIT_FOR_UNMOUNT = timedelta(minutes=6)
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_SHARED_MODES = frozenset({"ReadWriteMany", "ReadOnlyMany"})


@dataclass(frozen=True)
class Decision:
    """For one node: volumes to attach, attachments to delete, volumes that others still have, when to look again."""

    attach: list[Object] = field(default_factory=list)
    detach: list[Object] = field(default_factory=list)
    #: (volume, names of the nodes that have it).
    blocked: list[tuple[Object, list[str]]] = field(default_factory=list)
    again: timedelta | None = None


def attachment_name(volume: Object, node: str) -> str:
    """The name of the VolumeAttachment of a CSI volume to a node."""
    csi = volume["spec"]["csi"]
    text = csi["volumeHandle"] + csi["driver"] + node
    return f"csi-{sha256(text.encode()).hexdigest()}"


def decide(
    name: str,
    node: Object | None,
    *,
    wanted: Mapping[str, Object],
    present: Mapping[str, Object],
    elsewhere: Mapping[str, Sequence[Object]],
    known: Mapping[str, Object],
    now: datetime,
) -> Decision:
    """What to do on a node.

    wanted: PersistentVolumes that its pods use, by name. present: its VolumeAttachments, by the volume's name.
    elsewhere: the other attachments of wanted volumes. known: the volumes of present, where they still exist."""
    made = Decision()
    for volume_name, volume in sorted(wanted.items()):
        attachment = present.get(volume_name)
        if attachment is not None:
            continue  # one that is being deleted has to be gone first; its end wakes the node
        others = [] if _is_shared(volume) else elsewhere.get(volume_name, ())
        if others:
            made.blocked.append((volume, sorted(other["spec"]["nodeName"] for other in others)))
        elif node is not None:
            made.attach.append(volume)
    in_use = frozenset(((node or {}).get("status") or {}).get("volumesInUse") or ())
    again: timedelta | None = None
    for volume_name, attachment in sorted(present.items()):
        if volume_name in wanted or is_deleting(attachment):
            continue
        left = _hold(node, known.get(volume_name), in_use, now)
        if left is None:
            made.detach.append(attachment)
        elif left > timedelta():
            again = left if again is None else min(again, left)
    return Decision(made.attach, made.detach, made.blocked, again)


def _is_shared(volume: Object) -> bool:
    return bool(_SHARED_MODES & set(volume["spec"].get("accessModes") or ()))


def _hold(node: Object | None, volume: Object | None, in_use: Collection[str], now: datetime) -> timedelta | None:
    """How long a node keeps a volume that no pod there wants: None not at all, zero until it says so itself."""
    if node is None or volume is None or pvs.unique_name(volume) not in in_use:
        return None
    if any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ()):
        return None
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    if ready is None or ready["status"] == "True":
        # A healthy node unmounts, then says so; taking the volume away before would destroy data.
        return timedelta()
    since = times.parse(ready.get("lastTransitionTime") or times.rfc3339(now))
    left = since + MAX_WAIT_FOR_UNMOUNT - now
    return left if left > timedelta() else None


def forced(node: Object | None, volume: Object | None) -> str:
    """Why a volume that its node still lists as in use is taken away; "" where it does not."""
    in_use = ((node or {}).get("status") or {}).get("volumesInUse") or ()
    if node is None or volume is None or pvs.unique_name(volume) not in in_use:
        return ""
    tainted = any(taint["key"] == OUT_OF_SERVICE for taint in node["spec"].get("taints") or ())
    return "out-of-service" if tainted else "timeout"


def attached(present: Mapping[str, Object], known: Mapping[str, Object], going: Collection[str]) -> list[Object]:
    """node.status.volumesAttached: what is attached and not about to go."""
    names = sorted(
        pvs.unique_name(known[volume])
        for volume, attachment in present.items()
        if (attachment.get("status") or {}).get("attached")
        and volume in known
        and not is_deleting(attachment)
        and attachment["metadata"]["name"] not in going
    )
    return [{"name": name, "devicePath": ""} for name in names]
