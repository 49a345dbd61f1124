"""PersistentVolumeClaim: a request for storage."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _volumes
from pynetes.machinery import field, names, quantity
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


_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_IMMUTABLE = "field is immutable"
_SPEC = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Modes and size; afterwards only the size may grow, and only once bound."""
    yield from _volumes.validate_claim(new["spec"], "spec")
    if old is not None:
        yield from _unchanged(new, old)


def _annotation(obj: Object) -> str | None:
    found: str | None = (obj["metadata"].get("annotations") or {}).get(_ANNOTATION)
    return found


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    before, after = _comparable(old["spec"]), _comparable(new["spec"])
    if not old["spec"].get("volumeName"):
        # The binder fills this in.
        before["volumeName"] = after.get("volumeName")
    told, tells = _annotation(old), _annotation(new)
    chosen = after.get("storageClassName")
    if told is not None and before["storageClassName"] is None and chosen == told and tells in (None, told):
        # The class moves from the annotation to its field.
        after["storageClassName"] = None
    else:
        if (told or "") != (tells or ""):
            yield field.invalid(f"metadata.annotations.{_ANNOTATION}", tells or "", _IMMUTABLE)
        if chosen is not None and before["storageClassName"] is None and told in (None, chosen):
            after["storageClassName"] = None
    bound = (new.get("status") or {}).get("phase") == "Bound"
    if bound:
        _let_grow(after, before)
    if before != after:
        type_ = types.named("api.core.v1.PersistentVolumeClaimSpec")
        difference = gotext.diff(gotext.shown(type_, before), gotext.shown(type_, after))
        yield field.forbidden("spec", f"{_SPEC}\n{difference}")
    capacity = ((old.get("status") or {}).get("capacity") or {}).get("storage") or "0"
    wanted, had = _storage(new["spec"]), _storage(old["spec"])
    if quantity.parse(wanted) < quantity.parse(had) and quantity.parse(wanted) <= quantity.parse(capacity):
        yield field.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")
    if old["spec"].get("volumeMode") != new["spec"].get("volumeMode"):
        yield field.invalid("volumeMode", new["spec"].get("volumeMode"), _IMMUTABLE)
    chosen = new["spec"].get("volumeAttributesClassName")
    if old["spec"].get("volumeAttributesClassName") is not None and not chosen:
        what = "nil" if chosen is None else "an empty string"
        yield field.forbidden("spec.volumeAttributesClassName", f"update from non-nil value to {what} is forbidden")


def _storage(spec: Object) -> str:
    return str(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))


def _let_grow(after: Object, before: Object) -> None:
    """The size of a bound claim may change, and its class of attributes."""
    if after.get("volumeAttributesClassName") is not None:
        after["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
    requests = ((before.get("resources") or {}).get("requests") or {}).get("storage")
    if requests is not None and (after.get("resources") or {}).get("requests"):
        after["resources"] = {
            **after["resources"],
            "requests": {**after["resources"]["requests"], "storage": requests},
        }


def _comparable(spec: Object) -> Object:
    return {"volumeName": None, "storageClassName": None, "volumeAttributesClassName": None} | spec


_RESIZES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Sizes from 0 up, and what became of the wish for more."""
    status = new.get("status") or {}
    for name, amount in sorted((status.get("capacity") or {}).items()):
        yield from _volumes.basic(amount, f"status.capacity[{name}]")
    path = "status.allocatedResourceStatus"
    for name, state in sorted((status.get("allocatedResourceStatuses") or {}).items()):
        yield from _claimed(name, path)
        if state not in _RESIZES:
            yield field.not_supported(path, name, _RESIZES)
    path = "status.allocatedResources"
    for name, amount in sorted((status.get("allocatedResources") or {}).items()):
        if wrong := list(_claimed(name, path)):
            yield from wrong
        else:
            yield from _volumes.basic(amount, f"{path}[{name}]")


def _claimed(name: str, path: str) -> Iterator[field.Error]:
    """Of Kubernetes' own resources, a claim has storage only."""
    if wrong := names.qualified_name(name):
        yield from (field.invalid(path, name, text) for text in wrong)
    elif name != "storage" and ("/" not in name or "kubernetes.io/" in name):
        yield field.not_supported(path, name, ("storage",))


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
