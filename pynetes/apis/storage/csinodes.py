"""CSINode: the CSI drivers on a node."""

from collections.abc import Iterator

from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_ID_LIMIT = 256


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Drivers with a name and an id each; what a driver has said of a node stays so until the driver goes."""
    drivers = (new.get("spec") or {}).get("drivers") or ()
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        yield from _driver(driver, f"spec.drivers[{index}]", seen)
    for was in ((old or {}).get("spec") or {}).get("drivers") or ():
        for driver in drivers:
            changed = any(was.get(member) != driver.get(member) for member in ("nodeID", "topologyKeys"))
            if was.get("name") == driver.get("name") and changed:
                yield field.invalid("spec.drivers", _shown(driver), "field is immutable")


def _driver(driver: Object, path: str, seen: set[str]) -> Iterator[field.Error]:
    name, node = driver.get("name") or "", driver.get("nodeID") or ""
    yield from validation.csi_driver_name(name, f"{path}.name")
    if not node:
        yield field.required(f"{path}.nodeID")
    elif len(node) > _ID_LIMIT:
        yield field.invalid(f"{path}.nodeID", node, f"must be {_ID_LIMIT} characters or less")
    yield from validation.non_negative((driver.get("allocatable") or {}).get("count"), f"{path}.allocatable.count")
    if name in seen:
        yield field.duplicate(f"{path}.name", name)
    seen.add(name)
    keys = driver.get("topologyKeys") or []
    for number, key in enumerate(keys):
        if not key:
            yield field.required(path)
        if key in keys[:number]:
            yield field.duplicate(path, key)
        yield from validation.checked(key, path, names.qualified_name)


def _shown(driver: Object) -> Object:
    """Upstream leaves out how much can be attached: that may change."""
    members = (("Name", "name"), ("NodeID", "nodeID"), ("TopologyKeys", "topologyKeys"))
    return {shown: driver.get(member) for shown, member in members} | {"Allocatable": None}


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
