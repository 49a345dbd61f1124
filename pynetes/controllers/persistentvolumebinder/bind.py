"""The steps of binding, each of which is skipped when it has been done."""

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.client.controller import Context
from pynetes.machinery.meta import Object

YES = "yes"


async def both(ctx: Context, volume: Object, claim: Object) -> None:
    """The volume says whose it is; the claim says what it has; both say that they are Bound."""
    volume = await ctx.update(volumes.RESOURCE, referring(volume, claim))
    await volume_phase(ctx, volume, "Bound")
    claim = await ctx.update(claims.RESOURCE, naming(claim, volume))
    status = {**(claim.get("status") or {})}
    if status.get("phase") != "Bound" or "capacity" not in status:
        status |= {
            "phase": "Bound",
            "accessModes": volume["spec"].get("accessModes"),
            "capacity": volume["spec"].get("capacity"),
        }
        if class_ := volume["spec"].get("volumeAttributesClassName"):
            status["currentVolumeAttributesClassName"] = class_
        await ctx.update_status(claims.RESOURCE, claim | {"status": status})


def referring(volume: Object, claim: Object) -> Object:
    """The volume with a full reference to its claim."""
    ref = volume["spec"].get("claimRef") or {}
    metadata = claim["metadata"]
    if ref.get("uid") == metadata["uid"]:
        return volume
    full = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
    new = volume | {"spec": volume["spec"] | {"claimRef": full}}
    # Who made the first step decides who may undo it.
    return new if ref else annotated(new, **{binding.BOUND_BY_CONTROLLER: YES})


def naming(claim: Object, volume: Object) -> Object:
    """The claim with the name of its volume, marked as done."""
    marks = {binding.BIND_COMPLETED: YES}
    name = volume["metadata"]["name"]
    if claim["spec"].get("volumeName") != name:
        claim = claim | {"spec": claim["spec"] | {"volumeName": name}}
        marks[binding.BOUND_BY_CONTROLLER] = YES
    return claim if marks.items() <= binding.annotations(claim).items() else annotated(claim, **marks)


def annotated(obj: Object, **marks: str | None) -> Object:
    """The object with these annotations; None removes one."""
    merged = {**binding.annotations(obj), **marks}
    kept = {name: value for name, value in merged.items() if value is not None}
    return obj | {"metadata": obj["metadata"] | {"annotations": kept}}


async def claim_phase(ctx: Context, claim: Object, phase: str) -> None:
    """Write a claim's phase, unless it has it."""
    status = claim.get("status") or {}
    if status.get("phase") != phase:
        await ctx.update_status(claims.RESOURCE, claim | {"status": {**status, "phase": phase}})


async def volume_phase(ctx: Context, volume: Object, phase: str, message: str = "") -> Object:
    """Write a volume's phase and why it has it, unless it has it."""
    status = volume.get("status") or {}
    if status.get("phase") == phase and (status.get("message") or "") == message:
        return volume
    kept = {name: value for name, value in status.items() if name not in ("message", "reason")}
    kept |= {"phase": phase, **({"message": message} if message else {})}
    return await ctx.update_status(volumes.RESOURCE, volume | {"status": kept})
