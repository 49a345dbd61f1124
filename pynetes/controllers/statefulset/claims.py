"""The claims of a StatefulSet's pods: made before the pod, and kept or given up as the retention policy says."""

from pynetes.apis.apps import statefulsets
from pynetes.apis.core import persistentvolumeclaims, pods
from pynetes.client.controller import Context
from pynetes.controllers import _owned as owned
from pynetes.controllers.statefulset import identity
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, owners_of, uid_of


def owner_refs(stateful: Object, pod: Object | None, ordinal: int) -> list[Object]:
    """The owners that a claim should have: the set if it goes with the set, the pod if it goes with scaling down."""
    policy = stateful["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    refs: list[Object] = []
    if policy.get("whenDeleted") == "Delete":
        refs.append(owned.reference(statefulsets.RESOURCE, stateful) | {"blockOwnerDeletion": True})
    condemned = ordinal not in identity.ordinals(stateful)
    if policy.get("whenScaled") == "Delete" and condemned and pod is not None:
        refs.append(owned.reference(pods.RESOURCE, pod, controller=False))
    return refs


async def ensure(ctx: Context, stateful: Object, ordinal: int) -> None:
    """Make the claims of an ordinal that are missing."""
    for claim in identity.claims(stateful, ordinal):
        key = Key(claim["metadata"]["namespace"], claim["metadata"]["name"])
        there = await ctx.cached(persistentvolumeclaims.RESOURCE, key)
        if there is None:
            await _create(ctx, stateful, ordinal, claim)
        elif is_deleting(there):
            raise RuntimeError(f"the claim {key} is being deleted; the pod waits for a new one")


async def _create(ctx: Context, stateful: Object, ordinal: int, claim: Object) -> None:
    name, pod = claim["metadata"]["name"], identity.name(stateful, ordinal)
    what = f"Claim {name} Pod {pod} in StatefulSet {stateful['metadata']['name']}"
    if refs := owner_refs(stateful, None, ordinal):
        claim["metadata"]["ownerReferences"] = refs
    try:
        await ctx.create(persistentvolumeclaims.RESOURCE, claim)
    except StatusError as error:
        if error.reason == "AlreadyExists":
            return
        ctx.event(stateful, "Warning", "FailedCreate", f"create {what} failed error: {error}")
        raise
    ctx.event(stateful, "Normal", "SuccessfulCreate", f"create {what} success")


async def retain(ctx: Context, stateful: Object, pod: Object, ordinal: int) -> None:
    """Bring the owners of the pod's claims in line with the retention policy."""
    mine = {uid_of(stateful), uid_of(pod)}
    wanted = owner_refs(stateful, pod, ordinal)
    for template in stateful["spec"].get("volumeClaimTemplates") or ():
        key = Key(stateful["metadata"]["namespace"], identity.claim_name(template, stateful, ordinal))
        claim = await ctx.cached(persistentvolumeclaims.RESOURCE, key)
        if claim is None or is_deleting(claim):
            continue
        others = [ref for ref in owners_of(claim) if ref["uid"] not in mine]
        ours = [ref for ref in owners_of(claim) if ref["uid"] in mine]
        if [ref["uid"] for ref in ours] != [ref["uid"] for ref in wanted]:
            metadata = claim["metadata"] | {"ownerReferences": [*others, *wanted]}
            await ctx.update(persistentvolumeclaims.RESOURCE, claim | {"metadata": metadata})
