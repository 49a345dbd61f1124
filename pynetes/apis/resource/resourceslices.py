"""ResourceSlice: devices that a driver offers."""

from pynetes.apis.resource import _validation
from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    validate=_validation.resource_slice,
    fields={"spec.nodeName": ".spec.nodeName", "spec.driver": ".spec.driver"},
    columns=(
        Column("Node", cells.path(".spec.nodeName", "<none>")),
        Column("Driver", ".spec.driver"),
        Column("Pool", ".spec.pool.name"),
        Column.AGE,
    ),
)
