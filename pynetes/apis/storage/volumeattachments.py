"""VolumeAttachment: the wish that a volume be attached to a node."""

from collections.abc import Iterator

from pynetes.apis.apps import _workload
from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_MESSAGE_LIMIT, _METADATA_LIMIT = 1024, 256 * 1024


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A driver, one volume and a node."""
    spec = new.get("spec") or {}
    yield from validation.csi_driver_name(spec.get("attacher", ""), "spec.attacher")
    source = spec.get("source") or {}
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and name is None:
        detail = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
        yield field.required("spec.source", detail)
    elif inline is not None and name is not None:
        yield field.forbidden("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
    elif name == "":
        yield field.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName")
    yield from validation.checked(spec.get("nodeName", ""), "spec.nodeName", names.dns_subdomain)
    yield from validate_status(new, old)


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Errors and metadata of a bounded size."""
    status = new.get("status") or {}
    for name in ("attachError", "detachError"):
        if len((status.get(name) or {}).get("message", "")) > _MESSAGE_LIMIT:
            yield field.too_long(f"status.{name}.message", _MESSAGE_LIMIT)
    metadata = status.get("attachmentMetadata") or {}
    if sum(len(key) + len(value) for key, value in metadata.items()) > _METADATA_LIMIT:
        yield field.too_long("status.attachmentMetadata", _METADATA_LIMIT)


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
