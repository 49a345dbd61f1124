"""What becomes of a volume: it is available, bound, or released and reclaimed by its policy."""

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context
from pynetes.controllers.persistentvolumebinder import bind
from pynetes.machinery.meta import Key, Object

#: Sources whose volumes the cluster can delete by itself; all others belong to an external provisioner.
_DELETED_OUTSIDE = ("csi",)


async def sync(ctx: Context, volume: Object) -> None:
    """Write the phase that follows from the volume's claim."""
    ref = volume["spec"].get("claimRef")
    if not ref or not ref.get("uid"):
        await bind.volume_phase(ctx, volume, "Available")
        return
    claim = await _claim(ctx, ref)
    if claim is None:
        await _release(ctx, volume)
    elif not claim["spec"].get("volumeName"):
        # Half of a binding: the claim's own turn makes the other half.
        ctx.enqueue(Key(ref["namespace"], ref["name"]))
    elif claim["spec"]["volumeName"] == volume["metadata"]["name"]:
        await bind.volume_phase(ctx, volume, "Bound")
    elif binding.PROVISIONED_BY in binding.annotations(volume) and _policy(volume) == "Delete":
        # It was made for this claim, which has another by now: nobody will ever want it.
        await _release(ctx, volume)
    else:
        await _unbind(ctx, volume)


async def _claim(ctx: Context, ref: Object) -> Object | None:
    """The claim of a reference; None if it, or it with this UID, is no more."""
    key = Key(ref.get("namespace") or "", ref["name"])
    for read in (ctx.cached, ctx.live):
        claim = await read(claims.RESOURCE, key)
        if claim is not None and claim["metadata"]["uid"] == ref["uid"]:
            return claim
    return None


def _policy(volume: Object) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain")


async def _release(ctx: Context, volume: Object) -> None:
    phase = (volume.get("status") or {}).get("phase")
    if phase not in ("Released", "Failed"):
        volume = await bind.volume_phase(ctx, volume, "Released")
    elif phase == "Failed":
        return
    match _policy(volume):
        case "Recycle":
            text = "recycling is deprecated and not done here; the volume and its data are kept"
            await _failed(ctx, volume, "VolumeFailedRecycle", text)
        case "Delete" if not _is_deleted_outside(volume):
            text = (
                "no provisioner deletes volumes of this kind; delete the PersistentVolume when its data is not needed"
            )
            await _failed(ctx, volume, "VolumeFailedDelete", text)


def _is_deleted_outside(volume: Object) -> bool:
    return any(name in volume["spec"] for name in _DELETED_OUTSIDE) or binding.PROVISIONED_BY in binding.annotations(
        volume
    )


async def _failed(ctx: Context, volume: Object, reason: str, text: str) -> None:
    volume = await bind.volume_phase(ctx, volume, "Failed", text)
    ctx.event(volume, "Warning", reason, text)


async def _unbind(ctx: Context, volume: Object) -> None:
    """Give a volume back whose claim took another: a reference of ours goes, a user's loses its UID only."""
    spec = {**volume["spec"]}
    if binding.BOUND_BY_CONTROLLER in binding.annotations(volume):
        del spec["claimRef"]
        volume = bind.annotated(volume, **{binding.BOUND_BY_CONTROLLER: None})
    else:
        ref = spec["claimRef"]
        spec["claimRef"] = {name: value for name, value in ref.items() if name not in ("uid", "resourceVersion")}
    volume = await ctx.update(volumes.RESOURCE, volume | {"spec": spec})
    await bind.volume_phase(ctx, volume, "Available")
