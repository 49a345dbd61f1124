"""CSIStorageCapacity: how much a driver has left for a class and topology."""

from collections.abc import Iterator

from pynetes.apis.core import _node_labels
from pynetes.machinery import cells, field, names, quantity, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A class that may be one, and a size from 0 up."""
    yield from validation.label_selector(new.get("nodeTopology"), "nodeTopology")
    yield from validation.checked(new.get("storageClassName", ""), "storageClassName", names.dns_subdomain)
    amount = new.get("capacity")
    if amount is not None and quantity.parse(amount).nanos < 0:
        yield field.invalid("capacity", amount, "must be greater than or equal to 0")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Labels that are old."""
    return list(_node_labels.in_selector(new.get("nodeTopology"), "nodeTopology"))


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    generation=False,
    validate=validate,
    warnings=warnings,
    immutable=("nodeTopology", "storageClassName"),
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
)
