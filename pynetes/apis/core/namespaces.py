"""Namespace: a scope for names, quotas and rights. Its finalizer is in the spec, and the API server clears it."""

from collections.abc import Iterator

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

#: In every namespace's labels, so that selectors can name one.
NAME_LABEL = "kubernetes.io/metadata.name"


def default(obj: Object) -> None:
    """Every namespace bears its name as a label."""
    if name := obj["metadata"].get("name"):
        obj["metadata"].setdefault("labels", {})[NAME_LABEL] = name


def prepare(new: Object, old: Object | None) -> None:
    """A new namespace is Active and held by the namespace controller's finalizer; neither is a client's to change."""
    if old is not None:
        new["spec"], new["status"] = old.get("spec") or {}, old.get("status") or {}
        return
    finalizers = list((new.get("spec") or {}).get("finalizers") or ())
    if "kubernetes" not in finalizers:
        finalizers.append("kubernetes")
    new["spec"], new["status"] = {"finalizers": finalizers}, {"phase": "Active"}


def prepare_status(new: Object, old: Object | None) -> None:
    """Only the status changes."""
    if old is not None:
        new["spec"] = old.get("spec") or {}


_STANDARD = ("kubernetes", "orphan", "foregroundDeletion")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Finalizers in the spec are named as those in metadata are."""
    for finalizer in (new.get("spec") or {}).get("finalizers") or ():
        yield from validation.checked(finalizer, "spec.finalizers", names.qualified_name)
        if "/" not in finalizer and finalizer not in _STANDARD:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            yield field.invalid("spec.finalizers", finalizer, detail)


def validate_status(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A namespace is Active until it is deleted, and Terminating from then on."""
    phase = (new.get("status") or {}).get("phase") or ""
    deleted = bool(new["metadata"].get("deletionTimestamp"))
    if phase != ("Terminating" if deleted else "Active"):
        detail = (
            "may only be 'Terminating' if `deletionTimestamp` is not empty"
            if deleted
            else "may only be 'Active' if `deletionTimestamp` is empty"
        )
        yield field.invalid("status.Phase", phase, detail)


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="Namespace",
    plural="namespaces",
    short_names=("ns",),
    namespaced=False,
    verbs=("create", "delete", "get", "list", "patch", "update", "watch"),
    subresources=("finalize", "status"),
    name_rule="dns-label",
    generation=False,
    fields={"status.phase": ".status.phase"},
    default=default,
    prepare=prepare,
    validate=validate,
    prepare_status=prepare_status,
    validate_status=validate_status,
    columns=(Column("Status", ".status.phase"), Column.AGE),
)
