"""What is counted of attaching, under upstream's names."""

from collections import Counter
from collections.abc import Iterable

from pynetes.apis.storage import volumeattachments
from pynetes.client.controller import Lookup, Shown
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import is_deleting

Samples = Iterable[tuple[tuple[str, ...], float]]
FORCED = REGISTRY.counter(
    "attachdetach_controller_forced_detaches",
    "Number of times the A/D Controller performed a forced detach",
    "reason",
)
_TOTAL = REGISTRY.gauge(
    "attachdetach_controller_total_volumes", "Number of volumes in A/D Controller", "plugin_name", "state"
)
_IN_USE = REGISTRY.gauge(
    "storage_count_attachable_volumes_in_use", "Measure number of volumes in use", "node", "volume_plugin"
)


def _plugin(driver: str) -> str:
    return f"kubernetes.io/csi:{driver}"


def _total(lookup: Lookup) -> Samples:
    """Wanted is what has an attachment that stays, there is what its driver says is attached."""
    found: Counter[tuple[str, ...]] = Counter()
    for one in lookup.listed(volumeattachments.RESOURCE):
        plugin = _plugin(one["spec"]["attacher"])
        found[plugin, "desired_state_of_world"] += not is_deleting(one)
        found[plugin, "actual_state_of_world"] += bool((one.get("status") or {}).get("attached"))
    return found.items()


def _in_use(lookup: Lookup) -> Samples:
    attached = (one for one in lookup.listed(volumeattachments.RESOURCE) if (one.get("status") or {}).get("attached"))
    return Counter((one["spec"]["nodeName"], _plugin(one["spec"]["attacher"])) for one in attached).items()


SHOWS: tuple[Shown, ...] = ((_TOTAL, _total), (_IN_USE, _in_use))
