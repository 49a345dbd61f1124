"""Says of each ServiceCIDR that it is ready, and keeps one that is deleted while only it has addresses that are in use.

Once nothing depends on it, it stays for ten seconds more, so that every API server has heard that it is going before
its addresses belong to nobody (KEP-1880).
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from pynetes.apis.networking import ipaddresses, servicecidrs
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _conditions
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object, is_deleting, key_of

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
MANAGED_BY, ALLOCATOR = "ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"
GRACE = timedelta(seconds=10)
READY = "Kubernetes Service CIDR is ready"
IN_USE = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"


def has(cidr: Object, address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is in one of its ranges."""
    return any(address in ip_network(text, strict=False) for text in cidr["spec"].get("cidrs") or ())


def needed(cidr: Object, all_of_them: Sequence[Object], addresses: Sequence[Object]) -> bool:
    """Whether some Service has an address from here which no other range that stays has too."""
    others = [each for each in all_of_them if key_of(each) != key_of(cidr) and not is_deleting(each)]
    managed = (each for each in addresses if (each["metadata"].get("labels") or {}).get(MANAGED_BY) == ALLOCATOR)
    taken = (ip_address(each["metadata"]["name"]) for each in managed)
    return any(has(cidr, address) and not any(has(other, address) for other in others) for address in taken)


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    cidr = await ctx.cached(servicecidrs.RESOURCE, key)
    if cidr is None:
        return None
    finalizers: list[str] = cidr["metadata"].get("finalizers") or []
    if not is_deleting(cidr):
        if FINALIZER not in finalizers:
            cidr = await _with(ctx, cidr, [*finalizers, FINALIZER])
        if not _conditions.is_true(cidr, "Ready"):
            await _say(ctx, cidr, "True", "", READY)
        return None
    if FINALIZER not in finalizers:
        return None
    if needed(cidr, ctx.listed(servicecidrs.RESOURCE), ctx.listed(ipaddresses.RESOURCE)):
        await _say(ctx, cidr, "False", "Terminating", IN_USE)
        return None
    left = time.parse(cidr["metadata"]["deletionTimestamp"]) + GRACE - ctx.now()
    if left > timedelta():
        return left
    await _with(ctx, cidr, [each for each in finalizers if each != FINALIZER])
    return None


async def _with(ctx: Context, cidr: Object, finalizers: list[str]) -> Object:
    return await ctx.update(servicecidrs.RESOURCE, cidr | {"metadata": cidr["metadata"] | {"finalizers": finalizers}})


async def _say(ctx: Context, cidr: Object, status: str, reason: str, message: str) -> None:
    told = _conditions.put(
        (cidr.get("status") or {}).get("conditions") or (), "Ready", status, reason, message, ctx.now()
    )
    # The type has them always, even where they say nothing.
    told = [{"reason": "", "message": "", **each} for each in told]
    await ctx.update_status(servicecidrs.RESOURCE, cidr | {"status": {"conditions": told}})


def _everyone(lookup: Lookup, _new: Object, _old: Object | None) -> Iterator[Key]:
    """What one range may go for, another may have to stay for."""
    yield from map(key_of, lookup.listed(servicecidrs.RESOURCE))


def _leaving(lookup: Lookup, address: Object, _old: Object | None) -> Iterator[Key]:
    found = ip_address(address["metadata"]["name"])
    for cidr in lookup.listed(servicecidrs.RESOURCE):
        if is_deleting(cidr) and has(cidr, found):
            yield key_of(cidr)


CONTROLLER = Controller(
    name="service-cidr-controller",
    service_account="service-cidrs-controller",
    reconcile=reconcile,
    watches=(Watch(servicecidrs.RESOURCE, keys=_everyone), Watch(ipaddresses.RESOURCE, keys=_leaving)),
    rules=(
        Rule("servicecidrs.networking.k8s.io", "get,list,patch,update,watch"),
        Rule("servicecidrs.networking.k8s.io/finalizers", "patch,update"),
        Rule("servicecidrs.networking.k8s.io/status", "patch,update"),
        Rule("ipaddresses.networking.k8s.io", "get,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
