"""RuntimeClass: which container runtime runs a pod."""

from collections.abc import Iterator

from pynetes.apis.core import _container_validation, _node_labels, _pod_validation
from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A handler that a runtime can be configured with."""
    yield from validation.checked(new.get("handler", ""), "handler", names.dns_label)
    if (overhead := new.get("overhead")) is not None:
        yield from _container_validation.validate_resources({"limits": overhead.get("podFixed") or {}}, "overhead")
    if (scheduling := new.get("scheduling")) is not None:
        yield from validation.label_map(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
        yield from _pod_validation.validate_tolerations(scheduling.get("tolerations"), "scheduling.tolerations")


def warnings(new: Object, old: Object | None) -> list[str]:
    """Labels that are old."""
    selector = (new.get("scheduling") or {}).get("nodeSelector") or {}
    return [f"scheduling.nodeSelector: {text}" for label in selector if (text := _node_labels.old(label))]


RESOURCE = Resource(
    group="node.k8s.io",
    versions=("v1",),
    kind="RuntimeClass",
    plural="runtimeclasses",
    namespaced=False,
    generation=False,
    immutable=("handler",),
    columns=(Column("Handler", ".handler"), Column.AGE),
    validate=validate,
    warnings=warnings,
)
