"""Says who makes a claim's volume larger: the resizer of its driver, which watches claims itself.

No volume is expanded by the cluster alone; a claim whose volume nobody can expand is told so.
"""

from datetime import timedelta

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.machinery import quantity
from pynetes.machinery.meta import Key, Object


def grows(claim: Object) -> bool:
    """Whether a bound claim asks for more than it has."""
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return binding.is_bound(claim) and has is not None and binding.requested(claim) > quantity.parse(has).value()


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    claim = await ctx.cached(claims.RESOURCE, key)
    if claim is None or not grows(claim):
        return None
    volume = await ctx.cached(volumes.RESOURCE, Key("", claim["spec"]["volumeName"]))
    if volume is None:
        return None
    if "csi" in volume["spec"]:
        text = "waiting for an external controller to expand this PVC"
        ctx.event(claim, "Normal", "ExternalExpanding", text)
    else:
        text = f"volumes of this kind cannot grow: {volume['metadata']['name']}"
        ctx.event(claim, "Warning", "VolumeResizeFailed", text)
    return None


CONTROLLER = Controller(
    name="persistentvolume-expander-controller",
    service_account="expand-controller",
    reconcile=reconcile,
    watches=(Watch(claims.RESOURCE), Watch(volumes.RESOURCE, keys=lambda _lookup, _new, _old: ())),
    rules=(
        Rule("persistentvolumes", "get,list,patch,update,watch"),
        Rule("persistentvolumeclaims", "get,list,watch"),
        Rule("persistentvolumeclaims/status", "patch,update"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
