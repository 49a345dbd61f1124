"""ResourceQuota: the last policy, because it charges.

What is used is counted from the objects that exist, not read from the quota's status, which may be behind; writes on
their way in this process count as well. The status is brought up to date with every charge, for people to read.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from pynetes.apis import find
from pynetes.apis.core import _usage as usage
from pynetes.apis.core import resourcequotas
from pynetes.apis.core._usage import Usage
from pynetes.apiserver.admission.attributes import CREATE, UPDATE, Attributes, Policy
from pynetes.apiserver.objects import Context
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, key_of
from pynetes.machinery.quantity import parse as quantity
from pynetes.machinery.resource import Resource

#: A charged write that has not shown up by then has failed.
PENDING = timedelta(seconds=5)


class ResourceQuota(Policy):
    """Whatever some quota of the namespace limits."""

    name = "ResourceQuota"
    rules = resourcequotas.RESOURCE

    def __init__(self) -> None:
        self._pending: dict[tuple[str, Key], tuple[Resource, Object, datetime]] = {}

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Raises 403 when a quota would be exceeded."""
        obj = attributes.obj
        if obj is None or attributes.subresource or attributes.operation not in (CREATE, UPDATE):
            return
        if not attributes.namespace or attributes.resource is resourcequotas.RESOURCE:
            return
        quotas = list(ctx.objects.list(resourcequotas.RESOURCE, attributes.namespace))
        if not quotas:
            return
        added = _difference(attributes, obj)
        touched = [
            quota
            for quota in quotas
            if usage.in_scope(quota, attributes.resource, obj) and _limits(quota).keys() & added.keys()
        ]
        if attributes.operation == CREATE and attributes.on("", "pods", CREATE):
            _check_complete(attributes, quotas, obj)
        _check_known(attributes, quotas, obj)
        if not touched:
            return
        await ctx.objects.fresh(attributes.resource)
        charges = [(quota, self._check(ctx, attributes, quota, added)) for quota in touched]
        if attributes.dry_run:
            return
        if attributes.operation == CREATE and obj["metadata"].get("name"):
            key = Key(attributes.namespace, obj["metadata"]["name"])
            self._pending[attributes.resource.qualified, key] = attributes.resource, obj, ctx.clock.now()
        for quota, used in charges:
            await _show(ctx, quota, used)

    def _check(self, ctx: Context, attributes: Attributes, quota: Object, added: Usage) -> Usage:
        """The quota's usage with the object. Raises 403."""
        hard = _limits(quota)
        names = sorted(hard.keys() & added.keys())
        used = self._used(ctx, quota, attributes)
        over = [name for name in names if quantity(hard[name]) < used[name] + added[name]]
        if over:
            shown = ", ".join(
                f"{title}: {','.join(f'{name}={value(name)}' for name in over)}"
                for title, value in (
                    ("requested", lambda name: added[name]),
                    ("used", lambda name: used[name]),
                    ("limited", lambda name: hard[name]),
                )
            )
            raise attributes.forbidden(f"exceeded quota: {quota['metadata']['name']}, {shown}")
        return {name: used[name] + added[name] if name in added else used[name] for name in used}

    def _used(self, ctx: Context, quota: Object, attributes: Attributes) -> Usage:
        total = {name: quantity(0) for name in _limits(quota)}
        for resource in _counted(total, attributes.resource):
            for obj in self._existing(ctx, resource, attributes.namespace):
                if usage.in_scope(quota, resource, obj):
                    for name, amount in usage.of(resource, obj).items():
                        if name in total:
                            total[name] = total[name] + amount
        return total

    def _existing(self, ctx: Context, resource: Resource, namespace: str) -> Iterator[Object]:
        seen = set()
        for obj in ctx.objects.list(resource, namespace):
            seen.add(key_of(obj))
            yield obj
        now = ctx.clock.now()
        for (kind, key), (_, obj, since) in list(self._pending.items()):
            if kind == resource.qualified and key.namespace == namespace:
                if key in seen or now - since > PENDING:
                    del self._pending[kind, key]
                else:
                    yield obj


def _limits(quota: Object) -> Object:
    return (quota["spec"].get("hard")) or {}


def _difference(attributes: Attributes, obj: Object) -> Usage:
    """What the write adds; an update counts only where it asks for more."""
    now = usage.of(attributes.resource, obj)
    if attributes.operation == CREATE or attributes.old is None:
        return now
    before = usage.of(attributes.resource, attributes.old)
    grown = {name: amount - before.get(name, quantity(0)) for name, amount in now.items()}
    return {name: amount for name, amount in grown.items() if quantity(0) < amount}


def _counted(names: Usage, current: Resource) -> Iterator[Resource]:
    """The resources behind the names of a quota."""
    found = {current.qualified: current}
    for name in names:
        plural, _, group = _kind_of(name).partition(".")
        resource = find(group, plural)
        if resource is not None:
            found[resource.qualified] = resource
    yield from found.values()


def _resource_of(name: str) -> str:
    if name.startswith("services."):
        return "services"
    if name == "requests.storage" or usage.STORAGE_CLASS in name:
        return "persistentvolumeclaims"
    return name if name in usage.NAMED else "pods"


def _check_complete(attributes: Attributes, quotas: list[Object], pod: Object) -> None:
    for quota in quotas:
        if not usage.in_scope(quota, attributes.resource, pod):
            continue
        by_resource: dict[str, list[str]] = {}
        for name, container in usage.lacking(pod["spec"], _limits(quota)):
            by_resource.setdefault(name, []).append(container)
        if by_resource:
            listed = "; ".join(f"{name} for: {','.join(found)}" for name, found in sorted(by_resource.items()))
            raise attributes.forbidden(f"failed quota: {quota['metadata']['name']}: must specify {listed}")


def _check_known(attributes: Attributes, quotas: list[Object], obj: Object) -> None:
    """A status that says what is limited and not what is used of it stops everything, as upstream has it."""
    for quota in quotas:
        status = quota.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        if hard.keys() <= used.keys() or not usage.in_scope(quota, attributes.resource, obj):
            continue
        names = sorted(name for name in hard if _kind_of(name) == attributes.resource.qualified)
        if any(name not in used for name in names):
            text = f"status unknown for quota: {quota['metadata']['name']}, resources: {','.join(names)}"
            raise attributes.forbidden(text)


def _kind_of(name: str) -> str:
    return name.removeprefix("count/") if name.startswith("count/") else _resource_of(name)


async def _show(ctx: Context, quota: Object, used: Usage) -> None:
    shown = {name: str(amount) for name, amount in used.items()}

    def change(current: Object) -> Object:
        current["status"] = {"hard": dict(_limits(current)), "used": shown}
        return current

    try:
        await ctx.objects.update(resourcequotas.RESOURCE, key_of(quota), change)
    except StatusError as error:
        # It was deleted meanwhile: then it limits nothing either.
        if error.reason != "NotFound":
            raise
