"""StatefulSet: pods with names and claims that stay, made and replaced in order.

identity.py says what a pod is called and looks like, order.py what to do next, claims.py looks after the volumes.
"""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.apps import controllerrevisions, statefulsets
from pynetes.apis.core import persistentvolumeclaims, pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers import _history as history
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers.statefulset import claims, identity, order
from pynetes.machinery import labels
from pynetes.machinery.errors import StatusError
from pynetes.machinery.labels import Selector
from pynetes.machinery.meta import Key, Object, is_deleting, uid_of

_LABELS = "statefulset_namespace", "statefulset_name", "pod_management_policy"
_MOST = REGISTRY.gauge(
    "statefulset_controller_statefulset_max_unavailable",
    "Maximum number of unavailable pods allowed during StatefulSet rolling updates",
    *_LABELS,
)
_DOWN = REGISTRY.gauge(
    "statefulset_controller_statefulset_unavailable_replicas",
    "Current number of unavailable pods in StatefulSet",
    *_LABELS,
)


def selector(stateful: Object) -> Selector:
    """spec.selector."""
    return labels.from_label_selector(stateful["spec"].get("selector"))


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    stateful = await ctx.cached(statefulsets.RESOURCE, key)
    if stateful is None or is_deleting(stateful):
        return None
    known = ctx.satisfied(key)
    revisions = history.of(ctx, stateful)
    update = await history.current(ctx, statefulsets.RESOURCE, stateful, revisions)
    old: Object = stateful.get("status") or {}
    if isinstance(update, history.Collision):
        count = (old.get("collisionCount") or 0) + 1
        await ctx.update_status(statefulsets.RESOURCE, stateful | {"status": old | {"collisionCount": count}})
        return None
    mine = await owned.claim(ctx, statefulsets.RESOURCE, stateful, pods.RESOURCE, selector(stateful))
    mine = [pod for pod in mine if identity.ordinal_of(stateful, pod) is not None]
    names = {each["metadata"]["name"]: each for each in [*revisions, update]}
    current = names.get(old.get("currentRevision", ""), update)
    view = order.View(stateful, mine, current["metadata"]["name"], update["metadata"]["name"], ctx.now())
    error = await _act(ctx, key, view, names) if known else None
    await ctx.update_status(statefulsets.RESOURCE, stateful | {"status": order.status(view)})
    if error is not None:
        raise error
    in_use = {view.current, view.update, *map(identity.revision_of, mine)}
    for each in history.surplus(stateful, revisions, in_use):
        await ctx.delete(controllerrevisions.RESOURCE, each)
    return podinfo.next_available(mine, stateful["spec"].get("minReadySeconds", 0), ctx.now())


async def _act(ctx: Context, key: Key, view: order.View, revisions: dict[str, Object]) -> Exception | None:
    """Carry out the next step; the error that stopped it, told once the status is written."""
    stateful = view.stateful
    for pod in view.pods:
        ordinal = identity.ordinal_of(stateful, pod)
        if ordinal is not None:
            await claims.retain(ctx, stateful, pod, ordinal)
    step = order.next_step(view)
    ctx.expect(key, creates=len(step.create), deletes=[uid_of(pod) for pod in step.delete])
    try:
        for ordinal, name in step.create:
            await claims.ensure(ctx, stateful, ordinal)
            template = (revisions[name].get("data") or {})["spec"]["template"]
            clean = {part: value for part, value in template.items() if part != "$patch"}
            await _create(ctx, stateful, identity.pod_for(stateful, clean, name, ordinal))
        for pod in step.delete:
            await _delete(ctx, stateful, pod)
    except (StatusError, RuntimeError) as error:
        gone = isinstance(error, StatusError) and owned.namespace_is_terminating(error)
        return None if gone else error
    return None


def _what(stateful: Object, pod: Object) -> str:
    return f"Pod {pod['metadata']['name']} in StatefulSet {stateful['metadata']['name']}"


async def _create(ctx: Context, stateful: Object, pod: Object) -> None:
    what = _what(stateful, pod)
    try:
        await ctx.create(pods.RESOURCE, pod)
    except StatusError as error:
        if not owned.namespace_is_terminating(error):
            ctx.event(stateful, "Warning", "FailedCreate", f"create {what} failed error: {error}")
        raise
    ctx.event(stateful, "Normal", "SuccessfulCreate", f"create {what} successful")


async def _delete(ctx: Context, stateful: Object, pod: Object) -> None:
    what = _what(stateful, pod)
    if podinfo.is_terminal(pod):
        ctx.event(
            stateful, "Warning", f"Recreating{podinfo.phase(pod)}Pod", f"StatefulSet {what} is recreating ended Pod"
        )
    try:
        await ctx.delete(pods.RESOURCE, pod)
    except StatusError as error:
        ctx.event(stateful, "Warning", "FailedDelete", f"delete {what} failed error: {error}")
        raise
    ctx.event(stateful, "Normal", "SuccessfulDelete", f"delete {what} successful")


def rolling(lookup: Lookup) -> Iterator[tuple[Object, tuple[str, ...]]]:
    """The sets that are updated by rolling, and what the metrics call each."""
    for stateful in lookup.listed(statefulsets.RESOURCE):
        if (stateful["spec"].get("updateStrategy") or {}).get("type") != "OnDelete":
            policy = stateful["spec"].get("podManagementPolicy") or "OrderedReady"
            yield stateful, (stateful["metadata"]["namespace"], stateful["metadata"]["name"], policy)


def down(stateful: Object) -> int:
    """How many of its pods are not available."""
    available = (stateful.get("status") or {}).get("availableReplicas") or 0
    return max(0, len(identity.ordinals(stateful)) - available)


CONTROLLER = Controller(
    name="statefulset-controller",
    reconcile=reconcile,
    shows=(
        (_MOST, lambda lookup: ((names, order.most_unavailable(each)) for each, names in rolling(lookup))),
        (_DOWN, lambda lookup: ((names, down(each)) for each, names in rolling(lookup))),
    ),
    watches=(
        Watch(statefulsets.RESOURCE),
        Watch(pods.RESOURCE, owner=statefulsets.RESOURCE),
        owned.orphans(pods.RESOURCE, statefulsets.RESOURCE, selector),
        Watch(persistentvolumeclaims.RESOURCE, keys=lambda *_: ()),
        Watch(controllerrevisions.RESOURCE, keys=lambda *_: ()),
    ),
    rules=(
        Rule("statefulsets.apps", "get,list,watch"),
        Rule("statefulsets.apps/status,statefulsets.apps/finalizers", "update"),
        Rule("pods", "create,delete,get,list,patch,update,watch"),
        Rule("pods/finalizers", "update"),
        Rule("controllerrevisions.apps", "create,delete,get,list,patch,update,watch"),
        Rule("persistentvolumeclaims", "create,delete,get,list,update,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
