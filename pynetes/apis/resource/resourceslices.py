"""ResourceSlice: devices that a driver offers."""

from pynetes.apis.resource import _slices
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def stamp(new: Object, old: Object | None, now: str) -> None:
    """Note since when a device has a taint, unless its driver says so: tolerations for a while count from there."""
    known = {
        (device["name"], taint.get("key"), taint.get("value"), taint.get("effect")): taint.get("timeAdded")
        for device in ((old or {}).get("spec") or {}).get("devices") or ()
        for taint in device.get("taints") or ()
    }
    for device in (new.get("spec") or {}).get("devices") or ():
        for taint in device.get("taints") or ():
            same = device.get("name"), taint.get("key"), taint.get("value"), taint.get("effect")
            if not taint.get("timeAdded"):
                taint["timeAdded"] = known.get(same) or now


#: Values that are lists, an alpha feature (DRAListTypeAttributes): upstream drops them where they are not yet in use.
_LISTS = ("bools", "ints", "strings", "versions")


def _attributes(obj: Object | None) -> list[Object]:
    devices = ((obj or {}).get("spec") or {}).get("devices") or ()
    return [value for device in devices for value in (device.get("attributes") or {}).values()]


def prepare(new: Object, old: Object | None) -> None:
    """Drop what only an alpha feature knows."""
    if any(name in value for value in _attributes(old) for name in _LISTS):
        return
    for value in _attributes(new):
        for name in _LISTS:
            value.pop(name, None)


RESOURCE = Resource(
    group="resource.k8s.io",
    versions=("v1",),
    kind="ResourceSlice",
    plural="resourceslices",
    namespaced=False,
    prepare=prepare,
    stamp=stamp,
    validate=_slices.resource_slice,
    fields={"spec.nodeName": ".spec.nodeName", "spec.driver": ".spec.driver"},
    columns=(
        Column("Node", cells.path(".spec.nodeName", "<none>")),
        Column("Driver", ".spec.driver"),
        Column("Pool", ".spec.pool.name"),
        Column.AGE,
    ),
)
