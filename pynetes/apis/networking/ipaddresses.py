"""IPAddress: an address that is taken, named by itself."""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _parent(obj: Object, _: datetime) -> str:
    found = obj["spec"].get("parentRef") or {}
    resource = f"{found['resource']}.{found['group']}" if found.get("group") else found.get("resource", "")
    return "/".join(part for part in (resource, found.get("namespace", ""), found.get("name", "")) if part)


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="IPAddress",
    plural="ipaddresses",
    short_names=("ip",),
    namespaced=False,
    generation=False,
    columns=(Column("ParentRef", _parent), Column("Age", ".metadata.creationTimestamp", declared=False)),
)
