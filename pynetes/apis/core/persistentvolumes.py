"""PersistentVolume: a piece of storage that claims can bind."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _pod_defaults, _volumes
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Retained and a filesystem unless told otherwise."""
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    spec.setdefault("volumeMode", "Filesystem")
    for name, fill in _pod_defaults.PERSISTENT_VOLUMES.items():
        if spec.get(name) is not None:
            fill(spec[name])


_reset = _workload.reset_status({"phase": "Pending"})


def _claim(obj: Object, _: datetime) -> str:
    claim = obj["spec"].get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="PersistentVolume",
    plural="persistentvolumes",
    short_names=("pv",),
    namespaced=False,
    subresources=("status",),
    generation=False,
    default=default,
    prepare=_reset,
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Capacity", ".spec.capacity.storage"),
        Column("Access Modes", _volumes.access_modes(".spec.accessModes")),
        Column("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"),
        Column("Status", _volumes.phase),
        Column("Claim", _claim),
        Column("StorageClass", _volumes.storage_class),
        Column("VolumeAttributesClass", _volumes.attributes_class),
        Column("Reason", ".status.reason"),
        Column.AGE,
        Column("VolumeMode", _volumes.mode, wide=True),
    ),
)
