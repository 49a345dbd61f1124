"""What becomes of a claim: it gets a volume that is there, or somebody is asked to make one, or it waits."""

from pynetes.apis.core import _binding as binding
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import persistentvolumes as volumes
from pynetes.apis.storage import storageclasses
from pynetes.client.controller import Context
from pynetes.controllers.persistentvolumebinder import bind, metrics
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting

_DEFAULT_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


async def sync(ctx: Context, claim: Object) -> None:
    """One step towards a bound claim, or the word that it is lost."""
    if binding.BIND_COMPLETED in binding.annotations(claim):
        await _bound(ctx, claim)
    elif name := claim["spec"].get("volumeName"):
        await _named(ctx, claim, name)
    else:
        await _unbound(ctx, claim)


async def _unbound(ctx: Context, claim: Object) -> None:
    if is_deleting(claim):
        return
    claim = await _with_default_class(ctx, claim)
    class_ = await ctx.cached(storageclasses.RESOURCE, Key("", binding.class_of(claim)))
    selected = binding.SELECTED_NODE in binding.annotations(claim)
    late = bool(class_) and (class_ or {}).get("volumeBindingMode") == "WaitForFirstConsumer" and not selected
    found = binding.choose(claim, ctx.listed(volumes.RESOURCE), late=late)
    if found is not None:
        await bind.both(ctx, found, claim)
        return
    if late:
        text = "waiting for first consumer to be created before binding"
        ctx.event(claim, "Normal", "WaitForFirstConsumer", text)
    elif class_ is not None and class_["provisioner"] != binding.NO_PROVISIONER:
        claim = await _ask(ctx, claim, class_["provisioner"])
    elif name := binding.class_of(claim):
        problem = f'storageclass.storage.k8s.io "{name}" not found'
        if class_ is not None:
            problem = (
                "no volume plugin matched name: kubernetes.io/no-provisioner; make a PersistentVolume of this class"
            )
        ctx.event(claim, "Warning", "ProvisioningFailed", problem)
    else:
        text = "no persistent volumes available for this claim and no storage class is set"
        ctx.event(claim, "Normal", "FailedBinding", text)
    await bind.claim_phase(ctx, claim, "Pending")


async def _with_default_class(ctx: Context, claim: Object) -> Object:
    """A claim that was made before there was a default class gets it now."""
    if claim["spec"].get("storageClassName") is not None or binding.CLASS_ANNOTATION in binding.annotations(claim):
        return claim
    marked = [
        class_
        for class_ in ctx.listed(storageclasses.RESOURCE)
        if any(binding.annotations(class_).get(mark) == "true" for mark in _DEFAULT_MARKS)
    ]
    if not marked:
        return claim
    newest = max(marked, key=lambda one: one["metadata"].get("creationTimestamp") or "")
    metrics.RETROACTIVE.inc()
    try:
        return await ctx.update(
            claims.RESOURCE, claim | {"spec": claim["spec"] | {"storageClassName": newest["metadata"]["name"]}}
        )
    except StatusError:
        metrics.RETROACTIVE_ERRORS.inc()
        raise


async def _ask(ctx: Context, claim: Object, provisioner: str) -> Object:
    """Say whose task it is to make the volume; what that does is seen when the volume is there."""
    marks = {binding.PROVISIONER: provisioner, binding.BETA_PROVISIONER: provisioner}
    if not marks.items() <= binding.annotations(claim).items():
        claim = await ctx.update(claims.RESOURCE, bind.annotated(claim, **marks))
    text = (
        f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the "
        "system administrator. If volume creation is delayed, please verify that the provisioner is running and "
        "correctly registered."
    )
    ctx.event(claim, "Normal", "ExternalProvisioning", text)
    return claim


async def _named(ctx: Context, claim: Object, name: str) -> None:
    """The claim names its volume, by the user's wish or in the middle of binding."""
    volume = await ctx.cached(volumes.RESOURCE, Key("", name))
    if volume is None:
        await bind.claim_phase(ctx, claim, "Pending")
        return
    ref = volume["spec"].get("claimRef")
    if ref and not binding.is_of(volume, claim):
        if binding.BOUND_BY_CONTROLLER not in binding.annotations(claim):
            text = f'volume "{name}" already bound to a different claim.'
            ctx.event(claim, "Warning", "FailedBinding", text)
        await bind.claim_phase(ctx, claim, "Pending")
        return
    if not ref and (problem := binding.mismatch(volume, claim)):
        ctx.event(claim, "Warning", "VolumeMismatch", f'Cannot bind to requested volume "{name}": {problem}')
        await bind.claim_phase(ctx, claim, "Pending")
        return
    await bind.both(ctx, volume, claim)


async def _bound(ctx: Context, claim: Object) -> None:
    """A claim that was bound stays so, or has lost its data."""
    name = claim["spec"].get("volumeName")
    volume = await ctx.cached(volumes.RESOURCE, Key("", name)) if name else None
    if name and volume is None:
        # The cache may be behind a volume that was just made; a claim is not called lost for that.
        volume = await ctx.live(volumes.RESOURCE, Key("", name))
    if not name:
        await _lost(
            ctx, claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
        )
    elif volume is None:
        await _lost(ctx, claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
    elif not volume["spec"].get("claimRef") or binding.is_of(volume, claim):
        await bind.both(ctx, volume, claim)
    else:
        text = "Two claims are bound to the same volume, this one is bound incorrectly"
        await _lost(ctx, claim, "ClaimMisbound", text)


async def _lost(ctx: Context, claim: Object, reason: str, text: str) -> None:
    if (claim.get("status") or {}).get("phase") != "Lost":
        ctx.event(claim, "Warning", reason, text)
    await bind.claim_phase(ctx, claim, "Lost")
