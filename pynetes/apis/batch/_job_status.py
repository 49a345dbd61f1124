"""What the status of a Job may not say, above all how it may end."""

from collections.abc import Iterator

from pynetes.machinery import field, time, validation
from pynetes.machinery.meta import Object

_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Counts from 0 up, and an end that fits its beginning. Upstream looks only at what this write changes."""
    status, before = new.get("status") or {}, (old or {}).get("status") or {}
    for name in _COUNTS:
        yield from validation.non_negative(status.get(name), f"status.{name}")
    if (status.get("ready") or 0) > (status.get("active") or 0) and status.get("ready") != before.get("ready"):
        yield field.invalid("status.ready", status["ready"], "cannot set more ready pods than active")
    if status.get("conditions") != before.get("conditions") or status.get("completionTime") != before.get(
        "completionTime"
    ):
        yield from _ending(status)
    if old is not None and before.get("startTime") and status.get("startTime") != before["startTime"]:
        suspended = (old.get("spec") or {}).get("suspend") or (new.get("spec") or {}).get("suspend")
        if not suspended and not status.get("startTime"):
            yield field.required("status.startTime", "startTime cannot be removed for unsuspended job")
        elif not suspended:
            yield field.invalid("status.startTime", status["startTime"], "field is immutable")


def _omitted(detail: str) -> field.Error:
    return field.Error("FieldValueInvalid", "status.conditions", f"Invalid value: {detail}")


def _ending(status: Object) -> Iterator[field.Error]:
    conditions = {item.get("type"): item.get("status") == "True" for item in status.get("conditions") or ()}
    complete, failed = conditions.get("Complete"), conditions.get("Failed")
    started, ended = status.get("startTime"), status.get("completionTime")
    if complete and failed:
        yield _omitted("cannot set Complete=True and Failed=true conditions")
    if complete and conditions.get("FailureTarget"):
        yield _omitted("cannot set Complete=True and FailureTarget=true conditions")
    if ended and not complete:
        detail = "cannot set completionTime when there is no Complete=True condition"
        yield field.invalid("status.completionTime", ended, detail)
    if complete and not ended:
        yield field.required("status.completionTime", "completionTime is required for Complete jobs")
    if started and ended and time.parse(ended) < time.parse(started):
        yield field.invalid("status.completionTime", ended, "completionTime cannot be set before startTime")
    if failed and not conditions.get("FailureTarget"):
        yield _omitted("cannot set Failed=True condition without the FailureTarget=true condition")
    if complete and not conditions.get("SuccessCriteriaMet"):
        yield _omitted("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")
    if complete or failed:
        yield from _finished(status)


def _finished(status: Object) -> Iterator[field.Error]:
    if (active := status.get("active") or 0) > 0:
        yield field.invalid("status.active", active, "active>0 is invalid for finished job")
    if (terminating := status.get("terminating") or 0) > 0:
        yield field.invalid("status.terminating", terminating, "terminating>0 is invalid for finished job")
    if not status.get("startTime"):
        yield field.required("status.startTime", "startTime is required for finished job")
    uncounted = status.get("uncountedTerminatedPods") or {}
    if any(uncounted.values()):
        detail = "uncountedTerminatedPods needs to be empty for finished job"
        yield field.invalid("status.uncountedTerminatedPods", uncounted, detail)
