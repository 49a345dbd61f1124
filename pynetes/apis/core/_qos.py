"""Quality of service: how a pod's requests and limits rank it when memory runs out."""

from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

_COUNTED = ("cpu", "memory")


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from the containers' cpu and memory, or the pod's own resources if set."""
    if spec.get("resources"):
        parts = [spec["resources"]]
    else:
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        parts = [container.get("resources") or {} for container in containers]
    any_set, guaranteed = False, True
    for part in parts:
        requests, limits = _amounts(part.get("requests")), _amounts(part.get("limits"))
        any_set = any_set or bool(requests or limits)
        complete = len(limits) == len(_COUNTED) and all(
            requests.get(name, amount) == amount for name, amount in limits.items()
        )
        guaranteed = guaranteed and complete
    if not any_set:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _amounts(resources: dict[str, str] | None) -> dict[str, quantity.Quantity]:
    amounts = {name: quantity.parse((resources or {}).get(name, "0")) for name in _COUNTED}
    return {name: amount for name, amount in amounts.items() if amount.nanos > 0}
