"""PersistentVolumeClaim: a request for storage."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _volumes
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Pending and a filesystem unless told otherwise."""
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("volumeMode", "Filesystem")


def _bound(obj: Object, _: datetime) -> str:
    if not obj["spec"].get("volumeName"):
        return ""
    return str(((obj.get("status") or {}).get("capacity") or {}).get("storage") or "0")


def _modes(obj: Object, now: datetime) -> str:
    return _volumes.access_modes(".status.accessModes")(obj, now) if obj["spec"].get("volumeName") else ""


_reset = _workload.reset_status({"phase": "Pending"})


def prepare(new: Object, old: Object | None) -> None:
    """Reset the status; dataSource and dataSourceRef say the same."""
    _reset(new, old)
    spec = new["spec"]
    if (source := spec.get("dataSource")) and "dataSourceRef" not in spec:
        source.setdefault("apiGroup", None)
        spec["dataSourceRef"] = {"apiGroup": None, **source}
    elif (source := spec.get("dataSourceRef")) and "dataSource" not in spec and not source.get("namespace"):
        spec["dataSource"] = dict(source)


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    subresources=("status",),
    generation=False,
    default=default,
    prepare=prepare,
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Status", _volumes.phase),
        Column("Volume", ".spec.volumeName"),
        Column("Capacity", _bound),
        Column("Access Modes", _modes),
        Column("StorageClass", _volumes.storage_class),
        Column("VolumeAttributesClass", _volumes.attributes_class),
        Column.AGE,
        Column("VolumeMode", _volumes.mode, wide=True),
    ),
)
