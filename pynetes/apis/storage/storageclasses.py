"""StorageClass: how volumes of a kind are made."""

from collections.abc import Iterator, Sequence

from pynetes.apis.core import _node_labels
from pynetes.apis.storage import _parameters
from pynetes.machinery import cells, field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Volumes go with their claim and are made at once, unless told otherwise."""
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _default_mark(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    marked = annotations.get("storageclass.kubernetes.io/is-default-class") == "true"
    return f"{obj['metadata']['name']} (default)" if marked else obj["metadata"]["name"]


#: Looked at after the values themselves.
_IMMUTABLE = ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode")
_MODES = ("Immediate", "WaitForFirstConsumer")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A provisioner and known policies."""
    provisioner = new.get("provisioner", "")
    if not provisioner:
        yield field.required("provisioner")
    else:
        yield from validation.checked(provisioner.lower(), "provisioner", names.qualified_name)
    yield from _parameters.validate(new.get("parameters"), allow_empty=True)
    yield from validation.one_of(new.get("reclaimPolicy"), "reclaimPolicy", ("Delete", "Retain"), optional=True)
    if (mode := new.get("volumeBindingMode")) not in _MODES:
        yield field.not_supported("volumeBindingMode", mode, _MODES)
    yield from _topologies(new.get("allowedTopologies") or ())
    if old is not None:
        shown = new | {"parameters": dict(sorted(new["parameters"].items()))} if new.get("parameters") else new
        yield from validation.immutable(_IMMUTABLE, shown, old)


def _topologies(terms: Sequence[Object]) -> Iterator[field.Error]:
    """Keys with values, each once, and no two terms alike."""
    # Upstream begins with as many empty ones as there are terms.
    known: list[dict[str, set[str]]] = [{} for _ in terms]
    for index, term in enumerate(terms):
        seen: dict[str, set[str]] = {}
        for number, expression in enumerate(term.get("matchLabelExpressions") or ()):
            path, key = f"allowedTopologies[{index}].matchLabelExpressions[{number}]", expression.get("key", "")
            values = expression.get("values") or ()
            if not values:
                yield field.required(f"{path}.values")
            for place, value in enumerate(values):
                if value in values[:place]:
                    yield field.duplicate(f"{path}.values[{place}]", value)
            yield from validation.checked(key, f"{path}.key", names.qualified_name)
            if key in seen:
                yield field.duplicate(f"{path}.key", key)
            seen[key] = {*values}
        for _ in range(known.count(seen)):
            yield field.duplicate(f"allowedTopologies[{index}].matchLabelExpressions", "")
        known.append(seen)


def warnings(new: Object, old: Object | None) -> list[str]:
    """Labels that are old."""
    return [
        f"allowedTopologies[{index}].matchLabelExpressions[{number}].key: {text}"
        for index, term in enumerate(new.get("allowedTopologies") or ())
        for number, expression in enumerate(term.get("matchLabelExpressions") or ())
        if (text := _node_labels.old(expression.get("key", "")))
    ]


RESOURCE = Resource(
    group="storage.k8s.io",
    versions=("v1",),
    kind="StorageClass",
    plural="storageclasses",
    short_names=("sc",),
    namespaced=False,
    generation=False,
    default=default,
    columns=(
        Column("Name", lambda obj, _: _default_mark(obj), format="name"),
        Column("Provisioner", ".provisioner"),
        Column("ReclaimPolicy", ".reclaimPolicy"),
        Column("VolumeBindingMode", ".volumeBindingMode"),
        Column("AllowVolumeExpansion", cells.path(".allowVolumeExpansion", False)),
        Column.AGE,
    ),
    validate=validate,
    warnings=warnings,
)
