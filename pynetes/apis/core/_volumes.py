"""Cells and defaults that PersistentVolume and PersistentVolumeClaim share."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import cells, field, jsonpath, names, quantity, validation
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


_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def validate_access(spec: Object, *, missing: str = "at least 1 access mode is required") -> Iterator[field.Error]:
    """Access modes, which claim and volume both have."""
    modes = spec.get("accessModes") or ()
    if not modes:
        yield field.required("spec.accessModes", missing)
    for given in modes:
        yield from validation.one_of(given, "spec.accessModes", _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        detail = "may not use ReadWriteOncePod with other access modes"
        yield field.forbidden("spec.accessModes", detail)


def validate_form(spec: Object) -> Iterator[field.Error]:
    """Class and volume mode, which claim and volume both have."""
    if spec.get("storageClassName"):
        yield from validation.checked(spec["storageClassName"], "spec.storageClassName", names.dns_subdomain)
    yield from validation.one_of(spec.get("volumeMode"), "spec.volumeMode", ("Block", "Filesystem"))


def validate_size(amount: str | None, path: str, item: str) -> Iterator[field.Error]:
    """A size above zero."""
    if amount is None:
        yield field.required(path if not item else f"{path}[{item}]")
    elif quantity.parse(amount).nanos <= 0:
        yield field.invalid(f"{path}[{item}]", amount, "must be greater than zero")


def claim_warnings(spec: Object, path: str) -> Iterator[str]:
    """Amounts that no volume can have."""
    for side in ("requests", "limits"):
        amount = ((spec.get("resources") or {}).get(side) or {}).get("storage")
        if amount is None:
            continue
        found = quantity.parse(amount)
        if found.milli() % 1000:
            text = f"fractional byte value {field.quote(str(found))} is invalid, must be an integer"
            yield f"{path}.resources.{side}[storage]: {text}"


def class_warning(metadata: Object) -> Iterator[str]:
    """The class has a field now."""
    if _CLASS_ANNOTATION in (metadata.get("annotations") or {}):
        text = 'deprecated since v1.8; use "storageClassName" attribute instead'
        yield f"metadata.annotations[{_CLASS_ANNOTATION}]: {text}"
