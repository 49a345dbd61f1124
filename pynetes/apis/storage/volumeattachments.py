"""VolumeAttachment: the wish that a volume be attached to a node."""

from collections.abc import Iterator

from pynetes.apis.apps import _workload
from pynetes.apis.core import _volume_validation, _volumes
from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_MESSAGE_LIMIT, _METADATA_LIMIT = 1024, 256 * 1024
_ONE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A driver, one volume and a node."""
    spec = new.get("spec") or {}
    attacher, source = spec.get("attacher") or "", spec.get("source") or {}
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if not attacher:
        yield field.required("spec.attacher")
    if inline is None and name is None:
        yield field.required("spec.source", _ONE)
    elif inline is not None and name is not None:
        yield field.forbidden("spec.source", _ONE)
    elif name == "":
        yield field.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
    elif inline is not None:
        yield from _inline(inline, "spec.source.inlineVolumeSpec")
    yield from validation.checked(spec.get("nodeName", ""), "spec.nodeName", names.dns_subdomain)
    yield from validate_status(new, old)
    if old is not None:
        return
    if attacher:
        yield from validation.csi_driver_name(attacher, "spec.attacher")
    if name is not None:
        yield from validation.checked(name, "spec.source.persistentVolumeName", names.dns_subdomain)


def _inline(spec: Object, path: str) -> Iterator[field.Error]:
    """A volume of a pod that was not made for a driver, in the driver's words: nothing that only a volume has."""
    context = "in the context of inline volumes"
    for member in ("claimRef", "capacity"):
        if spec.get(member):
            yield field.forbidden(f"{path}.{member}", f"may not be specified {context}")
    if spec.get("csi") is None:
        yield field.required(f"{path}.csi", f"has to be specified {context}")
    if not spec.get("accessModes"):
        yield field.required(f"{path}.accessModes")
    yield from _volumes.validate_access(spec.get("accessModes"), f"{path}.accessModes")
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        yield field.forbidden(f"{path}.persistentVolumeReclaimPolicy", f"may only be Retain {context}")
    if spec.get("nodeAffinity") is not None:
        yield field.forbidden(f"{path}.nodeAffinity", f"may not be specified {context}")
    if (csi := spec.get("csi")) is not None:
        yield from _volume_validation.source("csi", csi, path, persistent=True)
    if spec.get("storageClassName"):
        yield field.forbidden(f"{path}.storageClassName", f"may not be specified {context}")
    if spec.get("volumeMode") not in (None, "Filesystem"):
        detail = f"may not specify volumeMode other than Filesystem {context}"
        yield field.forbidden(f"{path}.volumeMode", detail)


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Metadata and errors of a bounded size."""
    status = new.get("status") or {}
    metadata = status.get("attachmentMetadata") or {}
    if sum(len(key) + len(value) for key, value in metadata.items()) > _METADATA_LIMIT:
        yield field.too_long("status.attachmentMetadata", _METADATA_LIMIT)
    for name in ("attachError", "detachError"):
        error = status.get(name) or {}
        if len((error.get("message") or "").encode()) > _MESSAGE_LIMIT:
            # Upstream names the other limit.
            yield field.too_long(f"status.{name}.message", _METADATA_LIMIT)
        if (error.get("errorCode") or 0) < 0:
            detail = f"must be between 0 and {(1 << 31) - 1}, inclusive"
            yield field.invalid(f"status.{name}.errorCode", error["errorCode"], detail)


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    subresources=("status",),
    generation=False,
    validate=validate,
    validate_status=validate_status,
    immutable=("spec",),
    prepare=_workload.reset_status({"attached": False}),
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Attacher", ".spec.attacher", format="name"),
        Column("PV", ".spec.source.persistentVolumeName"),
        Column("Node", ".spec.nodeName"),
        Column("Attached", cells.path(".status.attached", False), type="boolean"),
        Column.AGE,
    ),
)
