"""Cells and defaults that PersistentVolume and PersistentVolumeClaim share."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

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


def validate_access(modes: Any, path: str) -> Iterator[field.Error]:
    """Access modes, which claim and volume both have."""
    for given in modes or ():
        if given not in _MODES:
            yield field.not_supported(path, given, _MODES)
    if "ReadWriteOncePod" in (modes or ()) and {*modes} & {*_MODES[:3]}:
        yield field.forbidden(path, "may not use ReadWriteOncePod with other access modes")


def validate_mode(mode: str | None, path: str) -> Iterator[field.Error]:
    """Volume mode, which claim and volume both have."""
    if mode is not None and mode not in ("Block", "Filesystem"):
        yield field.not_supported(path, mode, ("Block", "Filesystem"))


def basic(amount: str, path: str) -> Iterator[field.Error]:
    """An amount from 0 up; shown as whole bytes."""
    nanos = quantity.parse(amount).nanos
    if nanos < 0:
        yield field.invalid(path, -(-nanos // quantity.NANO), "must be a valid resource quantity")


def positive(amount: str, path: str) -> Iterator[field.Error]:
    """An amount above 0."""
    if quantity.parse(amount).nanos <= 0:
        yield field.invalid(path, amount, "must be greater than zero")


def validate_claim(spec: Object, path: str) -> Iterator[field.Error]:
    """The spec of a claim, or of the template of one."""
    if not spec.get("accessModes"):
        yield field.required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from validation.label_selector(spec.get("selector"), f"{path}.selector")
    yield from validate_access(spec.get("accessModes"), f"{path}.accessModes")
    size, place = ((spec.get("resources") or {}).get("requests") or {}).get("storage"), f"{path}.resources[storage]"
    if size is None:
        yield field.required(place)
    else:
        yield from positive(size, place)
    if spec.get("storageClassName"):
        yield from validation.checked(spec["storageClassName"], f"{path}.storageClassName", names.dns_subdomain)
    yield from validate_mode(spec.get("volumeMode"), f"{path}.volumeMode")
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, given in (("dataSource", source), ("dataSourceRef", ref)):
        if given is not None:
            yield from _data_source(given, f"{path}.{name}")
    # Upstream shows a path here, which prints as an empty object.
    if source is not None and ref is not None:
        if ref.get("namespace"):
            yield field.invalid(path, {}, "may not be specified when dataSourceRef.namespace is specified")
        elif any(source.get(name) != ref.get(name) for name in ("apiGroup", "kind", "name")):
            yield field.invalid(path, {}, "must match dataSourceRef")
    if spec.get("volumeAttributesClassName"):
        place = f"{path}.volumeAttributesClassName"
        yield from validation.checked(spec["volumeAttributesClassName"], place, names.dns_subdomain)


def _data_source(source: Object, path: str) -> Iterator[field.Error]:
    for member in ("name", "kind"):
        if not source.get(member):
            yield field.required(f"{path}.{member}")
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        yield field.invalid(path, source.get("kind") or "", detail)
    if group:
        yield from validation.checked(group, f"{path}.apiGroup", names.dns_subdomain)
    if source.get("namespace"):
        yield from validation.checked(source["namespace"], f"{path}.namespace", names.dns_label)


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
