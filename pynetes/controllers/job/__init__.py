"""Job: runs pods until enough have succeeded, or too much has failed.

tracking.py counts the pods, outcome.py says whether the Job is over, podset.py which pods to make next. A Job ends in
two steps: a condition says what was decided, the remaining pods end and are counted, and only then the Job is Complete
or Failed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pynetes.apis.batch import jobs
from pynetes.apis.core import pods
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers.job import indexes, metrics, outcome, podset, tracking
from pynetes.controllers.job.outcome import Outcome
from pynetes.controllers.job.tracking import Tally
from pynetes.machinery import labels, time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.labels import Selector
from pynetes.machinery.meta import Key, Object, controller_of, is_deleting, key_of, uid_of

#: How many pods one reconcile creates or deletes at most.
BURST = 500


def selector(job: Object) -> Selector:
    """spec.selector; nothing until the API server has set it."""
    return labels.from_label_selector(job["spec"].get("selector"))


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    with metrics.syncing() as sync:
        return await _look(ctx, key, sync)


async def _look(ctx: Context, key: Key, sync: metrics.Sync) -> timedelta | None:
    job = await ctx.cached(jobs.RESOURCE, key)
    await _release(ctx, _left_behind(ctx, key, job))
    if job is None or job["spec"].get("managedBy") not in (None, "kubernetes.io/job-controller"):
        return None
    sync.mode = metrics.mode_of(job)
    known = ctx.satisfied(key)
    mine = await owned.claim(ctx, jobs.RESOURCE, job, pods.RESOURCE, selector(job))
    if is_deleting(job) or outcome.is_finished(job):
        await _release(ctx, [pod for pod in mine if tracking.has_finalizer(pod)])
        return None
    now = ctx.now()
    active = [pod for pod in mine if podinfo.is_active(pod)]
    tally = tracking.tally(job, mine, ending=outcome.decided(job) is not None)
    over = outcome.decide(job, tally, mine, len(active), now)
    suspended = bool(job["spec"].get("suspend"))
    again = None
    created = deleted = 0
    if known and (over or suspended):
        deleted = await _delete(ctx, key, job, active)
    elif known and not is_deleting(job):
        created, deleted, again = await _fill(ctx, key, job, mine, tally)
    sync.action = "pods_created" if created else "pods_deleted" if deleted else sync.action
    before = job
    running = len(active) + created - deleted
    terminating = sum(podinfo.is_terminating(pod) for pod in mine) + deleted
    job = job | {"status": _status(job, mine, tally, over, running, terminating, now)}
    _tell(ctx, before, job)
    written = await ctx.update_status(jobs.RESOURCE, job)
    metrics.written(before, written)
    for action in tally.handled:
        metrics.BY_POLICY.inc(action)
    await _release(ctx, tally.release)
    waits = [wait for wait in (again, outcome.deadline_in(written, now)) if wait is not None and wait > timedelta()]
    return None if outcome.is_finished(written) else min(waits, default=None)


def _status(
    job: Object,
    mine: Sequence[Object],
    tally: Tally,
    over: Outcome | None,
    active: int,
    terminating: int,
    now: datetime,
) -> Object:
    old: Object = job.get("status") or {}
    suspended = bool(job["spec"].get("suspend"))
    new: Object = {}
    if not suspended:
        new["startTime"] = old.get("startTime") or time.rfc3339(now)
    ready = sum(podinfo.is_ready(pod) and podinfo.is_active(pod) for pod in mine)
    counts = {"active": active, "succeeded": tally.succeeded, "failed": tally.failed}
    new |= {name: count for name, count in counts.items() if count}
    new |= {"ready": min(ready, active), "terminating": terminating}
    if indexes.is_indexed(job):
        new |= {"completedIndexes": text} if (text := indexes.write(tally.completed)) else {}
        if job["spec"].get("backoffLimitPerIndex") is not None:
            new["failedIndexes"] = indexes.write(tally.failed_indexes)
    uncounted = {"succeeded": tally.uncounted_succeeded, "failed": tally.uncounted_failed}
    new["uncountedTerminatedPods"] = {name: uids for name, uids in uncounted.items() if uids}
    told = _suspension(old.get("conditions") or [], now, suspended=suspended)
    if over is not None:
        told = conditions.put(told, over.target, "True", over.reason, over.message, now, lastProbeTime="")
        if not active and not terminating and not new["uncountedTerminatedPods"]:
            told = conditions.put(told, over.type, "True", over.reason, over.message, now, lastProbeTime="")
            if over.type == "Complete":
                new["completionTime"] = time.rfc3339(now)
    return new | ({"conditions": told} if told else {})


def _suspension(told: list[Object], now: datetime, *, suspended: bool) -> list[Object]:
    if suspended:
        return conditions.put(told, "Suspended", "True", "JobSuspended", "Job suspended", now, lastProbeTime="")
    if conditions.among(told, "Suspended") is not None:
        return conditions.put(told, "Suspended", "False", "JobResumed", "Job resumed", now, lastProbeTime="")
    return told


def _tell(ctx: Context, before: Object, after: Object) -> None:
    """Events for the conditions that are new."""
    for condition in after["status"].get("conditions") or ():
        old = conditions.find(before, condition["type"])
        if old is not None and old["status"] == condition["status"]:
            continue
        if condition["type"] == "Complete":
            ctx.event(after, "Normal", "Completed", "Job completed")
        elif condition["type"] == "Failed":
            ctx.event(after, "Warning", condition["reason"], condition["message"])
        elif condition["type"] == "Suspended":
            reason = "Suspended" if condition["status"] == "True" else "Resumed"
            ctx.event(after, "Normal", reason, condition["message"])


async def _fill(
    ctx: Context, key: Key, job: Object, mine: Sequence[Object], tally: Tally
) -> tuple[int, int, timedelta | None]:
    """Make or delete pods; how many of each, and when to look again because of earlier failures."""
    active = [pod for pod in mine if podinfo.is_active(pod)]
    wanted = podset.wanted(job, tally, len(active))
    if len(active) > wanted:
        victims = podinfo.first_to_go(active, len(active) - wanted, lambda _pod: 0)
        return 0, await _delete(ctx, key, job, victims), None
    only_failed = job["spec"].get("podReplacementPolicy") == "Failed"
    ending = sum(podinfo.is_terminating(pod) for pod in mine) if only_failed else 0
    missing = min(BURST, wanted - len(active) - ending)
    if missing <= 0:
        return 0, 0, None
    wait = podset.back_off(job, mine, ctx.now())
    if wait > timedelta():
        return 0, 0, wait
    numbers: list[int | None] = [None] * missing
    if indexes.is_indexed(job):
        numbers = [*podset.pending_indexes(job, tally, mine, missing)]
    return await _create(ctx, key, job, mine, numbers), 0, None


async def _create(ctx: Context, key: Key, job: Object, mine: Sequence[Object], numbers: Sequence[int | None]) -> int:
    ctx.expect(key, creates=len(numbers))

    async def make(position: int) -> None:
        index = numbers[position]
        failures = 0 if index is None else podset.failures_at(mine, index)
        await owned.create_pod(ctx, pods.RESOURCE, job, podset.build(job, index, failures))

    done, error = await owned.slow_start(len(numbers), make)
    # The rest of what was wanted was not tried any more.
    metrics.created(job, succeeded=done, failed=error is not None, again=podset.replaced(job, mine))
    if error is not None and not done and not owned.namespace_is_terminating(error):
        raise error
    return done


async def _delete(ctx: Context, key: Key, job: Object, victims: Sequence[Object]) -> int:
    ctx.expect(key, deletes=[uid_of(pod) for pod in victims])

    async def remove(number: int) -> None:
        await owned.delete_pod(ctx, pods.RESOURCE, job, victims[number])

    done, error = await owned.slow_start(len(victims), remove)
    if error is not None:
        raise error
    return done


def _left_behind(ctx: Context, key: Key, job: Object | None) -> list[Object]:
    """Pods of a Job of this name that is gone: nobody will count them, and their finalizer would keep them for ever."""
    tracked = ctx.listed(pods.RESOURCE, namespace=key.namespace, index="tracked", value=key.name)
    return [pod for pod in tracked if job is None or _job_of(pod)["uid"] != uid_of(job)]


def _job_of(pod: Object) -> Object:
    owner = controller_of(pod)
    return owner if owner and owner["kind"] == jobs.RESOURCE.kind else {"name": "", "uid": ""}


def _tracked(pod: Object) -> list[str]:
    """The name of the Job that is to count the pod."""
    return [_job_of(pod)["name"]] if tracking.has_finalizer(pod) else []


async def _release(ctx: Context, counted: Sequence[Object]) -> None:
    """Take the finalizer off pods that the status accounts for."""
    for pod in counted:
        kept = [name for name in pod["metadata"]["finalizers"] if name != tracking.FINALIZER]
        metadata = {"finalizers": kept, "uid": uid_of(pod), "resourceVersion": pod["metadata"]["resourceVersion"]}
        try:
            await ctx.patch(pods.RESOURCE, key_of(pod), {"metadata": metadata})
        except StatusError as error:
            if error.reason != "NotFound":
                raise


CONTROLLER = Controller(
    name="job-controller",
    reconcile=reconcile,
    watches=(
        Watch(jobs.RESOURCE),
        Watch(pods.RESOURCE, owner=jobs.RESOURCE, indexes={"tracked": _tracked}),
        owned.orphans(pods.RESOURCE, jobs.RESOURCE, selector),
    ),
    rules=(
        Rule("jobs.batch", "get,list,patch,update,watch"),
        Rule("jobs.batch/status,jobs.batch/finalizers", "update"),
        Rule("pods", "create,delete,list,patch,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
