"""Gives each Service of type LoadBalancer its balancer, keeps it as the Service and the nodes are, and removes it.

The finalizer is set before the cloud is first asked, so that nothing can be made that nobody removes. The reconcile is
level-based: a Service edited while its balancer is being made is looked at once more when that is done. Balancers of
the cluster that no Service wants any more (somebody took the finalizer off) are removed by a look at all of them.
"""

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from pynetes.apis.core import nodes, services
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.cloud import names
from pynetes.cloud.controllers import _balancing as balancing
from pynetes.cloud.controllers._config import Config
from pynetes.cloud.provider import Balancer, Balancers, CloudError, Ensured, Refused, Unfinished, balancer_name
from pynetes.component import logs
from pynetes.component.metrics import REGISTRY
from pynetes.machinery.meta import Key, Object, is_deleting, key_of, uid_of

_LOG = logging.getLogger(__name__)
#: The key under which all balancers of the cluster are compared with all Services.
ORPHANS = Key("", "orphans")
_CHANGES = REGISTRY.counter("cloud_provider_changes_total", "Changes made to load balancers, one per sentence.")


class ServiceBalancers:
    """Balancers by Service UID, as this process last made them."""

    def __init__(self, config: Config, balancers: Balancers) -> None:
        self._config, self._balancers = config, balancers
        self._made: dict[str, Balancer] = {}

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        if key == ORPHANS:
            return await self._collect(ctx)
        service = await ctx.cached(services.RESOURCE, key)
        if service is None:
            return None
        if balancing.wants(service):
            return await self._ensure(ctx, service)
        if balancing.has_finalizer(service):
            await self._remove(ctx, service)
        return None

    async def _ensure(self, ctx: Context, service: Object) -> timedelta | None:
        try:
            wanted = balancing.balancer(service, balancing.targets(ctx.listed(nodes.RESOURCE)))
            before = self._made.get(uid_of(service))
            if before == wanted and await _is_told(ctx, service):
                return None
            if not wanted.targets:
                text = "There are no available nodes for LoadBalancer"
                ctx.event(service, "Warning", "UnAvailableLoadBalancer", text)
            only_nodes = before is not None and _same_but_targets(before, wanted)
            if not only_nodes and not balancing.ingress_of(service):
                ctx.event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
            service = await _finalizer(ctx, service, wanted=True)
            ensured = await self._balancers.ensure(wanted)
        except Unfinished as error:
            _LOG.info(logs.fact("balancer not ready", object=service, why=error))
            return timedelta(seconds=error.after)
        except Refused as error:
            # Nothing changes by trying again: the Service must, which wakes this again.
            _failed(ctx, service, error)
            return None
        except CloudError as error:
            _failed(ctx, service, error)
            raise
        await self._tell(ctx, service, ensured, only_nodes=only_nodes)
        self._made[uid_of(service)] = wanted
        return None

    async def _tell(self, ctx: Context, service: Object, ensured: Ensured, *, only_nodes: bool) -> None:
        told = balancing.ingress_of(service)
        for sentence in ensured.changes:
            _CHANGES.inc()
            _LOG.info(logs.fact("balancer changed", object=service, change=sentence))
        if told != list(ensured.ingress):
            await _status(ctx, service, list(ensured.ingress))
        if only_nodes and ensured.changes:
            ctx.event(service, "Normal", "UpdatedLoadBalancer", "Updated load balancer with new hosts")
        elif ensured.changes or not told:
            ctx.event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    async def _remove(self, ctx: Context, service: Object) -> None:
        ctx.event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        try:
            await self._balancers.delete(balancer_name(uid_of(service)))
        except CloudError as error:
            if not isinstance(error, Unfinished):
                _failed(ctx, service, error, what="delete")
            raise
        self._made.pop(uid_of(service), None)
        if balancing.ingress_of(service) and not is_deleting(service):
            service = await _status(ctx, service, [])
        await _finalizer(ctx, service, wanted=False)
        ctx.event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _collect(self, ctx: Context) -> timedelta | None:
        """Remove the cluster's balancers that no Service may still have."""
        listed = ctx.listed(services.RESOURCE)
        kept = {
            balancer_name(uid_of(each)) for each in listed if balancing.wants(each) or balancing.has_finalizer(each)
        }
        for name, key in (await self._balancers.names()).items():
            live = None if name in kept else await ctx.live(services.RESOURCE, key)
            if name in kept or (live is not None and balancer_name(uid_of(live)) == name and balancing.wants(live)):
                continue
            await self._balancers.delete(name)
            _LOG.warning(logs.fact("removed a balancer that no Service wants", name=name, service=key))
        return timedelta(seconds=self._config.orphan_period)


async def _is_told(ctx: Context, service: Object) -> bool:
    """Whether the Service has its address; the cache may be behind what was just written."""
    if balancing.ingress_of(service):
        return True
    live = await ctx.live(services.RESOURCE, key_of(service))
    return live is not None and bool(balancing.ingress_of(live))


def _same_but_targets(one: Balancer, other: Balancer) -> bool:
    return vars(one) | {"targets": ()} == vars(other) | {"targets": ()}


def _failed(ctx: Context, service: Object, error: CloudError, what: str = "ensure") -> None:
    if what == "delete":
        ctx.event(service, "Warning", "DeleteLoadBalancerFailed", f"Error deleting load balancer: {error}")
    else:
        text = f"Error syncing load balancer: failed to {what} load balancer: {error}"
        ctx.event(service, "Warning", "SyncLoadBalancerFailed", text)


async def _finalizer(ctx: Context, service: Object, *, wanted: bool) -> Object:
    """The Service with the finalizer there, or gone; a Service that is gone itself is no error."""
    if balancing.has_finalizer(service) == wanted:
        return service
    others = [name for name in service["metadata"].get("finalizers") or () if name != names.CLEANUP]
    finalizers = [*others, names.CLEANUP] if wanted else others
    patch = {"metadata": {"resourceVersion": service["metadata"]["resourceVersion"], "finalizers": finalizers or None}}
    return await ctx.patch(services.RESOURCE, key_of(service), patch)


async def _status(ctx: Context, service: Object, ingress: Sequence[Object]) -> Object:
    patch = {"status": {"loadBalancer": {"ingress": list(ingress) or None}}}
    return await ctx.patch(services.RESOURCE, key_of(service), patch, subresource="status")


def nodes_changed(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """Every Service with a balancer, when a node comes to serve or ceases to."""
    gone = old is node
    before = balancing.targets([old]) if old is not None else ()
    if gone or before != balancing.targets([node]):
        for service in lookup.listed(services.RESOURCE):
            if balancing.wants(service):
                yield key_of(service)


def wanting(_lookup: Lookup, service: Object, _old: Object | None) -> Iterator[Key]:
    """Services that have, want or had a balancer."""
    if balancing.wants(service) or balancing.has_finalizer(service):
        yield key_of(service)


async def begin(_ctx: Any) -> AsyncIterator[Key]:
    """One look at everything when starting."""
    yield ORPHANS


def controller(config: Config) -> Controller | None:
    """The controller for this cloud; None when it has no balancers."""
    if config.provider.balancers is None:
        return None
    return Controller(
        name="service-lb-controller",
        service_account="service-controller",
        reconcile=partial(ServiceBalancers.reconcile, ServiceBalancers(config, config.provider.balancers)),
        watches=(Watch(services.RESOURCE, keys=wanting), Watch(nodes.RESOURCE, keys=nodes_changed)),
        ticks=begin,
        workers=config.service_workers,
        rules=(
            Rule("services", "get,list,patch,update,watch"),
            Rule("services/status", "patch,update"),
            Rule("nodes", "get,list,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
