"""Removes nodes whose instance is gone, and taints those whose instance is shut down.

Only a node that is not Ready is looked up, as upstream does it: a cloud that loses an instance from its answers for a
moment must not take a node that works. For the same reason an instance counts as gone only after two answers, and not
when the cloud suddenly knows no instance at all.
"""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from pynetes.apis.core import nodes
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.cloud import names
from pynetes.cloud.controllers._config import Config
from pynetes.cloud.provider import STOPPED, CloudError, Instance
from pynetes.machinery.meta import Key, Object, is_deleting

SHUTDOWN = {"key": names.SHUTDOWN, "effect": "NoSchedule"}
#: Answers without the instance before the node goes.
LOOKS = 2


def is_ready(node: Object) -> bool:
    """Whether its Ready condition is True."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def is_shut_down(node: Object) -> bool:
    """Whether it has the taint."""
    return any(taint["key"] == names.SHUTDOWN for taint in node["spec"].get("taints") or ())


def retainted(node: Object, *, shut_down: bool) -> Object | None:
    """The patch that gives or takes the taint; None when it is as it should be."""
    if is_shut_down(node) == shut_down:
        return None
    kept = [taint for taint in node["spec"].get("taints") or () if taint["key"] != names.SHUTDOWN]
    taints = [*kept, SHUTDOWN] if shut_down else kept
    return {
        "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
        "spec": {"taints": taints or None},
    }


class Lifecycle:
    """Remembers for which nodes the cloud had no instance, and how often in a row."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._missed: dict[str, int] = {}

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        node = await ctx.cached(nodes.RESOURCE, key)
        if node is None or is_deleting(node) or is_ready(node) or not self._is_ours(node):
            self._missed.pop(key.name, None)
            if node is not None and is_ready(node) and (patch := retainted(node, shut_down=False)):
                await ctx.patch(nodes.RESOURCE, key, patch)
            return None
        again = timedelta(seconds=self._config.node_monitor_period)
        instance = await self._instance(ctx, node)
        if instance is None:
            self._missed[key.name] = self._missed.get(key.name, 0) + 1
            if self._missed[key.name] >= LOOKS:
                await self._remove(ctx, node)
            return again
        self._missed.pop(key.name, None)
        if patch := retainted(node, shut_down=instance.state == STOPPED):
            await ctx.patch(nodes.RESOURCE, key, patch)
        return again

    def _is_ours(self, node: Object) -> bool:
        provider_id = node["spec"].get("providerID") or ""
        return not provider_id or provider_id.partition("://")[0] == self._config.provider.name

    async def _instance(self, ctx: Context, node: Object) -> Instance | None:
        machines, period = self._config.machines, self._config.node_monitor_period
        found = await machines.of(
            node["metadata"]["name"], node["spec"].get("providerID") or "", newer_than=period * 0.9
        )
        others = sum(self._is_ours(each) for each in ctx.listed(nodes.RESOURCE)) > 1
        if found is None and others and not await machines.inventory.get():
            raise CloudError(f"{self._config.provider.name} lists no instance at all; no node is deleted for that")
        return found

    async def _remove(self, ctx: Context, node: Object) -> None:
        """After a look at the live node: it may have come back."""
        name = node["metadata"]["name"]
        live = await ctx.live(nodes.RESOURCE, Key("", name))
        if live is None or live["metadata"].get("uid") != node["metadata"].get("uid") or is_ready(live):
            return
        text = f"Deleting node {name} because it does not exist in the cloud provider"
        ctx.event(node, "Normal", "DeletingNode", text)
        await ctx.delete(nodes.RESOURCE, node)


def changed(_lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """Nodes that begin or cease to be Ready; a heartbeat is no news."""
    if old is None or old is node or is_ready(node) != is_ready(old) or is_shut_down(node) != is_shut_down(old):
        yield Key("", node["metadata"]["name"])


def controller(config: Config) -> Controller:
    """The controller for this cloud."""
    return Controller(
        name="cloud-node-lifecycle-controller",
        reconcile=partial(Lifecycle.reconcile, Lifecycle(config)),
        watches=(Watch(nodes.RESOURCE, keys=changed),),
        workers=1,
        rules=(
            Rule("nodes", "delete,get,list,patch,update,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
