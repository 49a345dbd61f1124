"""PriorityClass: names a pod priority."""

from collections.abc import Iterator

from pynetes.machinery import cells, field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def default(obj: Object) -> None:
    """Higher priority preempts lower."""
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """The system's names and numbers are its own; of an update only what it changes is looked at."""
    if old is not None:
        if old.get("value", 0) != new.get("value", 0):
            yield field.forbidden("value", "may not be changed in an update.")
        yield from validation.immutable(("preemptionPolicy",), new, old)
        return
    name, value = new["metadata"]["name"], new.get("value", 0)
    if name.startswith("system-"):
        if SYSTEM_PRIORITIES.get(name) != value:
            problem = f"{name} is not a known system priority class"
            if name in SYSTEM_PRIORITIES:
                problem = f"value of {name} PriorityClass must be {SYSTEM_PRIORITIES[name]}"
            yield field.forbidden(
                "metadata.name",
                f"priority class names with 'system-' prefix are reserved for system use only. error: {problem}",
            )
    elif value > HIGHEST_USER_PRIORITY:
        yield field.forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
    policies = ("PreemptLowerPriority", "Never")
    if new.get("preemptionPolicy") not in policies:
        yield field.not_supported("preemptionPolicy", new.get("preemptionPolicy"), policies)


RESOURCE = Resource(
    group="scheduling.k8s.io",
    versions=("v1",),
    kind="PriorityClass",
    plural="priorityclasses",
    short_names=("pc",),
    namespaced=False,
    default=default,
    validate=validate,
    columns=(
        Column("Value", cells.path(".value", 0), type="integer"),
        Column("Global-Default", cells.path(".globalDefault", False), type="boolean"),
        Column.AGE,
        Column("PreemptionPolicy", ".preemptionPolicy"),
    ),
)
