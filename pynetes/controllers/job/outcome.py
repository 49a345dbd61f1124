"""Whether a Job is over, and why."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from pynetes.controllers import _conditions as conditions
from pynetes.controllers.job import indexes, podset, policy
from pynetes.controllers.job.tracking import Tally
from pynetes.machinery import time
from pynetes.machinery.meta import Object


class Outcome(NamedTuple):
    """How a Job ends. type is Complete or Failed; target is the condition that says so while pods still end."""

    type: str
    reason: str
    message: str

    @property
    def target(self) -> str:
        """SuccessCriteriaMet or FailureTarget."""
        return "SuccessCriteriaMet" if self.type == "Complete" else "FailureTarget"


def is_finished(job: Object) -> bool:
    """Whether the Job is Complete or Failed."""
    return conditions.is_true(job, "Complete") or conditions.is_true(job, "Failed")


def decided(job: Object) -> Outcome | None:
    """What an earlier reconcile decided."""
    for target, kind in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        condition = conditions.find(job, target)
        if condition is not None and condition["status"] == "True":
            return Outcome(kind, condition.get("reason", ""), condition.get("message", ""))
    return None


def deadline_in(job: Object, now: datetime) -> timedelta | None:
    """How long the Job may still run; None without a deadline or while suspended."""
    seconds, start = job["spec"].get("activeDeadlineSeconds"), (job.get("status") or {}).get("startTime")
    if seconds is None or not start or job["spec"].get("suspend"):
        return None
    return time.parse(start) + timedelta(seconds=seconds) - now


def decide(job: Object, tally: Tally, pods: Sequence[Object], active: int, now: datetime) -> Outcome | None:
    """Whether the Job is over now."""
    return decided(job) or _failure(job, tally, pods, now) or _success(job, tally, active)


def _failure(job: Object, tally: Tally, pods: Sequence[Object], now: datetime) -> Outcome | None:
    spec = job["spec"]
    if tally.fail_job:
        return Outcome("Failed", "PodFailurePolicy", tally.fail_job)
    limit = spec.get("backoffLimit", 6)
    restarting = spec["template"]["spec"].get("restartPolicy") == "OnFailure"
    restarts = podset.restarts(pods) if restarting else 0
    if tally.all_failed > limit or (restarts > 0 and restarts >= limit):
        return Outcome("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = deadline_in(job, now)
    if left is not None and left <= timedelta():
        return Outcome("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.get("backoffLimitPerIndex") is not None and tally.failed_indexes:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(tally.failed_indexes) > most:
            text = "Job has exceeded the specified maximal number of failed indexes"
            return Outcome("Failed", "MaxFailedIndexesExceeded", text)
        if len(tally.failed_indexes) + len(tally.completed) >= spec.get("completions", 0):
            return Outcome("Failed", "FailedIndexes", "Job has failed indexes")
    return None


def _success(job: Object, tally: Tally, active: int) -> Outcome | None:
    if indexes.is_indexed(job) and (text := policy.succeeded(job, tally.completed)):
        return Outcome("Complete", "SuccessPolicy", text)
    completions = job["spec"].get("completions")
    if completions is None:
        reached = tally.all_succeeded > 0 and active == 0
    else:
        done = len(tally.completed) if indexes.is_indexed(job) else tally.all_succeeded
        reached = done >= completions
    if not reached or job["spec"].get("suspend"):
        return None
    return Outcome("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
