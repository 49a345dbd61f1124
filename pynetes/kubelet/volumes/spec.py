"""What a pod's volume is, once its claim has been followed to the volume behind it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pynetes.apis.core import persistentvolumeclaims, persistentvolumes
from pynetes.client.rest import Client
from pynetes.kubelet import podspec
from pynetes.machinery import quantity
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object


class VolumeFailure(Exception):
    """A volume cannot be made now; the pod waits and it is tried again. reason is the event's."""

    def __init__(self, message: str, *, reason: str = "FailedMount") -> None:
        super().__init__(message)
        self.reason = reason


#: Kinds that a PersistentVolume may have here.
PERSISTENT = ("csi", "hostPath", "local", "nfs")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One volume of one pod. source is what stands under the kind's name, in the pod or in the PersistentVolume."""

    name: str
    kind: str
    source: Object = field(default_factory=dict)
    #: The name of folders made for it: the PersistentVolume's name, else the volume's own.
    spec_name: str
    read_only: bool = False
    block: bool = False
    claim: Key | None = None
    access_modes: tuple[str, ...] = ()
    mount_options: tuple[str, ...] = ()
    #: Bytes that the volume is said to have, and those that the claim has been told of; 0 where nobody says. size is
    #: the first as it is written.
    capacity: int = 0
    claimed: int = 0
    size: str = ""
    group: str = ""

    @property
    def persistent(self) -> bool:
        """Whether there is a PersistentVolume behind it."""
        return self.claim is not None

    @property
    def unique(self) -> str:
        """The name of an attachable volume in node.status, "" for others."""
        if self.kind != "csi" or not self.persistent:
            return ""
        return f"kubernetes.io/csi/{self.source['driver']}^{self.source['volumeHandle']}"


def attachment_name(handle: str, driver: str, node: str) -> str:
    """The name of the VolumeAttachment of a volume and a node, which the attach-detach controller gives it."""
    return "csi-" + hashlib.sha256(f"{handle}{driver}{node}".encode()).hexdigest()


def used(pod: Object) -> Iterator[Object]:
    """The pod's volumes that a container mounts or has as a device; others need not be made."""
    wanted = {
        one["name"]
        for container in podspec.everything(pod)
        for one in [*(container.get("volumeMounts") or ()), *(container.get("volumeDevices") or ())]
    }
    return (volume for volume in pod["spec"].get("volumes") or () if volume["name"] in wanted)


def kind_of(volume: Object) -> str:
    """The member that says what the volume is; emptyDir where none does."""
    return next((name for name in volume if name != "name" and volume[name] is not None), "emptyDir")


async def resolve(client: Client, pod: Object, volume: Object) -> Spec:
    """A volume's spec, its claim followed. Raises VolumeFailure while the claim has no volume, StatusError."""
    kind, name = kind_of(volume), str(volume["name"])
    if kind not in ("persistentVolumeClaim", "ephemeral"):
        source = volume.get(kind) or {}
        return Spec(name=name, kind=kind, source=source, spec_name=name, read_only=bool(source.get("readOnly")))
    namespace = pod["metadata"].get("namespace", "")
    own = volume[kind].get("claimName") if kind == "persistentVolumeClaim" else f"{pod['metadata']['name']}-{name}"
    claim = await _claim(client, Key(namespace, own))
    if kind == "ephemeral":
        _check_owner(pod, claim)
    bound = (claim.get("spec") or {}).get("volumeName")
    if not bound or (claim.get("status") or {}).get("phase") != "Bound":
        raise VolumeFailure(f'persistentvolumeclaim "{own}" is not bound')
    try:
        found = await client.get(persistentvolumes.RESOURCE, Key("", bound))
    except StatusError as error:
        raise VolumeFailure(f'persistentvolume "{bound}" cannot be read: {error}') from error
    return from_claim(name, claim, found, read_only=bool(volume[kind].get("readOnly")))


async def _claim(client: Client, key: Key) -> Object:
    try:
        found = await client.find(persistentvolumeclaims.RESOURCE, key)
    except StatusError as error:
        raise VolumeFailure(f'persistentvolumeclaim "{key.name}" cannot be read: {error}') from error
    if found is None:
        raise VolumeFailure(f'persistentvolumeclaim "{key.name}" not found')
    if found["metadata"].get("deletionTimestamp"):
        raise VolumeFailure(f'persistentvolumeclaim "{key.name}" is being deleted')
    return found


def _check_owner(pod: Object, claim: Object) -> None:
    owners = claim["metadata"].get("ownerReferences") or ()
    if not any(one.get("controller") and one["uid"] == pod["metadata"]["uid"] for one in owners):
        name = claim["metadata"]["name"]
        raise VolumeFailure(f'persistentvolumeclaim "{name}" was not created for this pod: the pod is not its owner')


def from_claim(name: str, claim: Object, volume: Object, *, read_only: bool) -> Spec:
    """The spec of a bound claim. Raises VolumeFailure where both do not belong together. Pure."""
    metadata, spec = volume["metadata"], volume["spec"]
    reference = spec.get("claimRef") or {}
    if reference.get("uid") != claim["metadata"]["uid"]:
        raise VolumeFailure(f'persistentvolume "{metadata["name"]}" is not bound to this claim')
    kind = next((kind for kind in PERSISTENT if kind in spec), "")
    if not kind:
        raise VolumeFailure(f'persistentvolume "{metadata["name"]}" is of a kind that is not supported')
    annotations = metadata.get("annotations") or {}
    block = spec.get("volumeMode") == "Block"
    return Spec(
        name=name,
        kind=kind,
        source=spec[kind],
        spec_name=metadata["name"],
        read_only=read_only or bool(spec[kind].get("readOnly")),
        block=block,
        claim=Key(claim["metadata"]["namespace"], claim["metadata"]["name"]),
        access_modes=tuple(spec.get("accessModes") or ()),
        mount_options=tuple(spec.get("mountOptions") or ()),
        capacity=_bytes(spec.get("capacity")),
        size=str((spec.get("capacity") or {}).get("storage") or ""),
        claimed=_bytes((claim.get("status") or {}).get("capacity")),
        group=annotations.get("pv.beta.kubernetes.io/gid", ""),
    )


def _bytes(amounts: Object | None) -> int:
    return quantity.parse(amounts["storage"]).value() if amounts and "storage" in amounts else 0
