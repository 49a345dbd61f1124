"""Deletes finished Jobs once .spec.ttlSecondsAfterFinished has passed."""

from datetime import datetime, timedelta

from pynetes.apis.batch import jobs
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.controllers import _conditions as conditions
from pynetes.machinery.meta import Key, Object, is_deleting

_LATE = REGISTRY.histogram(
    "ttl_after_finished_controller_job_deletion_duration_seconds",
    "The time it took to delete the job since it became eligible for deletion",
    buckets=exponential(0.1, 2, 14),
)


def finished_at(job: Object) -> datetime | None:
    """When the Job became Complete or Failed; None while it runs."""
    for kind in ("Complete", "Failed"):
        condition = conditions.find(job, kind)
        if condition is not None and condition["status"] == "True":
            return conditions.transition(condition)
    return None


def time_left(job: Object, now: datetime) -> timedelta | None:
    """How long the Job may still live; None if it is not ours to delete."""
    ttl, finished = job["spec"].get("ttlSecondsAfterFinished"), finished_at(job)
    if ttl is None or finished is None or is_deleting(job):
        return None
    return finished + timedelta(seconds=ttl) - now


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    # The cache only says when to look; the decision to delete needs the live object.
    job, left = None, None
    for read in (ctx.cached, ctx.live):
        job = await read(jobs.RESOURCE, key)
        left = time_left(job, ctx.now()) if job else None
        if left is None or left > timedelta():
            return left
    if job is not None:
        await ctx.delete(jobs.RESOURCE, job, propagation="Foreground")
        _LATE.observe(-left.total_seconds() if left is not None else 0.0)
    return None


CONTROLLER = Controller(
    name="ttl-after-finished-controller",
    reconcile=reconcile,
    watches=(Watch(jobs.RESOURCE),),
    rules=(
        Rule("jobs.batch", "delete,get,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
