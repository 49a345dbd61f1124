"""Who owns the number of replicas, in the terms of a Scale and back in those of the object it scales.

A Scale is stored nowhere: its managers are those of the object that own its replicas. An applied Scale is merged as any
object, and what comes of its managers is written into the object's.
"""

from pynetes.machinery import managedfields
from pynetes.machinery.fieldset import Path
from pynetes.machinery.managedfields import Entry, Manager, Managers
from pynetes.machinery.meta import Object

_REPLICAS = ("f:spec", "f:replicas")
_VERSION = "autoscaling/v1"


def narrow(scale: Object, obj: Object, path: str) -> None:
    """Give the Scale, in place, the managers of the object that own what is at the path (.spec.replicas)."""
    inner = _inner(path)
    found = managedfields.read(obj)
    managedfields.write(
        scale,
        {
            _seen(manager, _VERSION): Entry({_REPLICAS}, _VERSION, entry.time)
            for manager, entry in found.items()
            if inner in entry.paths
        },
    )


def widen(obj: Object, scale: Object, path: str) -> None:
    """Write the managers of a Scale into its object, in place: who no longer owns the replicas there does not here."""
    inner, version = _inner(path), obj.get("apiVersion", "")
    left, result = managedfields.read(scale), Managers()
    for manager, entry in managedfields.read(obj).items():
        kept = left.pop(_seen(manager, _VERSION), None) if inner in entry.paths else entry
        result[manager] = entry if kept is not None else entry._replace(paths=entry.paths - {inner})
    for manager, entry in left.items():
        if _REPLICAS in entry.paths:
            # Upstream knows no time for those who come by way of a Scale.
            result[_seen(manager, version)] = Entry({inner}, version, None)
    managedfields.write(obj, result)


def _seen(manager: Manager, version: str) -> Manager:
    return manager if manager.operation == "Apply" else manager._replace(api_version=version)


def _inner(path: str) -> Path:
    return tuple(f"f:{step}" for step in path.strip(".").split("."))
