"""Keeps the cloud's route table so that each node's pod network leads to that node.

The table is compared as a whole: routes of nodes that are gone are removed before new ones are made, since two nodes
can have had the same network. A node learns by its NetworkUnavailable condition whether its route is there.
"""

import ipaddress
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

from pynetes.apis.core import nodes
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.cloud.controllers._config import Config
from pynetes.cloud.inventory import Inventory
from pynetes.cloud.provider import CloudError, Route, Routes
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object, is_deleting

TABLE = Key("", "routes")
CONDITION = "NetworkUnavailable"
#: Seconds between two looks at a table that is as it should be.
AT_REST = 60.0


class Change(NamedTuple):
    """What to do to the table."""

    remove: tuple[Route, ...]
    create: tuple[Route, ...]


def wanted(all_nodes: Iterable[Object]) -> list[Route]:
    """One route per pod network of a node."""
    return [
        Route(cidr, node["metadata"]["name"])
        for node in all_nodes
        if not is_deleting(node)
        for cidr in node["spec"].get("podCIDRs") or ([node["spec"]["podCIDR"]] if node["spec"].get("podCIDR") else [])
    ]


def difference(want: Sequence[Route], have: Sequence[Route], cluster_cidrs: Sequence[str]) -> Change:
    """What makes have into want; routes outside the cluster's networks are somebody else's."""
    networks = [ipaddress.ip_network(cidr) for cidr in cluster_cidrs]
    pairs = {(route.cidr, route.node) for route in want}
    ours = [route for route in have if _inside(route.cidr, networks)]
    right = {(route.cidr, route.node) for route in ours if not route.dead}
    remove = tuple(route for route in ours if route.dead or (route.cidr, route.node) not in pairs)
    return Change(remove, tuple(route for route in want if (route.cidr, route.node) not in right))


def _inside(cidr: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    inner = ipaddress.ip_network(cidr, strict=False)
    return any(
        inner.version == outer.version and inner.prefixlen >= outer.prefixlen and inner.network_address in outer
        for outer in networks
    )


def condition(node: Object, *, available: bool, now: datetime) -> Object | None:
    """The node's new NetworkUnavailable condition; None when it says so already."""
    listed = (node.get("status") or {}).get("conditions") or ()
    old = next((each for each in listed if each["type"] == CONDITION), None)
    status = "False" if available else "True"
    if old is not None and old["status"] == status:
        return None
    reason = "RouteCreated" if available else "NoRouteCreated"
    message = "RouteController created a route" if available else "RouteController failed to create a route"
    stamps = {"lastTransitionTime": time.rfc3339(now), "lastHeartbeatTime": time.rfc3339(now)}
    return {"type": CONDITION, "status": status, "reason": reason, "message": message, **stamps}


class Table:
    """The cloud's table, as it was last seen."""

    def __init__(self, config: Config, routes: Routes) -> None:
        self._config, self._routes = config, routes
        self._inventory: Inventory[Route] = Inventory("routes", self._list, config.clock)

    async def _list(self) -> Sequence[Route]:
        # The instances are what all controllers share: looking at routes costs no describe call of theirs.
        return await self._routes.list(await self._config.machines.inventory.get())

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        listed = ctx.listed(nodes.RESOURCE)
        change = difference(wanted(listed), await self._inventory.get(), self._config.cluster_cidrs)
        failed: dict[str, CloudError] = {}
        for route in change.remove:
            await self._routes.delete(route)
        for route in change.create:
            try:
                await self._routes.create(route, await self._config.machines.inventory.get())
            except CloudError as error:
                failed[route.node] = error
        if change.remove or change.create:
            self._inventory.forget()
        for node in listed:
            await self._tell(ctx, node, failed.get(node["metadata"]["name"]))
        if failed:
            raise next(iter(failed.values()))
        return timedelta(seconds=self._config.route_reconciliation_period if any(change) else AT_REST)

    async def _tell(self, ctx: Context, node: Object, error: CloudError | None) -> None:
        if not node["spec"].get("podCIDR") or is_deleting(node):
            return
        told = condition(node, available=error is None, now=ctx.now())
        if told:
            key = Key("", node["metadata"]["name"])
            patch = {"status": {"conditions": [told]}}
            await ctx.patch(nodes.RESOURCE, key, patch, subresource="status", kind="strategic")
        if error:
            ctx.event(node, "Warning", "FailedToCreateRoute", f"Could not create route: {error}")


def changed(_lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """Any node that comes, goes, or gets its network."""
    if old is None or old is node or node["spec"].get("podCIDRs") != old["spec"].get("podCIDRs"):
        yield TABLE


async def begin(_ctx: Any) -> AsyncIterator[Key]:
    """One look when starting, for routes that were left behind while nobody looked."""
    yield TABLE


def controller(config: Config) -> Controller | None:
    """The controller for this cloud; None when its routes are not wanted, or it has none."""
    if config.provider.routes is None or not (config.configure_routes and config.cluster_cidrs):
        return None
    return Controller(
        name="node-route-controller",
        service_account="route-controller",
        reconcile=partial(Table.reconcile, Table(config, config.provider.routes)),
        watches=(Watch(nodes.RESOURCE, keys=changed),),
        ticks=begin,
        workers=1,
        rules=(
            Rule("nodes", "get,list,watch"),
            Rule("nodes/status", "patch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
