"""Cluster IPs: each one taken is an IPAddress object, so that the store itself decides between concurrent takers.

That holds across API servers too, upstream ones among them, because creating the object is what takes the address. An
address whose Service never came to be (a crash between the two writes) is free again after a minute.
"""

import random
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from pynetes.apis.core import services
from pynetes.apis.networking import ipaddresses, servicecidrs
from pynetes.apiserver.objects import Context
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

#: A Service is stored well within this time of its address.
ORPHANED = timedelta(seconds=60)
TRIES = 64
_SECONDS = REGISTRY.histogram(
    "kube_apiserver_clusterip_allocator_allocation_duration_seconds",
    "Duration in seconds to allocate a Cluster IP by ServiceCIDR",
    "cidr", buckets=(0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192),
)  # fmt: skip
_TAKEN = REGISTRY.counter(
    "kube_apiserver_clusterip_allocator_allocation_total", "Number of Cluster IPs allocations", "cidr", "scope"
)
_FAILED = REGISTRY.counter(
    "kube_apiserver_clusterip_allocator_allocation_errors_total",
    "Number of errors trying to allocate Cluster IPs", "cidr", "scope",
)  # fmt: skip


class Unavailable(Exception):
    """The address cannot be had; the text is upstream's."""


def family(network: Network | Address) -> str:
    """IPv4 or IPv6."""
    return f"IPv{network.version}"


def ranges(ctx: Context) -> list[Network]:
    """Where addresses come from: the configured ranges, then those of ServiceCIDRs that are ready and stay.

    One without the condition counts as ready: nobody may be there to set it."""
    found = list(ctx.settings.service_ranges)
    for obj in sorted(ctx.objects.list(servicecidrs.RESOURCE), key=lambda each: str(each["metadata"]["name"])):
        conditions = (obj.get("status") or {}).get("conditions") or ()
        ready = all(item.get("status") == "True" for item in conditions if item.get("type") == "Ready")
        if ready and not obj["metadata"].get("deletionTimestamp"):
            found += [network for text in obj["spec"].get("cidrs") or () if (network := ip_network(text)) not in found]
    return found


async def take(ctx: Context, text: str, service: Key, *, dry_run: bool) -> None:
    """Take one given address. Raises Unavailable."""
    address = ip_address(text)
    network = next((network for network in ranges(ctx) if _within(address, network)), None)
    if network is None:
        raise Unavailable("the provided network does not match the current range")
    with _SECONDS.timing(str(network)):
        taken = await _create(ctx, address, service, dry_run=dry_run)
    if not dry_run:
        (_TAKEN if taken else _FAILED).inc(str(network), "static")
    if not taken:
        raise Unavailable("provided IP is already allocated")


def _within(address: Address, network: Network) -> bool:
    """The network's own address and its broadcast address belong to nobody."""
    ends = address in (network.network_address, _last(network)) and network.num_addresses > 2
    return address in network and not ends


async def take_any(ctx: Context, name: str, service: Key, *, dry_run: bool) -> str:
    """Take a free address of a family, from the part of a range that is not kept for fixed ones. Raises Unavailable."""
    for network in ranges(ctx):
        if family(network) != name:
            continue
        with _SECONDS.timing(str(network)):
            found = await _any(ctx, network, service, dry_run=dry_run)
        if not dry_run:
            (_TAKEN if found else _FAILED).inc(str(network), "dynamic")
        if found:
            return found
    raise Unavailable("range is full")


async def _any(ctx: Context, network: Network, service: Key, *, dry_run: bool) -> str:
    first, last = 1, network.num_addresses - (2 if network.version == 4 else 1)
    reserved = min(max(16, network.num_addresses // 16), 256)
    lower = reserved if reserved < last else first
    for attempt in range(TRIES):
        address = network.network_address + random.randint(lower if attempt < TRIES // 2 else first, last)
        if await _try(ctx, address, service, dry_run=dry_run):
            return str(address)
    for offset in range(first, min(last, 1 << 20) + 1):
        address = network.network_address + offset
        if await _try(ctx, address, service, dry_run=dry_run):
            return str(address)
    return ""


async def release(ctx: Context, text: str, service: Key) -> None:
    """Give an address back, if it is this Service's."""
    key = Key("", text)
    found = ctx.objects.get(ipaddresses.RESOURCE, key)
    if found is None:
        await ctx.objects.fresh(ipaddresses.RESOURCE)
        found = ctx.objects.get(ipaddresses.RESOURCE, key)
    if found is not None and _parent(found) == service:
        await _delete(ctx, found, dry_run=False)


async def _delete(ctx: Context, obj: Object, *, dry_run: bool) -> None:
    """This very object: another one of its name is somebody else's."""
    only = {"preconditions": {"uid": obj["metadata"]["uid"]}}
    try:
        await ctx.objects.delete(ipaddresses.RESOURCE, key_of(obj), only, dry_run=dry_run)
    except StatusError as error:
        if error.reason not in ("NotFound", "Conflict"):
            raise


async def _try(ctx: Context, address: Address, service: Key, *, dry_run: bool) -> bool:
    # The cache saves a round trip for most addresses in use; the create decides.
    known = ctx.objects.get(ipaddresses.RESOURCE, Key("", str(address)))
    return known is None and await _create(ctx, address, service, dry_run=dry_run)


def _last(network: Network) -> Address:
    return network.broadcast_address if network.version == 4 else network.network_address


def _parent(obj: Object) -> Key:
    ref = obj["spec"].get("parentRef") or {}
    return Key(ref.get("namespace") or "", ref.get("name") or "")


async def _create(ctx: Context, address: Address, service: Key, *, dry_run: bool) -> bool:
    obj: Object = {
        "kind": "IPAddress",
        "apiVersion": ipaddresses.RESOURCE.api_version,
        "metadata": {
            "name": str(address),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": family(address),
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"resource": "services", "namespace": service.namespace, "name": service.name}},
    }
    for _ in range(2):
        try:
            await ctx.objects.create(ipaddresses.RESOURCE, obj, dry_run=dry_run)
            return True
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
        orphan = await _orphan(ctx, str(address))
        if orphan is None:
            return False
        await _delete(ctx, orphan, dry_run=dry_run)
    return False


async def _orphan(ctx: Context, text: str) -> Object | None:
    """The address's object, if its Service never came to be."""
    await ctx.objects.fresh(services.RESOURCE)
    found = ctx.objects.get(ipaddresses.RESOURCE, Key("", text))
    if found is None:
        return None
    if time.parse(found["metadata"]["creationTimestamp"]) + ORPHANED > ctx.clock.now():
        return None
    owner = ctx.objects.get(services.RESOURCE, _parent(found))
    return found if owner is None or text not in (owner["spec"].get("clusterIPs") or ()) else None
