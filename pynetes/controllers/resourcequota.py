"""Brings each ResourceQuota's status up to date: what its namespace uses of every limit.

Admission charges what is created; what goes, ends or shrinks again is counted here.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta

from pynetes.apis.core import _usage as usage
from pynetes.apis.core import pods
from pynetes.apis.core import resourcequotas as quotas
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _discovery as discovery
from pynetes.machinery.meta import Key, Object, is_deleting, key_of
from pynetes.machinery.quantity import Quantity
from pynetes.machinery.quantity import parse as quantity
from pynetes.machinery.resource import Resource

#: Objects that come and go by themselves all the time, and that nobody limits by count.
_UNCOUNTED = frozenset(("events", "leases"))


def counted() -> tuple[Resource, ...]:
    """The kinds that quotas may limit."""
    return tuple(each for each in discovery.builtin() if each.namespaced and each.plural not in _UNCOUNTED)


def used(quota: Object, objects: Mapping[Resource, Iterable[Object]]) -> dict[str, str]:
    """What the objects use of the quota's limits; a limit nothing uses is "0"."""
    hard = quota["spec"].get("hard") or {}
    total: dict[str, Quantity] = {name: quantity(0) for name in hard}
    for resource, found in objects.items():
        for obj in found:
            if not usage.in_scope(quota, resource, obj):
                continue
            for name, amount in usage.of(resource, obj).items():
                if name in total:
                    total[name] = total[name] + amount
    return {name: str(total[name]) for name in hard}


def concerns(resource: Resource, quota: Object) -> bool:
    """Whether the quota limits anything that objects of this kind can use."""
    names = quota["spec"].get("hard") or {}
    if f"count/{resource.qualified}" in names or (not resource.group and resource.plural in names):
        return True
    if resource == pods.RESOURCE:
        return any("." in name or name in usage.COMPUTE for name in names)
    prefixes = {"services": "services.", "persistentvolumeclaims": ""}
    prefix = prefixes.get(resource.plural) if not resource.group else None
    return prefix is not None and any(name.startswith(prefix) for name in names)


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    quota = await ctx.cached(quotas.RESOURCE, key)
    if quota is None or is_deleting(quota):
        return None
    objects: dict[Resource, Sequence[Object]] = {
        resource: ctx.listed(resource, namespace=key.namespace) for resource in counted() if concerns(resource, quota)
    }
    status = {"hard": quota["spec"].get("hard") or {}, "used": used(quota, objects)}
    await ctx.update_status(quotas.RESOURCE, quota | {"status": status})
    return None


def _woken_by(resource: Resource) -> Watch:
    def wake(lookup: Lookup, obj: Object, old: Object | None) -> Iterator[Key]:
        in_namespace = lookup.listed(quotas.RESOURCE, namespace=obj["metadata"].get("namespace") or "")
        if not in_namespace:
            return
        if old is not None and old is not obj and usage.of(resource, old) == usage.of(resource, obj):
            return
        yield from (key_of(quota) for quota in in_namespace if concerns(resource, quota))

    return Watch(resource, keys=wake)


CONTROLLER = Controller(
    name="resourcequota-controller",
    reconcile=reconcile,
    watches=(Watch(quotas.RESOURCE), *map(_woken_by, counted())),
    rules=(
        Rule("*.*", "list,watch"),
        Rule("resourcequotas/status", "update"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
