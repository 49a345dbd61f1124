"""How many volumes and claims there are, bound and not, under upstream's names: read from the caches when scraped."""

from collections import Counter
from collections.abc import Iterable

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Lookup, Shown
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Object

Samples = Iterable[tuple[tuple[str, ...], float]]
_OF_CLAIM = "namespace", "storage_class", "volume_attributes_class"
_BOUND_VOLUMES = REGISTRY.gauge(
    "pv_collector_bound_pv_count", "Gauge measuring number of persistent volume currently bound", "storage_class"
)
_FREE_VOLUMES = REGISTRY.gauge(
    "pv_collector_unbound_pv_count", "Gauge measuring number of persistent volume currently unbound", "storage_class"
)
_BOUND_CLAIMS = REGISTRY.gauge(
    "pv_collector_bound_pvc_count", "Gauge measuring number of persistent volume claim currently bound", *_OF_CLAIM
)
_FREE_CLAIMS = REGISTRY.gauge(
    "pv_collector_unbound_pvc_count", "Gauge measuring number of persistent volume claim currently unbound", *_OF_CLAIM
)
_ALL_VOLUMES = REGISTRY.gauge(
    "pv_collector_total_pv_count", "Gauge measuring total number of persistent volumes", "plugin_name", "volume_mode"
)
RETROACTIVE = REGISTRY.counter(
    "retroactive_storageclass_total", "Total number of retroactive StorageClass assignments to persistent volume claim"
)
RETROACTIVE_ERRORS = REGISTRY.counter(
    "retroactive_storageclass_errors_total",
    "Total number of failed retroactive StorageClass assignments to persistent volume claim",
)


def _volumes(lookup: Lookup, *, bound: bool) -> Samples:
    found = lookup.listed(volumes.RESOURCE)
    return Counter((binding.class_of(one),) for one in found if _is_bound(one) == bound).items()


def _claims(lookup: Lookup, *, bound: bool) -> Samples:
    found = (one for one in lookup.listed(claims.RESOURCE) if _is_bound(one) == bound)
    return Counter(
        (one["metadata"]["namespace"], binding.class_of(one), one["spec"].get("volumeAttributesClassName") or "")
        for one in found
    ).items()


def _is_bound(one: Object) -> bool:
    return bool((one.get("status") or {}).get("phase") == "Bound")


def plugin_of(volume: Object) -> str:
    """What upstream calls the plugin behind a volume: kubernetes.io/csi:DRIVER, kubernetes.io/host-path …"""
    spec = volume["spec"]
    if csi := spec.get("csi"):
        return f"kubernetes.io/csi:{csi['driver']}"
    names = {"hostPath": "host-path", "local": "local-volume", "nfs": "nfs", "iscsi": "iscsi", "fc": "fc"}
    return next((f"kubernetes.io/{name}" for source, name in names.items() if spec.get(source)), "N/A")


def _all_volumes(lookup: Lookup) -> Samples:
    return Counter(
        (plugin_of(one), one["spec"].get("volumeMode") or "Filesystem") for one in lookup.listed(volumes.RESOURCE)
    ).items()


SHOWS: tuple[Shown, ...] = (
    (_BOUND_VOLUMES, lambda lookup: _volumes(lookup, bound=True)),
    (_FREE_VOLUMES, lambda lookup: _volumes(lookup, bound=False)),
    (_BOUND_CLAIMS, lambda lookup: _claims(lookup, bound=True)),
    (_FREE_CLAIMS, lambda lookup: _claims(lookup, bound=False)),
    (_ALL_VOLUMES, _all_volumes),
)
