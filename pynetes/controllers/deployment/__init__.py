"""Deployment: moves pods from one template to the next by growing one ReplicaSet and shrinking the others.

Each reconcile takes one snapshot, does one step and writes the status; the ReplicaSets' own changes wake it for the
next. revisions.py finds and builds ReplicaSets, rolling.py is the arithmetic, status.py the conditions.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from pynetes.apis.apps import deployments, replicasets
from pynetes.apis.core import pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers import _templates as templates
from pynetes.controllers.deployment import revisions as sets
from pynetes.controllers.deployment import rolling, status
from pynetes.machinery import labels
from pynetes.machinery.errors import StatusError
from pynetes.machinery.labels import Selector
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting, key_of, uid_of


class Family(NamedTuple):
    """A Deployment with its ReplicaSets, as one reconcile knows them."""

    deployment: Object
    new: Object | None
    old: list[Object]

    @property
    def everything(self) -> list[Object]:
        """All ReplicaSets."""
        return [*self.old, self.new] if self.new else self.old


def selector(deployment: Object) -> Selector:
    """spec.selector."""
    return labels.from_label_selector(deployment["spec"].get("selector"))


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    deployment = await ctx.cached(deployments.RESOURCE, key)
    if deployment is None:
        return None
    if selector(deployment).everything:
        text = "This deployment is selecting all pods. A non-empty selector is required."
        ctx.event(deployment, "Warning", "SelectingAll", text)
        return None
    children = await owned.claim(ctx, deployments.RESOURCE, deployment, replicasets.RESOURCE, selector(deployment))
    if is_deleting(deployment):
        return await _write_status(ctx, _split(deployment, children), rollout=False)
    deployment = await _pause_conditions(ctx, deployment)
    if deployment["spec"].get("paused") or _was_scaled(deployment, children):
        return await _sync(ctx, deployment, children)
    if sets.is_rolling(deployment):
        return await _rolling(ctx, deployment, children)
    return await _recreate(ctx, deployment, children)


def _split(deployment: Object, children: Sequence[Object]) -> Family:
    new = sets.find_new(deployment, children)
    return Family(deployment, new, [each for each in children if each is not new])


def _was_scaled(deployment: Object, children: Iterable[Object]) -> bool:
    wanted = sets.replicas(deployment)
    return any(
        sets.replicas(each) > 0 and sets.DESIRED in sets.annotations(each) and sets.number(each, sets.DESIRED) != wanted
        for each in children
    )


async def _pause_conditions(ctx: Context, deployment: Object) -> Object:
    """Note pause and resume as a condition, so that the time between does not count towards the deadline."""
    if not status.has_deadline(deployment):
        return deployment
    current = conditions.find(deployment, "Progressing")
    if current is not None and current.get("reason") == "ProgressDeadlineExceeded":
        return deployment
    paused = bool(deployment["spec"].get("paused"))
    noted = current is not None and current.get("reason") == "DeploymentPaused"
    if paused == noted:
        return deployment
    reason, text = ("DeploymentPaused", "paused") if paused else ("DeploymentResumed", "resumed")
    new = dict(deployment.get("status") or {})
    status.put(new, "Progressing", "Unknown", reason, f"Deployment is {text}", ctx.now())
    return await ctx.update_status(deployments.RESOURCE, deployment | {"status": new})


async def _sync(ctx: Context, deployment: Object, children: Sequence[Object]) -> timedelta | None:
    """Scale without rolling on."""
    family = await _revisions(ctx, _split(deployment, children), create=False)
    family = await _resize(ctx, family, rolling.scale(deployment, family.new, family.old), note=True)
    if deployment["spec"].get("paused"):
        await _clean_up(ctx, family)
    return await _write_status(ctx, family, rollout=False)


async def _rolling(ctx: Context, deployment: Object, children: Sequence[Object]) -> timedelta | None:
    family = await _revisions(ctx, _split(deployment, children), create=True)
    if family.new is None:
        return None
    wanted = {rolling.name(family.new): rolling.grow(deployment, family.new, family.old)}
    if rolling.changed(wanted, [family.new]):
        family = await _resize(ctx, family, wanted)
        return await _write_status(ctx, family, rollout=True)
    family = await _resize(ctx, family, rolling.shrink(deployment, family.new, family.old))
    return await _finish(ctx, family)


async def _recreate(ctx: Context, deployment: Object, children: Sequence[Object]) -> timedelta | None:
    family = await _revisions(ctx, _split(deployment, children), create=False)
    emptied = {rolling.name(each): 0 for each in family.old}
    if rolling.changed(emptied, family.old):
        family = await _resize(ctx, family, emptied)
        return await _write_status(ctx, family, rollout=True)
    if any(not podinfo.is_terminal(pod) for each in family.old for pod in _pods_of(ctx, each)):
        return await _write_status(ctx, family, rollout=True)
    family = await _revisions(ctx, family, create=True)
    if family.new is not None:
        family = await _resize(ctx, family, {rolling.name(family.new): sets.replicas(deployment)})
    return await _finish(ctx, family)


def _pods_of(lookup: Lookup, replica_set: Object) -> Sequence[Object]:
    namespace = replica_set["metadata"]["namespace"]
    return lookup.listed(pods.RESOURCE, namespace=namespace, index="controller", value=uid_of(replica_set))


async def _finish(ctx: Context, family: Family) -> timedelta | None:
    if status.is_complete(family.deployment, family.deployment.get("status") or {}):
        await _clean_up(ctx, family)
    return await _write_status(ctx, family, rollout=True)


async def _clean_up(ctx: Context, family: Family) -> None:
    for each in rolling.surplus_history(family.deployment, family.old):
        await ctx.delete(replicasets.RESOURCE, each)


async def _revisions(ctx: Context, family: Family, *, create: bool) -> Family:
    """Bring revision and annotations of the new ReplicaSet up to date, making it if there is none."""
    deployment, new, old = family
    revision = max((sets.number(each, sets.REVISION) for each in old), default=0) + 1
    if new is not None:
        wanted = sets.inherit(deployment, new, revision, existing=True)
        spec = dict(new["spec"])
        if spec.get("minReadySeconds", 0) != deployment["spec"].get("minReadySeconds", 0):
            spec["minReadySeconds"] = deployment["spec"].get("minReadySeconds", 0)
        if wanted != sets.annotations(new) or spec != new["spec"]:
            new = new | {"metadata": new["metadata"] | {"annotations": wanted}, "spec": spec}
            new = await ctx.update(replicasets.RESOURCE, new)
        revision = sets.number(new, sets.REVISION)
    elif create:
        new, deployment = await _create(ctx, deployment, old, revision)
        if new is None:
            return Family(deployment, None, old)
    else:
        return family
    if sets.number(deployment, sets.REVISION) != revision:
        noted = sets.annotations(deployment) | {sets.REVISION: str(revision)}
        # Written with the status, which may change annotations: an update would also count as a new generation.
        deployment = deployment | {"metadata": deployment["metadata"] | {"annotations": noted}}
    if conditions.find(deployment, "Progressing") is None and status.has_deadline(deployment):
        text = f'Found new replica set "{new["metadata"]["name"]}"'
        deployment = _progressing(ctx, deployment, "True", "FoundNewReplicaSet", text)
    return Family(deployment, new, old)


def _progressing(ctx: Context, deployment: Object, value: str, reason: str, message: str) -> Object:
    new = dict(deployment.get("status") or {})
    status.put(new, "Progressing", value, reason, message, ctx.now())
    return deployment | {"status": new}


async def _create(
    ctx: Context, deployment: Object, old: Sequence[Object], revision: int
) -> tuple[Object | None, Object]:
    wanted = sets.build(deployment, old, revision)
    try:
        new = await ctx.create(replicasets.RESOURCE, wanted)
    except StatusError as error:
        if error.reason == "AlreadyExists":
            return await _taken(ctx, deployment, wanted)
        if owned.namespace_is_terminating(error):
            return None, deployment
        text = f'Failed to create new replica set "{wanted["metadata"]["name"]}": {error}'
        if status.has_deadline(deployment):
            deployment = _progressing(ctx, deployment, "False", "ReplicaSetCreateError", text)
            await ctx.update_status(deployments.RESOURCE, deployment)
        ctx.event(deployment, "Warning", "ReplicaSetCreateError", text)
        raise
    name, size = new["metadata"]["name"], sets.replicas(new)
    if size:
        ctx.event(deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {size}")
    if status.has_deadline(deployment):
        text = f'Created new replica set "{name}"'
        deployment = _progressing(ctx, deployment, "True", "NewReplicaSetCreated", text)
    return new, deployment


async def _taken(ctx: Context, deployment: Object, wanted: Object) -> tuple[Object | None, Object]:
    """The name is in use: by our own ReplicaSet that the cache does not show yet, or by another, then hash anew."""
    there = await ctx.live(replicasets.RESOURCE, key_of(wanted))
    ours = there is not None and owned.is_controlled_by(there, deployment)
    if there is not None and ours and templates.same(there["spec"]["template"], wanted["spec"]["template"]):
        return there, deployment
    new = dict(deployment.get("status") or {})
    new["collisionCount"] = (new.get("collisionCount") or 0) + 1
    await ctx.update_status(deployments.RESOURCE, deployment | {"status": new})
    return None, deployment


async def _resize(ctx: Context, family: Family, sizes: rolling.Sizes, *, note: bool = False) -> Family:
    """Give the ReplicaSets these sizes; note also refreshes the annotations of those whose size stays."""
    deployment = family.deployment
    done: dict[str, Object] = {}
    for each in family.everything:
        name, before = rolling.name(each), sets.replicas(each)
        size = sizes.get(name, before)
        wanted = sets.sized(deployment, each, size)
        stale = wanted["metadata"]["annotations"] != sets.annotations(each)
        if size == before and not (note and name in sizes and stale):
            continue
        done[name] = await ctx.update(replicasets.RESOURCE, wanted)
        if size != before:
            direction = "up" if size > before else "down"
            text = f"Scaled {direction} replica set {name} from {before} to {size}"
            ctx.event(deployment, "Normal", "ScalingReplicaSet", text)
    new = family.new and done.get(rolling.name(family.new), family.new)
    return Family(deployment, new, [done.get(rolling.name(each), each) for each in family.old])


async def _write_status(ctx: Context, family: Family, *, rollout: bool) -> timedelta | None:
    decide = status.rollout if rollout else status.counts
    new = decide(family.deployment, family.new, family.everything, ctx.now())
    await ctx.update_status(deployments.RESOURCE, family.deployment | {"status": new})
    left = status.deadline(family.deployment, new, ctx.now())
    # A second more: the API keeps whole seconds.
    return left + timedelta(seconds=1) if rollout and left is not None and left > timedelta() else None


def waiting_for_pods(lookup: Lookup, pod: Object, old: Object | None) -> Iterator[Key]:
    """Wakes the Deployment that recreates its pods once an old pod has gone."""
    ref = controller_of(pod)
    if ref is None or ref["kind"] != "ReplicaSet" or not (old is pod or podinfo.is_terminal(pod)):
        return
    for replica_set in lookup.listed(replicasets.RESOURCE, index="uid", value=ref["uid"]):
        if owner := controller_of(replica_set):
            for deployment in lookup.listed(deployments.RESOURCE, index="uid", value=owner["uid"]):
                if not sets.is_rolling(deployment):
                    yield key_of(deployment)


def _by_uid(obj: Object) -> tuple[str, ...]:
    return (uid_of(obj),)


CONTROLLER = Controller(
    name="deployment-controller",
    reconcile=reconcile,
    watches=(
        Watch(deployments.RESOURCE, indexes={"uid": _by_uid}),
        Watch(replicasets.RESOURCE, owner=deployments.RESOURCE, indexes={"uid": _by_uid}),
        owned.orphans(replicasets.RESOURCE, deployments.RESOURCE, selector),
        Watch(pods.RESOURCE, keys=waiting_for_pods),
    ),
    rules=(
        Rule("deployments.apps", "get,list,update,watch"),
        Rule("deployments.apps/status,deployments.apps/finalizers", "update"),
        Rule("replicasets.apps", "create,delete,get,list,patch,update,watch"),
        Rule("pods", "get,list,update,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
