"""FlowSchema: which requests share a queue."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """In the middle of the order unless told otherwise."""
    spec = obj.get("spec")
    if spec is not None and not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def _missing(obj: Object, _: datetime) -> str:
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item["type"] == "Dangling":
            return str(item["status"])
    return "?"


RESOURCE = Resource(
    group="flowcontrol.apiserver.k8s.io",
    versions=("v1",),
    kind="FlowSchema",
    plural="flowschemas",
    namespaced=False,
    subresources=("status",),
    default=default,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(
        Column("PriorityLevel", ".spec.priorityLevelConfiguration.name"),
        Column("MatchingPrecedence", cells.path(".spec.matchingPrecedence", 0)),
        Column("DistinguisherMethod", cells.path(".spec.distinguisherMethod.type", "<none>")),
        Column.AGE,
        Column("MissingPL", _missing),
    ),
)
