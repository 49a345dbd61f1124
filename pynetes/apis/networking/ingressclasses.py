"""IngressClass: which controller an Ingress is for."""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """Parameters are cluster-scoped unless told otherwise."""
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None:
        parameters.setdefault("scope", "Cluster")


def _parameters(obj: Object, _: datetime) -> str:
    found = obj["spec"].get("parameters")
    if not found:
        return "<none>"
    group = f".{found['apiGroup']}" if found.get("apiGroup") else ""
    return f"{found.get('kind', '')}{group}/{found.get('name', '')}"


RESOURCE = Resource(
    group="networking.k8s.io",
    versions=("v1",),
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    default=default,
    immutable=("spec.controller",),
    columns=(Column("Controller", ".spec.controller"), Column("Parameters", _parameters), Column.AGE),
)
