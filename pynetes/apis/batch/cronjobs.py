"""CronJob: Jobs on a schedule."""

import zoneinfo
from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.batch import _job_rules
from pynetes.apis.batch import _schedule as _schedule_rules
from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import cells, field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_TEMPLATE = ".spec.jobTemplate.spec.template.spec"


def default(obj: Object) -> None:
    """Fill in policy and history; the Job itself gets its defaults when it is made."""
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    for rule in (job.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern["status"] = pattern.get("status") or "True"
    _pod_defaults.default_template(job.get("template"))


def _suspended(obj: Object, _: datetime) -> str:
    return str(bool(obj["spec"].get("suspend")))


_NAME_LIMIT = 52


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Schedule, policies and the Job in it."""
    spec = new["spec"]
    name = new["metadata"].get("name", "")
    if old is None and len(name) > _NAME_LIMIT:
        yield field.invalid("metadata.name", name, f"must be no more than {_NAME_LIMIT} characters")
    yield from _schedule(spec.get("schedule", ""), "spec.schedule")
    yield from validation.non_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    yield from _zone(spec.get("timeZone"), "spec.timeZone")
    yield from validation.one_of(
        spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", ("Allow", "Forbid", "Replace")
    )
    job, path = (spec.get("jobTemplate") or {}).get("spec") or {}, "spec.jobTemplate.spec"
    yield from _job_rules.spec_problems(job, path)
    if (selector := job.get("selector")) is not None:
        yield field.invalid(f"{path}.selector", selector, "`selector` will be auto-generated")
    if job.get("manualSelector"):
        yield field.not_supported(f"{path}.manualSelector", True, ("nil", "false"))
    for limit in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from validation.non_negative(spec.get(limit), f"spec.{limit}")


def _zone(zone: str | None, path: str) -> Iterator[field.Error]:
    if zone is None:
        return
    if not zone:
        yield field.invalid(path, zone, "timeZone must be nil or non-empty string")
        return
    if zone.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield field.invalid(path, zone, detail)
    elif zone not in zoneinfo.available_timezones():
        yield field.invalid(path, zone, f"unknown time zone {zone}")


def _schedule(text: str, path: str) -> Iterator[field.Error]:
    if not text:
        yield field.required(path)
    elif "TZ=" in text:
        yield field.invalid(path, text, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif problem := _schedule_rules.problem(text):
        yield field.invalid(path, text, problem)


RESOURCE = Resource(
    group="batch",
    versions=("v1",),
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    subresources=("status",),
    default=default,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Schedule", ".spec.schedule"),
        Column("Timezone", cells.path(".spec.timeZone", "<none>")),
        Column("Suspend", _suspended, type="boolean"),
        Column("Active", cells.count(".status.active"), type="integer"),
        Column("Last Schedule", cells.age(".status.lastScheduleTime", "<none>")),
        Column.AGE,
        Column("Containers", cells.containers(_TEMPLATE), wide=True),
        Column("Images", cells.images(_TEMPLATE), wide=True),
        Column("Selector", cells.selector(".spec.jobTemplate.spec.selector"), wide=True),
    ),
    validate=validate,
    warnings=_pod_warnings.of_template("spec", "jobTemplate", "spec", "template", named=True),
)
