"""PersistentVolume: a piece of storage that claims can bind."""

import posixpath
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pynetes.apis.apps import _workload
from pynetes.apis.core import _affinity_validation, _node_labels, _pod_defaults, _volume_validation, _volumes
from pynetes.machinery import field, names, validation
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


#: In the order in which upstream looks at them: the first that is there counts, the others are one too many.
_SOURCES = (
    "hostPath", "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "flocker", "nfs", "rbd", "quobyte", "cephfs",
    "iscsi", "cinder", "fc", "flexVolume", "azureFile", "vsphereVolume", "photonPersistentDisk", "portworxVolume",
    "azureDisk", "scaleIO", "local", "storageos", "csi",
)  # fmt: skip
_POLICIES = ("Delete", "Recycle", "Retain")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """One source, a size, known policies; the source never changes."""
    spec = new["spec"]
    if not spec.get("accessModes"):
        yield field.required("spec.accessModes")
    yield from _volumes.validate_access(spec.get("accessModes"), "spec.accessModes")
    capacity = spec.get("capacity") or {}
    if not capacity:
        yield field.required("spec.capacity")
    if set(capacity) != {"storage"}:
        shown = dict(sorted(capacity.items())) if "capacity" in spec else None
        yield field.not_supported("spec.capacity", shown, ("storage",))
    for name, amount in capacity.items():
        yield from _volumes.basic(amount, f"spec.capacity[{name}]")
        yield from _volumes.positive(amount, f"spec.capacity[{name}]")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _POLICIES:
        yield field.not_supported("spec.persistentVolumeReclaimPolicy", policy, _POLICIES)
    if (affinity := spec.get("nodeAffinity")) is not None:
        yield from _affinity(affinity, "spec.nodeAffinity")
    yield from _sources(spec, (new.get("metadata") or {}).get("name") or "")
    if policy == "Recycle" and posixpath.normpath((spec.get("hostPath") or {}).get("path") or ".") in ("/", "//"):
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        yield field.forbidden("spec.persistentVolumeReclaimPolicy", detail)
    yield from _form(spec)
    if old is not None:
        yield from _kept(new, old)


def _form(spec: Object) -> Iterator[field.Error]:
    if spec.get("storageClassName"):
        yield from validation.checked(spec["storageClassName"], "spec.storageClassName", names.dns_subdomain)
    yield from _volumes.validate_mode(spec.get("volumeMode"), "spec.volumeMode")
    attributes, path = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    if attributes is None:
        return
    if not attributes:
        yield field.required(path, "an empty string is disallowed")
    else:
        yield from validation.checked(attributes, path, names.dns_subdomain)
    if spec.get("csi") is None:
        yield field.required("spec.csi", "has to be specified when using volumeAttributesClassName")


def _sources(spec: Object, name: str) -> Iterator[field.Error]:
    given = [kind for kind in _SOURCES if spec.get(kind) is not None]
    if not given:
        yield field.required("spec", "must specify a volume type")
    for number, kind in enumerate(given):
        if number and kind != "flexVolume":
            yield from _volume_validation.one_of_sources(["", kind], "spec")
            continue
        yield from _volume_validation.source(kind, spec[kind], "spec", persistent=True)
        if kind == "iscsi":
            yield from _volume_validation.long_portal(spec[kind], name, "spec.iscsi")
        if kind == "local" and spec.get("nodeAffinity") is None:
            yield field.required("spec.nodeAffinity", "Local volume requires node affinity")


def _kept(new: Object, old: Object) -> Iterator[field.Error]:
    """Where a volume is and how it is used stays."""
    spec, before = new["spec"], old["spec"]
    secret = "controllerExpandSecretRef"
    if (before.get("csi") or {}).get(secret) is None and (spec.get("csi") or {}).get(secret) is not None:
        # It may be added, not changed.
        spec = {**spec, "csi": {name: value for name, value in spec["csi"].items() if name != secret}}
    if any(spec.get(name) != before.get(name) for name in _SOURCES):
        detail = "spec.persistentvolumesource is immutable after creation"
        type_ = types.named("api.core.v1.PersistentVolumeSpec")
        texts = [gotext.persistent_volume_source(type_, each) for each in (before, spec)]
        yield field.forbidden("spec.persistentvolumesource", f"{detail}\n{gotext.diff(*texts)}")
    if spec.get("volumeMode") != before.get("volumeMode"):
        yield field.invalid("volumeMode", spec.get("volumeMode"), "field is immutable")
    affinity = before.get("nodeAffinity")
    if affinity is not None and _modern(affinity, spec.get("nodeAffinity")) != spec.get("nodeAffinity"):
        shown = gotext.shown(types.named("api.core.v1.VolumeNodeAffinity"), spec.get("nodeAffinity"))
        detail = "field is immutable, except for updating from beta label to GA"
        yield field.invalid("nodeAffinity", shown, detail)
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        yield field.forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


_MODERN = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _modern(before: Any, now: Any) -> Any:
    """The old affinity with today's name of a label wherever the new one has it."""
    if isinstance(before, dict) and isinstance(now, dict):
        found = {name: _modern(value, now.get(name)) for name, value in before.items()}
        key = before.get("key")
        if isinstance(key, str) and now.get("key") == _MODERN.get(key, key):
            found["key"] = now["key"]
        return found
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_modern(*pair) for pair in zip(before, now, strict=True)]
    return before


def _affinity(affinity: Object, path: str) -> Iterator[field.Error]:
    if affinity.get("required") is None:
        yield field.required(f"{path}.required", "must specify required node constraints")
    else:
        yield from _affinity_validation.node_selector(affinity["required"], f"{path}.required")


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
