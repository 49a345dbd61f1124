"""Which volume a claim may have, and whether one has the other: the rules that binder and scheduler share."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from pynetes.apis.core import _node_selector
from pynetes.machinery import labels, quantity
from pynetes.machinery.meta import Object, is_deleting

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
BETA_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"
CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
#: The provisioner that never provisions: its classes only group volumes made by hand.
NO_PROVISIONER = "kubernetes.io/no-provisioner"


def class_of(obj: Object) -> str:
    """The StorageClass of a claim or volume; "" is none."""
    annotated = annotations(obj).get(CLASS_ANNOTATION)
    return str(annotated if annotated is not None else obj["spec"].get("storageClassName") or "")


def annotations(obj: Object) -> Object:
    """An object's annotations."""
    found: Object = obj["metadata"].get("annotations") or {}
    return found


def is_bound(claim: Object) -> bool:
    """Whether the binder has done all that it does for the claim."""
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in annotations(claim)


def requested(claim: Object) -> int:
    """Bytes that a claim asks for."""
    return _bytes(str(((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage") or "0"))


def capacity(volume: Object) -> int:
    """Bytes that a volume has."""
    return _bytes(str((volume["spec"].get("capacity") or {}).get("storage") or "0"))


@lru_cache(maxsize=1024)
def _bytes(text: str) -> int:
    return quantity.parse(text).value()


def is_of(volume: Object, claim: Object) -> bool:
    """Whether a volume is reserved for, or bound to, this very claim."""
    ref, metadata = volume["spec"].get("claimRef"), claim["metadata"]
    if not ref:
        return False
    same = (ref.get("namespace"), ref.get("name")) == (metadata.get("namespace"), metadata["name"])
    return same and ref.get("uid") in (None, "", metadata.get("uid"))


def mismatch(volume: Object, claim: Object) -> str:
    """Why a volume that is meant for a claim cannot be its; "" if it can."""
    spec = claim["spec"]
    if capacity(volume) < requested(claim):
        return "requested PV is too small"
    if class_of(volume) != class_of(claim):
        return "storageClassName does not match"
    if _mode(volume) != _mode(claim):
        return "incompatible volumeMode"
    if not set(spec.get("accessModes") or ()) <= set(volume["spec"].get("accessModes") or ()):
        return "incompatible accessMode"
    if (volume["spec"].get("volumeAttributesClassName") or "") != (spec.get("volumeAttributesClassName") or ""):
        return "volume attributes class does not match"
    return ""


def _mode(obj: Object) -> str:
    return str(obj["spec"].get("volumeMode") or "Filesystem")


def choose(
    claim: Object,
    volumes: Iterable[Object],
    *,
    node: Object | None = None,
    taken: Sequence[str] = (),
    late: bool = False,
) -> Object | None:
    """The volume that a claim should have: the one kept for it, else the smallest that suits.

    node: it must be reachable from there. taken: names of volumes that are promised to others already. late: the
    choice waits for the pod's node, so only a volume that is kept for the claim counts."""
    best: Object | None = None
    selector = claim["spec"].get("selector")
    wanted = labels.from_label_selector(selector) if selector is not None else None
    for volume in volumes:
        if mismatch(volume, claim) or is_deleting(volume) or volume["metadata"]["name"] in taken:
            continue
        if node is not None and not reachable(volume, node):
            continue
        if is_of(volume, claim):
            return volume
        if late or volume["spec"].get("claimRef") or (volume.get("status") or {}).get("phase") != "Available":
            continue
        if wanted is not None and not wanted.matches(volume["metadata"].get("labels")):
            continue
        if best is None or capacity(volume) < capacity(best):
            best = volume
    return best


def reachable(volume: Object, node: Object) -> bool:
    """Whether a node is one from which the volume can be used."""
    return _node_selector.matches((volume["spec"].get("nodeAffinity") or {}).get("required"), node)
