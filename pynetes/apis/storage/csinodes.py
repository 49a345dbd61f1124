"""CSINode: the CSI drivers on a node."""

from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    generation=False,
    columns=(Column("Drivers", cells.count(".spec.drivers"), type="integer"), Column.AGE),
)
