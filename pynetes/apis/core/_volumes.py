"""Cells and defaults that PersistentVolume and PersistentVolumeClaim share."""

from datetime import datetime

from pynetes.machinery import cells, jsonpath
from pynetes.machinery.meta import Object

_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_SHORT = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}


def access_modes(path: str) -> cells.Cell:
    """RWO,ROX in a fixed order."""

    def cell(obj: Object, _: datetime) -> str:
        given = jsonpath.first(path, obj) or ()
        return ",".join(short for mode, short in _SHORT.items() if mode in given)

    return cell


def phase(obj: Object, _: datetime) -> str:
    """The phase, or that it is going."""
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str((obj.get("status") or {}).get("phase") or "")


def storage_class(obj: Object, _: datetime) -> str:
    """The class, from the old annotation if that is there."""
    annotation = (obj["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    return str(annotation if annotation is not None else obj["spec"].get("storageClassName") or "")


def attributes_class(obj: Object, _: datetime) -> str:
    """The volume attributes class."""
    return str(obj["spec"].get("volumeAttributesClassName") or "<unset>")


def mode(obj: Object, _: datetime) -> str:
    """Filesystem or Block."""
    return str(obj["spec"].get("volumeMode") or "<unset>")
