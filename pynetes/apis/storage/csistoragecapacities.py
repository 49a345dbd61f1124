"""CSIStorageCapacity: how much a driver has left for a class and topology."""

from pynetes.machinery import cells
from pynetes.machinery.resource import Column, Resource

RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    generation=False,
    immutable=("nodeTopology", "storageClassName"),
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
)
