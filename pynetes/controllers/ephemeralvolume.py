"""Makes the claims of generic ephemeral volumes: one per pod and volume, owned by the pod, so it goes with it."""

from datetime import timedelta

from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.core import pods
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _pods as podinfo
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting

_CREATED = REGISTRY.counter(
    "ephemeral_volume_controller_create_total", "Number of PersistentVolumeClaim creation requests"
)
_NOT_CREATED = REGISTRY.counter(
    "ephemeral_volume_controller_create_failures_total",
    "Number of PersistentVolumeClaim creation requests that failed",
)


def wanted(pod: Object) -> list[Object]:
    """The claims that a pod's ephemeral volumes stand for."""
    found = []
    for volume in pod["spec"].get("volumes") or ():
        if not (ephemeral := volume.get("ephemeral")):
            continue
        template = ephemeral["volumeClaimTemplate"]
        given = template.get("metadata") or {}
        owner = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        metadata = {
            "namespace": pod["metadata"]["namespace"],
            "name": f"{pod['metadata']['name']}-{volume['name']}",
            "ownerReferences": [owner],
            **{member: given[member] for member in ("labels", "annotations") if given.get(member)},
        }
        found.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
        )
    return found


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    pod = await ctx.cached(pods.RESOURCE, key)
    if pod is None or is_deleting(pod) or podinfo.is_terminal(pod):
        return None
    for claim in wanted(pod):
        name = claim["metadata"]["name"]
        present = await ctx.cached(claims.RESOURCE, Key(key.namespace, name))
        if present is None:
            await _create(ctx, pod, claim)
        elif (controller_of(present) or {}).get("uid") != pod["metadata"]["uid"]:
            # Somebody else's data must not become a pod's throw-away volume.
            text = f'PVC "{key.namespace}/{name}" was not created for the pod'
            ctx.event(pod, "Warning", "FailedEphemeralVolume", text)
    return None


async def _create(ctx: Context, pod: Object, claim: Object) -> None:
    _CREATED.inc()
    try:
        await ctx.create(claims.RESOURCE, claim)
    except StatusError as error:
        _NOT_CREATED.inc()
        if error.reason == "AlreadyExists":
            return
        text = f"ephemeral volume claim {claim['metadata']['name']}: {error}"
        ctx.event(pod, "Warning", "FailedCreate", text)
        raise


CONTROLLER = Controller(
    name="ephemeral-volume-controller",
    reconcile=reconcile,
    watches=(Watch(pods.RESOURCE), Watch(claims.RESOURCE, owner=pods.RESOURCE)),
    rules=(
        Rule("pods", "get,list,watch"),
        Rule("pods/finalizers", "update"),
        Rule("persistentvolumeclaims", "create,get,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
