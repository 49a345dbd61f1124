"""DaemonSet: one pod on every node that fits. placement.py says where, rolling.py what to do next."""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.apps import controllerrevisions, daemonsets
from pynetes.apis.core import nodes, pods
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _history as history
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers.daemonset import placement, rolling
from pynetes.machinery import labels
from pynetes.machinery.labels import Selector
from pynetes.machinery.meta import Key, Object, is_deleting, key_of, uid_of

#: How many pods one reconcile creates or deletes at most.
BURST = 250
#: How soon a failed daemon may be replaced, so that one that always fails does not spin.
FAILED_AGAIN = timedelta(seconds=1)


def selector(daemonset: Object) -> Selector:
    """spec.selector."""
    return labels.from_label_selector(daemonset["spec"].get("selector"))


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    daemonset = await ctx.cached(daemonsets.RESOURCE, key)
    if daemonset is None or is_deleting(daemonset):
        return None
    if selector(daemonset).everything:
        text = "This daemon set is selecting all pods. A non-empty selector is required."
        ctx.event(daemonset, "Warning", "SelectingAll", text)
        return None
    revisions = history.of(ctx, daemonset)
    revision = await history.current(ctx, daemonsets.RESOURCE, daemonset, revisions)
    if isinstance(revision, history.Collision):
        status = daemonset.get("status") or {}
        count = (status.get("collisionCount") or 0) + 1
        await ctx.update_status(daemonsets.RESOURCE, daemonset | {"status": status | {"collisionCount": count}})
        return None
    known = ctx.satisfied(key)
    mine = await owned.claim(ctx, daemonsets.RESOURCE, daemonset, pods.RESOURCE, selector(daemonset))
    digest = revision["metadata"]["labels"][history.HASH_LABEL]
    view = rolling.View(daemonset, ctx.listed(nodes.RESOURCE), rolling.group(mine), digest, ctx.now())
    again = None
    if known:
        again = await _act(ctx, key, view)
        in_use = {digest} | {(pod["metadata"].get("labels") or {}).get(history.HASH_LABEL, "") for pod in mine}
        for each in history.surplus(daemonset, [*revisions], in_use):
            await ctx.delete(controllerrevisions.RESOURCE, each)
    await ctx.update_status(daemonsets.RESOURCE, daemonset | {"status": rolling.status(view)})
    return again or podinfo.next_available(mine, daemonset["spec"].get("minReadySeconds", 0), ctx.now())


async def _act(ctx: Context, key: Key, view: rolling.View) -> timedelta | None:
    """Carry out the next step; when failed daemons are to be looked at again."""
    step = rolling.manage(view)
    again = None
    early = [pod for pod in step.failed if ctx.now() - podinfo.created(pod) < FAILED_AGAIN]
    if early:
        step.delete = [pod for pod in step.delete if pod not in early]
        again = FAILED_AGAIN
    rolls = (view.daemonset["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
    if rolls and not step.create and not step.delete:
        step = rolling.roll(view)
    for pod in step.failed:
        name, node = pod["metadata"]["name"], placement.node_of(pod)
        text = f"Found failed daemon pod {key.namespace}/{name} on node {node}, will try to kill it"
        ctx.event(view.daemonset, "Warning", "FailedDaemonPod", text)
    await _write(ctx, key, view, step)
    return again


async def _write(ctx: Context, key: Key, view: rolling.View, step: rolling.Step) -> None:
    create, delete = step.create[:BURST], step.delete[:BURST]
    if not create and not delete:
        return
    ctx.expect(key, creates=len(create), deletes=[uid_of(pod) for pod in delete])

    async def make(number: int) -> None:
        pod = placement.pod_for(view.daemonset, create[number], view.digest)
        await owned.create_pod(ctx, pods.RESOURCE, view.daemonset, pod)

    async def remove(number: int) -> None:
        await owned.delete_pod(ctx, pods.RESOURCE, view.daemonset, delete[number])

    _, failed = await owned.slow_start(len(create), make)
    _, stuck = await owned.slow_start(len(delete), remove)
    error = failed or stuck
    if error is not None and not owned.namespace_is_terminating(error):
        raise error


def of_node(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """A node that comes, goes, or changes what placement looks at, wakes the DaemonSets it matters to."""
    if old is not None and old is not node:
        same = old["metadata"].get("labels") == node["metadata"].get("labels")
        if same and old["spec"].get("taints") == node["spec"].get("taints"):
            return
    for daemonset in lookup.listed(daemonsets.RESOURCE):
        before = placement.should_run(daemonset, old) if old is not None and old is not node else None
        if before is None or before != placement.should_run(daemonset, node):
            yield key_of(daemonset)


CONTROLLER = Controller(
    name="daemonset-controller",
    service_account="daemon-set-controller",
    reconcile=reconcile,
    watches=(
        Watch(daemonsets.RESOURCE),
        Watch(pods.RESOURCE, owner=daemonsets.RESOURCE),
        owned.orphans(pods.RESOURCE, daemonsets.RESOURCE, selector),
        Watch(nodes.RESOURCE, keys=of_node),
        Watch(controllerrevisions.RESOURCE, keys=lambda *_: ()),
    ),
    rules=(
        Rule("daemonsets.apps", "get,list,watch"),
        Rule("daemonsets.apps/status,daemonsets.apps/finalizers", "update"),
        Rule("nodes", "list,watch"),
        Rule("pods", "create,delete,list,patch,watch"),
        Rule("controllerrevisions.apps", "create,delete,get,list,patch,update,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
