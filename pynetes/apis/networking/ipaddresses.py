"""IPAddress: an address that is taken, named by itself."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.machinery import field, inet, names, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _parent(obj: Object, _: datetime) -> str:
    found = obj["spec"].get("parentRef") or {}
    resource = f"{found['resource']}.{found['group']}" if found.get("group") else found.get("resource", "")
    return "/".join(part for part in (resource, found.get("namespace", ""), found.get("name", "")) if part)


def name_problem(name: str) -> str | None:
    """The name is the address, in the one way in which it is written."""
    return next(iter(inet.canonical_ip(name)), None)


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """It belongs to somebody, for good."""
    ref, path = (new.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if ref is None:
        yield field.required(path)
    else:
        if group := ref.get("group"):
            yield from validation.checked(group, f"{path}.group", names.dns_subdomain)
        for name in ("resource", "name", "namespace"):
            if value := ref.get(name):
                yield from validation.checked(value, f"{path}.{name}", names.path_segment)
            elif name != "namespace":
                yield field.required(f"{path}.{name}")
    if old is not None and ref != old["spec"].get("parentRef"):
        yield field.invalid(path, ref, "field is immutable")


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="IPAddress",
    plural="ipaddresses",
    short_names=("ip",),
    namespaced=False,
    generation=False,
    name_rule=name_problem,
    validate=validate,
    columns=(Column("ParentRef", _parent), Column("Age", ".metadata.creationTimestamp", declared=False)),
)
