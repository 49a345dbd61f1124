"""Gives every namespace its ServiceAccount "default", which pods that name none run as."""

from collections.abc import Iterator
from datetime import timedelta

from pynetes.apis.core import namespaces, serviceaccounts
from pynetes.client.controller import Context, Controller, Lookup, Rule, Watch
from pynetes.controllers import _owned as owned
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting

NAMES = ("default",)


def wants_accounts(namespace: Object | None) -> bool:
    """Whether the namespace lives, so that objects may be made in it."""
    if namespace is None or is_deleting(namespace):
        return False
    return bool((namespace.get("status") or {}).get("phase", "Active") == "Active")


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    if not wants_accounts(await ctx.cached(namespaces.RESOURCE, key)):
        return None
    for name in NAMES:
        if await ctx.cached(serviceaccounts.RESOURCE, Key(key.name, name)) is None:
            await _create(ctx, key.name, name)
    return None


async def _create(ctx: Context, namespace: str, name: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    try:
        await ctx.create(serviceaccounts.RESOURCE, account)
    except StatusError as error:
        if error.reason not in ("AlreadyExists", "NotFound") and not owned.namespace_is_terminating(error):
            raise


def of_account(_lookup: Lookup, account: Object, old: Object | None) -> Iterator[Key]:
    """A vanished account of ours wakes its namespace."""
    if old is account and account["metadata"]["name"] in NAMES:
        yield Key("", account["metadata"]["namespace"])


CONTROLLER = Controller(
    name="serviceaccount-controller",
    service_account="service-account-controller",
    reconcile=reconcile,
    watches=(Watch(namespaces.RESOURCE), Watch(serviceaccounts.RESOURCE, keys=of_account)),
    rules=(
        Rule("namespaces,serviceaccounts", "list,watch"),
        Rule("serviceaccounts", "create"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
