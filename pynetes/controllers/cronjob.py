"""CronJob: makes a Job whenever its schedule says so."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pynetes.apis.batch import cronjobs, jobs
from pynetes.client.controller import Context, Controller, Rule, Watch
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _cron as cron
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, is_deleting, key_of, uid_of

SCHEDULED_AT = "batch.kubernetes.io/cronjob-scheduled-timestamp"
#: After a start, the next look is this much past the minute, so that a clock a little behind does not miss it.
_SLACK = timedelta(milliseconds=100)
#: More missed starts than this are worth a warning: a clock jumped, or the CronJob slept for long.
_TOO_MANY = 100
_SKEW = REGISTRY.histogram(
    "cronjob_controller_job_creation_skew_duration_seconds",
    "Time between when a cronjob is scheduled to be run, and when the corresponding job is created",
    buckets=exponential(1, 2, 10),
)


class Due(NamedTuple):
    """The latest start that was missed (None: none), how many were, and the next one."""

    latest: datetime | None
    missed: int
    following: datetime | None


def due(cronjob: Object, schedule: cron.Schedule, zone: tzinfo, now: datetime) -> Due:
    """Which start is due; one older than startingDeadlineSeconds no longer counts."""
    status, spec = cronjob.get("status") or {}, cronjob["spec"]
    last = status.get("lastScheduleTime")
    earliest = time.parse(last) if last else podinfo.created(cronjob)
    if (deadline := spec.get("startingDeadlineSeconds")) is not None:
        earliest = max(earliest, now - timedelta(seconds=deadline))
    if schedule.every is not None:
        missed = max(0, (now - earliest) // schedule.every)
        latest = earliest + missed * schedule.every if missed else None
        return Due(latest, missed, (latest or earliest) + schedule.every)
    latest, missed = None, 0
    for moment in schedule.between(earliest, now, zone):
        latest, missed = moment, missed + 1
        if missed > _TOO_MANY:  # skip ahead: only the newest matters
            newest = list(schedule.between(now - timedelta(days=1), now, zone))
            latest = newest[-1] if newest else latest
            break
    return Due(latest, missed, schedule.next(now, zone))


def job_name(cronjob: Object, moment: datetime) -> str:
    """The Job's name carries its minute, so that a start is never made twice."""
    return f"{cronjob['metadata']['name']}-{int(moment.timestamp()) // 60}"


def build(cronjob: Object, moment: datetime, zone: tzinfo) -> Object:
    """The Job of a start."""
    template = cronjob["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    annotations = (metadata.get("annotations") or {}) | {
        SCHEDULED_AT: moment.astimezone(zone).isoformat().replace("+00:00", "Z")
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(cronjob, moment),
            "namespace": cronjob["metadata"]["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "annotations": annotations,
            "ownerReferences": [owned.reference(cronjobs.RESOURCE, cronjob)],
        },
        "spec": template["spec"],
    }


def is_finished(job: Object) -> bool:
    """Whether the Job is Complete or Failed."""
    return conditions.is_true(job, "Complete") or conditions.is_true(job, "Failed")


def surplus(cronjob: Object, mine: Sequence[Object]) -> list[Object]:
    """The oldest finished Jobs beyond the history limits."""
    gone: list[Object] = []
    for kind, name, default in (
        ("Complete", "successfulJobsHistoryLimit", 3),
        ("Failed", "failedJobsHistoryLimit", 1),
    ):
        limit = cronjob["spec"].get(name, default)
        finished = [job for job in mine if conditions.is_true(job, kind)]
        ordered = sorted(finished, key=lambda job: (job.get("status") or {}).get("startTime") or "")
        gone += ordered[: max(0, len(ordered) - limit)]
    return gone


async def reconcile(ctx: Context, key: Key) -> timedelta | None:
    cronjob = await ctx.cached(cronjobs.RESOURCE, key)
    if cronjob is None or is_deleting(cronjob):
        return None
    mine = list(ctx.listed(jobs.RESOURCE, index="controller", value=uid_of(cronjob)))
    for job in surplus(cronjob, mine):
        await _delete(ctx, cronjob, job)
    status = _follow(ctx, cronjob, mine)
    again = None
    if not cronjob["spec"].get("suspend"):
        status, again = await _start(ctx, cronjob, mine, status)
    await ctx.update_status(cronjobs.RESOURCE, cronjob | {"status": status})
    return again


def _follow(ctx: Context, cronjob: Object, mine: Sequence[Object]) -> Object:
    """The status with finished Jobs taken off its list."""
    status = dict(cronjob.get("status") or {})
    by_uid = {uid_of(job): job for job in mine}
    active: list[Object] = []
    for ref in status.get("active") or ():
        job = by_uid.get(ref["uid"])
        if job is None:
            ctx.event(cronjob, "Normal", "MissingJob", f"Active job went missing: {ref['name']}")
        elif is_finished(job):
            kind = "Complete" if conditions.is_true(job, "Complete") else "Failed"
            ctx.event(cronjob, "Normal", "SawCompletedJob", f"Saw completed job: {ref['name']}, condition: {kind}")
            if ended := (job.get("status") or {}).get("completionTime"):
                status["lastSuccessfulTime"] = max(ended, status.get("lastSuccessfulTime") or "")
        else:
            active.append(ref)
    known = {ref["uid"] for ref in active}
    # One that was made just before a crash; a Job that somebody made by hand from our template is not of the schedule.
    forgotten = (job for job in mine if SCHEDULED_AT in (job["metadata"].get("annotations") or {}))
    active += [_reference(job) for job in forgotten if uid_of(job) not in known and not is_finished(job)]
    return _with_active(status, active)


def _with_active(status: Object, active: list[Object]) -> Object:
    rest = {name: value for name, value in status.items() if name != "active"}
    return rest | ({"active": active} if active else {})


def _reference(job: Object) -> Object:
    names = ("name", "namespace", "uid", "resourceVersion")
    return {"kind": "Job", "apiVersion": "batch/v1"} | {name: job["metadata"][name] for name in names}


async def _start(
    ctx: Context, cronjob: Object, mine: Sequence[Object], status: Object
) -> tuple[Object, timedelta | None]:
    """Make the Job that is due; the new status, and when the next one is."""
    spec, now = cronjob["spec"], ctx.now()
    try:
        schedule = cron.parse(spec["schedule"])
        zone: tzinfo = ZoneInfo(spec["timeZone"]) if spec.get("timeZone") else UTC
    except ZoneInfoNotFoundError:
        ctx.event(cronjob, "Warning", "UnknownTimeZone", f"invalid timeZone: {spec['timeZone']}: unknown time zone")
        return status, None
    except ValueError as error:
        ctx.event(cronjob, "Warning", "UnparseableSchedule", f"unparseable schedule: {spec['schedule']!r}: {error}")
        return status, None
    found = due(cronjob | {"status": status}, schedule, zone, now)
    again = found.following - now + _SLACK if found.following else None
    if found.missed > _TOO_MANY:
        text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        ctx.event(cronjob, "Warning", "TooManyMissedTimes", text)
    if found.latest is None or any(job["metadata"]["name"] == job_name(cronjob, found.latest) for job in mine):
        return status, again
    active = list(status.get("active") or ())
    if active and spec.get("concurrencyPolicy") == "Forbid":
        text = "Not starting job because prior execution is running and concurrency policy is Forbid"
        ctx.event(cronjob, "Normal", "JobAlreadyActive", text)
        return status, again
    if spec.get("concurrencyPolicy") == "Replace":
        for job in mine:
            if not is_finished(job):
                await _delete(ctx, cronjob, job)
        active = []
    started = await _create(ctx, cronjob, build(cronjob, found.latest, zone))
    if started is None:
        return status, again
    _SKEW.observe((now - found.latest).total_seconds())
    made = _with_active(status, [*active, _reference(started)])
    return made | {"lastScheduleTime": time.rfc3339(found.latest)}, again


async def _create(ctx: Context, cronjob: Object, wanted: Object) -> Object | None:
    try:
        job = await ctx.create(jobs.RESOURCE, wanted)
    except StatusError as error:
        if error.reason == "AlreadyExists":
            there = await ctx.live(jobs.RESOURCE, key_of(wanted))
            return there if there is not None and owned.is_controlled_by(there, cronjob) else None
        if owned.namespace_is_terminating(error):
            return None
        ctx.event(cronjob, "Warning", "FailedCreate", f"Error creating job: {error}")
        raise
    ctx.event(cronjob, "Normal", "SuccessfulCreate", f"Created job {job['metadata']['name']}")
    return job


async def _delete(ctx: Context, cronjob: Object, job: Object) -> None:
    await ctx.delete(jobs.RESOURCE, job, propagation="Background")
    ctx.event(cronjob, "Normal", "SuccessfulDelete", f"Deleted job {job['metadata']['name']}")


CONTROLLER = Controller(
    name="cronjob-controller",
    reconcile=reconcile,
    watches=(Watch(cronjobs.RESOURCE), Watch(jobs.RESOURCE, owner=cronjobs.RESOURCE)),
    rules=(
        Rule("cronjobs.batch", "get,list,update,watch"),
        Rule("cronjobs.batch/status,cronjobs.batch/finalizers", "update"),
        Rule("jobs.batch", "create,delete,get,list,patch,update,watch"),
        Rule("pods", "delete,list,watch"),
        Rule("events,events.events.k8s.io", "create,patch,update"),
    ),
)
