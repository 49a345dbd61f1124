"""PersistentVolume: a piece of storage that claims can bind."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _affinity_validation, _node_labels, _pod_defaults, _volume_validation, _volumes
from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource
from pynetes.machinery.schema import gotext, types


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


def stamp(new: Object, old: Object | None, now: str) -> None:
    """Since when a volume is in its phase."""
    status, before = new.get("status") or {}, (old or {}).get("status") or {}
    moved = old is None or status.get("phase") != before.get("phase")
    if moved and status.get("lastPhaseTransitionTime") in (None, before.get("lastPhaseTransitionTime")):
        status["lastPhaseTransitionTime"] = now


def _claim(obj: Object, _: datetime) -> str:
    claim = obj["spec"].get("claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


_PLAIN = (
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """One source, a size, known policies; the source never changes."""
    spec = new["spec"]
    yield from _volumes.validate_access(spec, missing="")
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield field.required("spec.capacity")
    if set(capacity) != {"storage"}:
        shown = dict(sorted(capacity.items())) if "capacity" in spec else None
        yield field.not_supported("spec.capacity", shown, ("storage",))
    for name, amount in capacity.items():
        yield from _volumes.validate_size(amount, "spec.capacity", name)
    policy = spec.get("persistentVolumeReclaimPolicy")
    yield from validation.one_of(policy, "spec.persistentVolumeReclaimPolicy", ("Delete", "Recycle", "Retain"))
    if (affinity := spec.get("nodeAffinity")) is not None:
        yield from _affinity(affinity, "spec.nodeAffinity")
    sources = [name for name in spec if name not in _PLAIN]
    if not sources:
        yield field.required("spec", "must specify a volume type")
    for name in sources[1:]:
        yield field.forbidden(f"spec.{name}", "may not specify more than 1 volume type")
    if policy == "Recycle" and (spec.get("hostPath") or {}).get("path") == "/":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        yield field.forbidden("spec.persistentVolumeReclaimPolicy", detail)
    yield from _source(sources, spec)
    if "local" in sources and not spec.get("nodeAffinity"):
        yield field.required("spec.nodeAffinity", "Local volume requires node affinity")
    yield from _volumes.validate_form(spec)
    if old is not None:
        yield from _kept(new, old, sources)


def _kept(new: Object, old: Object, sources: list[str]) -> Iterator[field.Error]:
    """Where a volume is and how it is used stays."""
    spec, before = new["spec"], old["spec"]
    if any(spec.get(name) != before.get(name) for name in {*sources, *before} - {*_PLAIN}):
        detail = "spec.persistentvolumesource is immutable after creation"
        type_ = types.named("api.core.v1.PersistentVolumeSpec")
        texts = [gotext.persistent_volume_source(type_, obj["spec"]) for obj in (old, new)]
        yield field.forbidden("spec.persistentvolumesource", f"{detail}\n{gotext.diff(*texts)}")
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield field.invalid("volumeMode", spec.get("volumeMode"), "field is immutable")
    affinity = before.get("nodeAffinity")
    if affinity is not None and spec.get("nodeAffinity") != affinity:
        shown = gotext.shown(types.named("api.core.v1.VolumeNodeAffinity"), spec.get("nodeAffinity"))
        yield field.invalid("nodeAffinity", shown, "field is immutable")
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        yield field.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


def _affinity(affinity: Object, path: str) -> Iterator[field.Error]:
    if affinity.get("required") is None:
        yield field.required(f"{path}.required", "must specify required node constraints")
    else:
        yield from _affinity_validation.node_selector(affinity["required"], f"{path}.required")


def _source(sources: list[str], spec: Object) -> Iterator[field.Error]:
    if sources and sources[0] != "csi":
        yield from _volume_validation.source(sources[0], spec[sources[0]], "spec")
    if (csi := spec.get("csi")) is not None:
        yield from _csi(csi)
    if (local := spec.get("local")) is not None:
        yield from _local(local)


def _local(local: Object) -> Iterator[field.Error]:
    if not local.get("path"):
        yield field.required("spec.local.path")
    elif ".." in local["path"].split("/"):
        yield field.invalid("spec.local.path", local["path"], "must not contain '..'")


def _csi(csi: Object) -> Iterator[field.Error]:
    yield from validation.csi_driver_name(csi.get("driver") or "", "spec.csi.driver")
    if not csi.get("volumeHandle"):
        yield field.required("spec.csi.volumeHandle")
    for name in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        if (secret := csi.get(name)) is not None:
            for member in ("name", "namespace"):
                if not secret.get(member):
                    yield field.required(f"spec.csi.{name}.{member}")


_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
#: Volume source → deprecated in, without function since.
_OLD_SOURCES = {
    "cephfs": ("v1.28", "v1.31"),
    "photonPersistentDisk": ("v1.11", "v1.16"),
    "scaleIO": ("v1.16", "v1.22"),
    "storageos": ("v1.22", "v1.25"),
    "glusterfs": ("v1.25", "v1.26"),
    "rbd": ("v1.28", "v1.31"),
}


def warnings(new: Object, old: Object | None) -> list[str]:
    """Settings that are old."""
    spec, found = new.get("spec") or {}, list(_volumes.class_warning(new["metadata"]))
    if _MOUNT_OPTIONS in (new["metadata"].get("annotations") or {}):
        text = 'deprecated since v1.31; use "mountOptions" attribute instead'
        found.append(f"metadata.annotations[{_MOUNT_OPTIONS}]: {text}")
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. "
            "Instead, the recommended approach is to use dynamic provisioning."
        )
    required = (spec.get("nodeAffinity") or {}).get("required") or {}
    for index, term in enumerate(required.get("nodeSelectorTerms") or ()):
        path = f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]"
        found.extend(_node_labels.in_term(term, path, values=False))
    for source, (since, dead) in _OLD_SOURCES.items():
        if spec.get(source) is not None:
            shown = "storageOS" if source == "storageos" else source
            found.append(f"spec.{shown}: deprecated in {since}, non-functional in {dead}+")
    return found


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
    stamp=stamp,
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
    validate=validate,
    warnings=warnings,
)
