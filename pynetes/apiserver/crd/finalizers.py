"""Warnings about finalizers of custom resources whose names could be somebody else's."""

from pynetes.machinery import field, names
from pynetes.machinery.meta import Object

_STANDARD = frozenset({"orphan", "foregroundDeletion", "kubernetes"})
_PREFER = "prefer a domain-qualified finalizer name"
_CONFLICTS = "to avoid accidental conflicts with other finalizer writers"


def warnings(new: Object, old: Object | None) -> list[str]:
    """About those that are new, in alphabetical order."""
    before = ((old or {}).get("metadata") or {}).get("finalizers") or ()
    found: list[str] = []
    for name in sorted(set(new["metadata"].get("finalizers") or ()) - set(before)):
        shown = f"metadata.finalizers: {field.quote(name)}:"
        found += [f"{shown} {problem}" for problem in names.qualified_name(name)]
        if "/" not in name and name not in _STANDARD:
            path = " including a path (/)" if "." in name else ""
            found.append(f"{shown} {_PREFER}{path} {_CONFLICTS}")
    return found
