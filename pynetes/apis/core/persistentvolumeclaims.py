"""PersistentVolumeClaim: a request for storage."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _volumes
from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource
from pynetes.machinery.schema import gotext, types


def default(obj: Object) -> None:
    """Pending and a filesystem unless told otherwise."""
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("volumeMode", "Filesystem")


def _unusable(source: Object | None) -> bool:
    if source is None:
        return False
    found = (source.get("apiGroup") or "", source.get("kind"))
    return found not in (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))


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
    if _unusable(spec.get("dataSource")):
        # What nothing can fill a claim from is dropped without a word, as upstream does.
        del spec["dataSource"]
    if (source := spec.get("dataSource")) and "dataSourceRef" not in spec:
        source.setdefault("apiGroup", None)
        spec["dataSourceRef"] = {"apiGroup": None, **source}
    elif (source := spec.get("dataSourceRef")) and "dataSource" not in spec and not source.get("namespace"):
        spec["dataSource"] = dict(source)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Modes and size; afterwards only the size may grow, and only once bound."""
    spec = new["spec"]
    yield from _volumes.validate_access(spec)
    requests = (spec.get("resources") or {}).get("requests") or {}
    yield from _volumes.validate_size(requests.get("storage"), "spec.resources", "storage")
    yield from _volumes.validate_form(spec)
    if spec.get("selector") is not None:
        yield from validation.label_selector(spec["selector"], "spec.selector")
    for name in ("dataSource", "dataSourceRef"):
        if (source := spec.get(name)) is not None:
            yield from _data_source(source, f"spec.{name}")
    if old is not None:
        yield from _unchanged(new, old)


def _data_source(source: Object, path: str) -> Iterator[field.Error]:
    for member in ("name", "kind"):
        if not source.get(member):
            yield field.required(f"{path}.{member}")
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        yield field.invalid(path, source.get("kind") or "", "")
    if group:
        yield from validation.checked(group, f"{path}.apiGroup", names.dns_subdomain)


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    before, after = _comparable(old["spec"]), _comparable(new["spec"])
    if not old["spec"].get("volumeName"):
        # The binder fills these in.
        before["volumeName"] = after.get("volumeName")
        before["storageClassName"] = before.get("storageClassName") or after.get("storageClassName")
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if bound:
        _let_grow(after, before)
    if before != after:
        detail = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        type_ = types.named("api.core.v1.PersistentVolumeClaimSpec")
        difference = gotext.diff(gotext.shown(type_, before), gotext.shown(type_, after))
        yield field.forbidden("spec", f"{detail}\n{difference}")
    capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage")
    if bound and capacity is not None:
        wanted, had = _storage(new["spec"]), _storage(old["spec"])
        if quantity.parse(wanted) < quantity.parse(had) and quantity.parse(wanted) < quantity.parse(capacity):
            yield field.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _storage(spec: Object) -> str:
    return str(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))


def _let_grow(after: Object, before: Object) -> None:
    """The size of a bound claim may change, and its class of attributes."""
    after["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
    requests = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if requests is not None and (after.get("resources") or {}).get("requests"):
        after["resources"] = {
            **after["resources"],
            "requests": {**after["resources"]["requests"], "storage": requests},
        }


def _comparable(spec: Object) -> Object:
    return {"volumeName": None, "storageClassName": None, "volumeAttributesClassName": None} | spec


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Sizes from 0 up."""
    for name, amount in sorted(((new.get("status") or {}).get("capacity") or {}).items()):
        parsed = quantity.parse(amount)
        if parsed.nanos < 0:
            whole = -(-parsed.nanos // quantity.NANO)
            yield field.invalid(f"status.capacity[{name}]", whole, "must be a valid resource quantity")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Settings that are old, and amounts that no volume can have."""
    return [*_volumes.class_warning(new["metadata"]), *_volumes.claim_warnings(new.get("spec") or {}, "spec")]


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
    validate=validate,
    warnings=warnings,
    validate_status=validate_status,
)
