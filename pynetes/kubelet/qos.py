"""Quality-of-service classes: who is throttled and killed last."""

from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

GUARANTEED, BURSTABLE, BEST_EFFORT = "Guaranteed", "Burstable", "BestEffort"
COUNTED = ("cpu", "memory")


def of_pod(pod: Object) -> str:
    """Guaranteed when every container limits cpu and memory to what it requests; BestEffort when none asks anything."""
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    whole = [spec["resources"]] if _asks(spec.get("resources") or {}) else []
    resources = whole or [container.get("resources") or {} for container in containers]
    if not any(_asks(one) for one in resources):
        return BEST_EFFORT
    return GUARANTEED if all(_guaranteed(one) for one in resources) else BURSTABLE


def _asks(resources: Object) -> bool:
    return any(_set(resources.get(kind) or {}, name) for kind in ("requests", "limits") for name in COUNTED)


def _guaranteed(resources: Object) -> bool:
    limits = resources.get("limits") or {}
    requests = resources.get("requests") or {}
    return all(
        _set(limits, name) and quantity.parse(requests.get(name, limits[name])) == quantity.parse(limits[name])
        for name in COUNTED
    )


def _set(amounts: Object, name: str) -> bool:
    return name in amounts and quantity.parse(amounts[name]).milli() != 0
