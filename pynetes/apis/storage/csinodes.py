"""CSINode: the CSI drivers on a node."""

from collections.abc import Iterator

from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_ID_LIMIT = 256


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Drivers with a name and an id each; what a driver has said of a node stays so until the driver goes."""
    seen: set[str] = set()
    before = {driver.get("name"): driver for driver in ((old or {}).get("spec") or {}).get("drivers") or ()}
    for index, driver in enumerate((new.get("spec") or {}).get("drivers") or ()):
        path, name = f"spec.drivers[{index}]", driver.get("name", "")
        yield from validation.csi_driver_name(name, f"{path}.name")
        node = driver.get("nodeID", "")
        if not node:
            yield field.required(f"{path}.nodeID")
        elif len(node) > _ID_LIMIT:
            yield field.invalid(f"{path}.nodeID", node, f"must be {_ID_LIMIT} characters or less")
        for key in driver.get("topologyKeys") or ():
            if not key:
                yield field.required(path)
            yield from validation.checked(key, path, names.qualified_name)
        count = (driver.get("allocatable") or {}).get("count")
        yield from validation.non_negative(count, f"{path}.allocatable.count")
        if name in seen:
            yield field.duplicate(f"{path}.name", name)
        seen.add(name)
        was = before.get(name)
        if was is not None and any(was.get(member) != driver.get(member) for member in ("nodeID", "topologyKeys")):
            yield field.invalid(path, _shown(driver), "field is immutable")


def _shown(driver: Object) -> Object:
    names_ = (("Name", "name"), ("NodeID", "nodeID"), ("TopologyKeys", "topologyKeys"), ("Allocatable", "allocatable"))
    return {shown: driver.get(member) for shown, member in names_}


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    generation=False,
    validate=validate,
    columns=(Column("Drivers", cells.count(".spec.drivers"), type="integer"), Column.AGE),
)
