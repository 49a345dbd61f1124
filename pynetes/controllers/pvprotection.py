"""Keeps a volume that is deleted until no claim is bound to it any more."""

from datetime import timedelta

from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.machinery.meta import Key, Object, is_deleting

FINALIZER = "kubernetes.io/pv-protection"


def wanted(volume: Object) -> list[str]:
    """The finalizers that the volume should have."""
    finalizers: list[str] = volume["metadata"].get("finalizers") or []
    bound = (volume.get("status") or {}).get("phase") == "Bound"
    if not is_deleting(volume):
        return finalizers if FINALIZER in finalizers else [*finalizers, FINALIZER]
    return finalizers if bound else [name for name in finalizers if name != FINALIZER]


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    volume = await ctx.cached(volumes.RESOURCE, key)
    if volume is not None and wanted(volume) != (volume["metadata"].get("finalizers") or []):
        metadata = volume["metadata"] | {"finalizers": wanted(volume)}
        await ctx.update(volumes.RESOURCE, volume | {"metadata": metadata})
    return None


CONTROLLER = Controller(
    name="persistentvolume-protection-controller",
    service_account="pv-protection-controller",
    reconcile=reconcile,
    watches=(Watch(volumes.RESOURCE),),
    rules=(
        Rule("persistentvolumes", "get,list,update,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
