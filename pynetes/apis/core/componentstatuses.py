"""ComponentStatus: the health of control plane components, computed, never stored."""

from datetime import datetime

from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def _condition(name: str) -> Column:
    def cell(obj: Object, _: datetime) -> str:
        for item in obj.get("conditions") or ():
            if item["type"] == "Healthy":
                if name == "Status":
                    return {"True": "Healthy", "False": "Unhealthy"}.get(item["status"], "Unknown")
                return str(item.get(name.lower()) or "")
        return ""

    return Column(name, cell)


def warnings(new: Object, old: Object | None) -> list[str]:
    """The kind is on its way out."""
    return ["v1 ComponentStatus is deprecated in v1.19+"]


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="ComponentStatus",
    plural="componentstatuses",
    short_names=("cs",),
    namespaced=False,
    verbs=("get", "list"),
    generation=False,
    stored=False,
    warnings=warnings,
    columns=(_condition("Status"), _condition("Message"), _condition("Error")),
)
