"""Removes bootstrap tokens whose time is over: who joins late is told so by a token that nobody knows."""

import base64
import binascii
from datetime import datetime, timedelta

from pynetes.apis.core import secrets
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.machinery.meta import Key, Object, is_deleting

TYPE, NAMESPACE = "bootstrap.kubernetes.io/token", "kube-system"


def time_left(secret: Object, now: datetime) -> timedelta | None:
    """Until it ends; None if it never does. One whose end cannot be read has ended: nobody is let in by it either."""
    text = (secret.get("data") or {}).get("expiration")
    if not text:
        return None
    try:
        return datetime.fromisoformat(base64.b64decode(text).decode()) - now
    except (ValueError, TypeError, binascii.Error):
        return timedelta()


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    secret = await ctx.cached(secrets.RESOURCE, key)
    if secret is None or secret.get("type") != TYPE or key.namespace != NAMESPACE or is_deleting(secret):
        return None
    left = time_left(secret, ctx.now())
    if left is None or left > timedelta():
        return left
    await ctx.delete(secrets.RESOURCE, secret)
    return None


CONTROLLER = Controller(
    name="token-cleaner-controller",
    service_account="token-cleaner",
    reconcile=reconcile,
    watches=(Watch(secrets.RESOURCE, field_selector=f"type={TYPE}"),),
    rules=(Rule("secrets", "get,list,watch,delete"), Rule("events,events.events.k8s.io", "create,patch,update")),
)
