"""Gives each node its part of the pod network: spec.podCIDR, which never changes afterwards."""

import ipaddress
from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial
from typing import TypeAlias

from pynetes.apis.core import nodes
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.component.metrics import REGISTRY
from pynetes.controllers._config import Config
from pynetes.machinery.meta import Key, Object, is_deleting

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


_ALLOCATED = REGISTRY.counter(
    "node_ipam_controller_cidrset_cidrs_allocations_total",
    "Counter measuring total number of CIDR allocations.",
    "clusterCIDR",
)
_USAGE = REGISTRY.gauge(
    "node_ipam_controller_cidrset_usage_cidrs", "Gauge measuring percentage of allocated CIDRs.", "clusterCIDR"
)
#: Misspelt, as upstream has it.
_MOST = REGISTRY.gauge(
    "node_ipam_controller_cirdset_max_cidrs", "Maximum number of CIDRs that can be allocated.", "clusterCIDR"
)


def taken(all_nodes: Iterable[Object]) -> set[str]:
    """The networks that nodes have."""
    return {
        cidr for node in all_nodes for cidr in node["spec"].get("podCIDRs") or (node["spec"].get("podCIDR"),) if cidr
    }


def free(cluster: Network, prefix: int, used: set[str]) -> str | None:
    """The first part of the cluster's network that no used one overlaps; None when all are taken."""
    if prefix < cluster.prefixlen:
        return None
    foreign = [net for each in used if (net := ipaddress.ip_network(each)).prefixlen != prefix]
    for part in cluster.subnets(new_prefix=prefix):
        if str(part) not in used and not any(part.version == net.version and part.overlaps(net) for net in foreign):
            return str(part)
    return None


class Allocator:
    """Remembers what it gave until the cache shows it, so that two nodes never get the same network."""

    def __init__(self, config: Config) -> None:
        networks = [ipaddress.ip_network(cidr) for cidr in config.cluster_cidrs]
        masks = {4: config.node_cidr_mask_ipv4, 6: config.node_cidr_mask_ipv6}
        self._networks = [(network, masks[network.version]) for network in networks]
        self._given: dict[str, tuple[str, ...]] = {}

    async def reconcile(self, ctx: Context, key: Key) -> timedelta | None:
        node = await ctx.cached(nodes.RESOURCE, key)
        if node is None:
            self._given.pop(key.name, None)
            return None
        if node["spec"].get("podCIDR") or is_deleting(node):
            if node["spec"].get("podCIDR"):
                self._given.pop(key.name, None)
            return None
        cidrs = self._given.get(key.name) or self._choose(ctx.listed(nodes.RESOURCE))
        if cidrs is None:
            text = f"Node {key.name} status is now: CIDRNotAvailable"
            ctx.event(node, "Normal", "CIDRNotAvailable", text)
            return None
        self._given[key.name] = cidrs
        await ctx.patch(nodes.RESOURCE, key, {"spec": {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)}})
        for network, _ in self._networks:
            _ALLOCATED.inc(str(network))
        return None

    def most(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """How many parts each of the cluster's networks has."""
        for network, prefix in self._networks:
            yield (str(network),), 1 << max(0, prefix - network.prefixlen)

    def usage(self, lookup: Lookup) -> Iterator[tuple[tuple[str, ...], float]]:
        """Which share of them nodes have."""
        used = [ipaddress.ip_network(each) for each in taken(lookup.listed(nodes.RESOURCE))]
        for (network, _), (labels, most) in zip(self._networks, self.most(), strict=True):
            inside = sum(one.version == network.version and one.overlaps(network) for one in used)
            yield labels, inside / most

    def _choose(self, all_nodes: Iterable[Object]) -> tuple[str, ...] | None:
        used = taken(all_nodes).union(*self._given.values())
        chosen = [free(network, prefix, used) for network, prefix in self._networks]
        return None if None in chosen else tuple(cidr for cidr in chosen if cidr)


def waiting(lookup: Lookup, node: Object, old: Object | None) -> Iterator[Key]:
    """The node itself; when a network came free, also the nodes that have none."""
    if old is node:
        others = (each for each in lookup.listed(nodes.RESOURCE) if not each["spec"].get("podCIDR"))
        yield from (Key("", each["metadata"]["name"]) for each in others)
    if old is node or not node["spec"].get("podCIDR") or (old and not old["spec"].get("podCIDR")):
        yield Key("", node["metadata"]["name"])


def controller(config: Config) -> Controller | None:
    """The allocator; None when nodes bring their networks themselves."""
    if not (config.allocate_node_cidrs and config.cluster_cidrs):
        return None
    allocator = Allocator(config)
    return Controller(
        name="node-ipam-controller",
        service_account="node-controller",
        reconcile=partial(Allocator.reconcile, allocator),
        watches=(Watch(nodes.RESOURCE, keys=waiting),),
        workers=1,
        shows=((_MOST, lambda _lookup: allocator.most()), (_USAGE, allocator.usage)),
        rules=(
            Rule("nodes", "get,list,patch,update,watch"),
            Rule("events,events.events.k8s.io", "create,patch,update"),
        ),
    )
