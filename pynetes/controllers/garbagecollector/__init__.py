"""Deletes what has lost all its owners, and carries out foreground and orphan deletion.

Informers over every resource, custom ones too, keep a graph of owners (graph.py); the keys of this controller are UIDs.
The graph only says where to look: before anything is deleted, the object and its owners are read live and compared by
UID, for a cache that is behind must not cost anybody an object.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import timedelta

from pynetes import apis
from pynetes.apis.apiextensions import customresourcedefinitions
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Rule, Watch
from pynetes.controllers import _discovery as discovery
from pynetes.controllers._config import Config
from pynetes.controllers.garbagecollector import graph
from pynetes.controllers.garbagecollector.graph import FOREGROUND, ORPHAN, Graph, Node
from pynetes.machinery.meta import UID, Key, Object, is_deleting, key_of, owners_of, uid_of
from pynetes.machinery.resource import Resource

#: How many owners known to be gone are remembered, so that a thousand orphans cost one look-up.
_REMEMBERED = 500
_IGNORED = frozenset((("", "events"),))


class Collector:
    """The state of the controller: the graph, the custom kinds, and the owners known to be absent."""

    def __init__(self) -> None:
        self.graph = Graph()
        self._look: asyncio.Queue[UID] = asyncio.Queue()
        self._absent: OrderedDict[UID, None] = OrderedDict()
        #: Custom kinds by the name of their definition.
        self._custom: dict[str, Resource] = {}

    # Following the cluster.

    async def ticks(self, ctx: ControllerContext) -> AsyncIterator[Key]:
        """Follow everything; yields the UIDs that deserve a look, once all lists have arrived."""
        for resource in discovery.builtin():
            if (resource.group, resource.plural) not in _IGNORED:
                self._follow(ctx, resource)

        def defined(new: Object, _old: Object | None, gone: bool) -> None:
            self._define(ctx, new, gone=gone)

        ctx.informers.informer(customresourcedefinitions.RESOURCE).handle(defined)
        await ctx.informers.wait_synced()
        while True:
            yield Key("", await self._look.get())

    def _follow(self, ctx: ControllerContext, resource: Resource) -> None:
        def changed(new: Object, _old: Object | None, gone: bool) -> None:
            for uid in self.graph.remove(uid_of(new)) if gone else self.graph.put(resource, new):
                self._look.put_nowait(uid)

        ctx.informers.informer(resource).handle(changed)

    def _define(self, ctx: ControllerContext, definition: Object, *, gone: bool) -> None:
        name = definition["metadata"]["name"]
        resource = None if gone else discovery.custom(definition)
        known = self._custom.get(name)
        if resource is not None and known is None:
            self._custom[name] = resource
            self._follow(ctx, resource)
        elif gone and known is not None:
            del self._custom[name]
            ctx.informers.stop(known)

    def find(self, ref: Object) -> Resource | None:
        """The resource of an owner reference."""
        builtin = apis.by_kind(ref["apiVersion"], ref["kind"])
        if builtin is not None:
            return builtin
        group = ref["apiVersion"].rpartition("/")[0]
        return next((each for each in self._custom.values() if (each.group, each.kind) == (group, ref["kind"])), None)

    # Acting on one node.

    async def reconcile(self, ctx: ControllerContext, key: Key) -> timedelta | None:
        node = self.graph.get(UID(key.name))
        if node is None:
            return None
        if node.virtual:
            await self._verify(ctx, node)
        elif node.orphans:
            await self._orphan(ctx, node)
        elif node.waits:
            await self._finish_foreground(ctx, node)
        elif not node.deleting:
            await self._collect(ctx, node)
        return None

    async def _verify(self, ctx: ControllerContext, node: Node) -> None:
        """Find out whether an owner nobody has shown us exists."""
        assert node.reference is not None
        if await self._owner_is(ctx, node.reference, node.key.namespace) is None:
            for uid in self.graph.remove(node.uid):
                self._look.put_nowait(uid)

    async def _owner_is(self, ctx: ControllerContext, ref: Object, namespace: str) -> str | None:
        """solid, waiting (for its dependents to go), or None when the owner is gone."""
        uid = UID(ref["uid"])
        known = self.graph.get(uid)
        if known is not None and not known.virtual and not known.waits:
            return "solid"
        if uid in self._absent:
            return None
        resource = self.find(ref)
        if resource is None or (resource.namespaced and not namespace):
            return "solid"  # nobody can tell; a kind that is not served now may come back
        owner = await ctx.live(resource, Key(namespace if resource.namespaced else "", ref["name"]))
        if owner is None or uid_of(owner) != uid:
            self._absent[uid] = None
            if len(self._absent) > _REMEMBERED:
                self._absent.popitem(last=False)
            return None
        waits = is_deleting(owner) and FOREGROUND in (owner["metadata"].get("finalizers") or ())
        return "waiting" if waits else "solid"

    async def _collect(self, ctx: ControllerContext, node: Node) -> None:
        """Delete the object if no owner is left, or take off the references to those that are gone."""
        assert node.resource is not None
        obj = await ctx.live(node.resource, node.key)
        if obj is None or uid_of(obj) != node.uid:
            return  # the informer will say so
        owners = list(owners_of(obj))
        if not owners or is_deleting(obj):
            return
        states = {ref["uid"]: await self._owner_is(ctx, ref, node.key.namespace) for ref in owners}
        solid, gone, waiting = graph.split(
            owners,
            [uid for uid, state in states.items() if state == "solid"],
            [uid for uid, state in states.items() if state == "waiting"],
        )
        if solid:
            if gone or waiting:
                await _strip(ctx, node.resource, obj, {*gone, *waiting})
            return
        if waiting and self.graph.dependents(node.uid):
            await ctx.delete(node.resource, obj, propagation="Foreground")
            return
        await ctx.delete(node.resource, obj, propagation=_policy(obj))

    async def _finish_foreground(self, ctx: ControllerContext, node: Node) -> None:
        """Let the object go once nothing that blocks it is left; else see that its dependents are deleted."""
        blocking = self.graph.blocking(node.uid)
        for dependent in self.graph.dependents(node.uid):
            if not dependent.deleting:
                self._look.put_nowait(dependent.uid)
        if not blocking:
            await _take_off(ctx, node, FOREGROUND)

    async def _orphan(self, ctx: ControllerContext, node: Node) -> None:
        """Take the owner off all its dependents; only then off with its finalizer."""
        for dependent in self.graph.dependents(node.uid):
            if dependent.resource is None:
                continue
            obj = await ctx.live(dependent.resource, dependent.key)
            if obj is not None and uid_of(obj) == dependent.uid:
                await _strip(ctx, dependent.resource, obj, {node.uid})
        await _take_off(ctx, node, ORPHAN)


def _policy(obj: Object) -> str:
    """A deletion policy that its finalizers already ask for wins."""
    finalizers = obj["metadata"].get("finalizers") or ()
    if ORPHAN in finalizers:
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers else "Background"


async def _strip(ctx: ControllerContext, resource: Resource, obj: Object, owners: set[UID]) -> None:
    kept = [ref for ref in owners_of(obj) if ref["uid"] not in owners]
    if len(kept) == len(list(owners_of(obj))):
        return
    metadata = {"ownerReferences": kept, "resourceVersion": obj["metadata"]["resourceVersion"], "uid": uid_of(obj)}
    await ctx.patch(resource, key_of(obj), {"metadata": metadata})


async def _take_off(ctx: ControllerContext, node: Node, finalizer: str) -> None:
    assert node.resource is not None
    obj = await ctx.live(node.resource, node.key)
    if obj is None or uid_of(obj) != node.uid:
        return
    finalizers = obj["metadata"].get("finalizers") or []
    if finalizer not in finalizers:
        return
    kept = [name for name in finalizers if name != finalizer]
    metadata = {"finalizers": kept, "resourceVersion": obj["metadata"]["resourceVersion"]}
    await ctx.patch(node.resource, node.key, {"metadata": metadata})


def controller(_config: Config) -> Controller:
    """A collector with a graph of its own."""
    collector = Collector()
    return Controller(
        name="garbage-collector-controller",
        service_account="generic-garbage-collector",
        reconcile=collector.reconcile,
        watches=(Watch(customresourcedefinitions.RESOURCE, keys=lambda *_: ()),),
        workers=20,
        ticks=collector.ticks,
        rules=(
            Rule("*.*", "delete,get,list,patch,update,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
