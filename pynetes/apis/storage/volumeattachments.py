"""VolumeAttachment: the wish that a volume be attached to a node."""

from pynetes.apis.apps import _workload
from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    subresources=("status",),
    generation=False,
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
