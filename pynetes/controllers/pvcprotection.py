"""Keeps a claim that is deleted until no pod uses it any more."""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _pods as podinfo
from pynetes.controllers._pvs import by_claim, claims_of
from pynetes.machinery.meta import Key, Object, is_deleting

FINALIZER = "kubernetes.io/pvc-protection"


def is_using(pod: Object) -> bool:
    """Whether the pod may still have the volume: it is on a node and not over."""
    return bool(pod["spec"].get("nodeName")) and not podinfo.is_terminal(pod)


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    claim = await ctx.cached(claims.RESOURCE, key)
    if claim is None:
        return None
    finalizers = claim["metadata"].get("finalizers") or []
    if not is_deleting(claim):
        if FINALIZER not in finalizers:
            await _write(ctx, claim, [*finalizers, FINALIZER])
    elif FINALIZER in finalizers:
        users = ctx.listed(pods.RESOURCE, index="claim", value=f"{key.namespace}/{key.name}")
        if not any(map(is_using, users)):
            await _write(ctx, claim, [name for name in finalizers if name != FINALIZER])
    return None


async def _write(ctx: Context, claim: Object, finalizers: list[str]) -> None:
    await ctx.update(claims.RESOURCE, claim | {"metadata": claim["metadata"] | {"finalizers": finalizers}})


def of_pod(_lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """A pod that no longer uses its claims wakes them."""
    if old is pod or not is_using(pod):
        for name in claims_of(pod):
            yield Key(pod["metadata"]["namespace"], name)


CONTROLLER = Controller(
    name="persistentvolumeclaim-protection-controller",
    service_account="pvc-protection-controller",
    reconcile=reconcile,
    watches=(Watch(claims.RESOURCE), Watch(pods.RESOURCE, keys=of_pod, indexes={"claim": by_claim})),
    rules=(
        Rule("persistentvolumeclaims", "get,list,update,watch"),
        Rule("persistentvolumeclaims/status", "update"),
        Rule("pods", "get,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
