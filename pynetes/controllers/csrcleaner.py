"""Deletes certificate requests that are over: issued or denied an hour ago, or unanswered for a day."""

from datetime import datetime, timedelta

from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import time
from pynetes.machinery.meta import Key, Object

_ANSWERED = timedelta(hours=1)
_PENDING = timedelta(hours=24)


def time_left(csr: Object, now: datetime) -> timedelta:
    """How long the request may still be kept."""
    answered = [
        time.parse(moment)
        for each in (csr.get("status") or {}).get("conditions") or ()
        if (moment := each.get("lastUpdateTime") or each.get("lastTransitionTime"))
    ]
    if answered:
        return max(answered) + _ANSWERED - now
    return podinfo.created(csr) + _PENDING - now


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    csr = await ctx.cached(requests.RESOURCE, key)
    if csr is None:
        return None
    left = time_left(csr, ctx.now())
    if left > timedelta():
        return left
    await ctx.delete(requests.RESOURCE, csr)
    return None


CONTROLLER = Controller(
    name="certificatesigningrequest-cleaner-controller",
    service_account="certificate-controller",
    reconcile=reconcile,
    watches=(Watch(requests.RESOURCE),),
    rules=(Rule("certificatesigningrequests.certificates.k8s.io", "delete,get,list,watch"),),
)
