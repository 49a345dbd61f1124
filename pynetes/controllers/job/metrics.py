"""What is counted of Jobs, under upstream's names."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

from pynetes.component.metrics import REGISTRY, exponential
from pynetes.controllers import _conditions as conditions
from pynetes.controllers.job import indexes
from pynetes.machinery.meta import Object

SYNC_SECONDS = REGISTRY.histogram(
    "job_controller_job_sync_duration_seconds", "The time it took to sync a job",
    "completion_mode", "result", "action", buckets=exponential(0.004, 2, 15),
)  # fmt: skip
SYNCS = REGISTRY.counter(
    "job_controller_job_syncs_total", "The number of job syncs", "completion_mode", "result", "action"
)
JOBS_FINISHED = REGISTRY.counter(
    "job_controller_jobs_finished_total", "The number of finished jobs", "completion_mode", "result", "reason"
)
PODS_FINISHED = REGISTRY.counter(
    "job_controller_job_pods_finished_total",
    "The number of finished Pods that are fully tracked",
    "completion_mode", "result",
)  # fmt: skip
INDEXES_FINISHED = REGISTRY.counter(
    "job_controller_job_finished_indexes_total", "The number of finished indexes", "status", "backoffLimit"
)
PODS_CREATED = REGISTRY.counter(
    "job_controller_job_pods_creation_total", "The number of Pods created by the Job controller", "reason", "status"
)
BY_POLICY = REGISTRY.counter(
    "job_controller_pod_failures_handled_by_failure_policy_total",
    "The number of failed Pods handled by failure policy, by the action applied",
    "action",
)


@dataclass
class Sync:
    """One look at a Job: mode is known once the Job is, action is the last thing done."""

    mode: str = ""
    action: str = "reconciling"


def mode_of(job: Object) -> str:
    """spec.completionMode."""
    return "Indexed" if indexes.is_indexed(job) else "NonIndexed"


@contextmanager
def syncing() -> Iterator[Sync]:
    """Count the block, and how long it takes, unless no Job was found."""
    sync, began, result = Sync(), perf_counter(), "error"
    try:
        yield sync
        result = "success"
    finally:
        if sync.mode:
            SYNCS.inc(sync.mode, result, sync.action)
            SYNC_SECONDS.observe(perf_counter() - began, sync.mode, result, sync.action)


def written(before: Object, after: Object) -> None:
    """Count what a status tells more than the one before it; once it is stored, so that a conflict counts nothing."""
    old, new, mode = before.get("status") or {}, after.get("status") or {}, mode_of(after)
    for result in ("succeeded", "failed"):
        if (more := (new.get(result) or 0) - (old.get(result) or 0)) > 0:
            PODS_FINISHED.inc(mode, result, by=more)
    if mode == "Indexed":
        limit = "global" if after["spec"].get("backoffLimitPerIndex") is None else "perIndex"
        for status, member in (("succeeded", "completedIndexes"), ("failed", "failedIndexes")):
            if more := len(indexes.parse(new.get(member)) - indexes.parse(old.get(member))):
                INDEXES_FINISHED.inc(status, limit, by=more)
    for kind, result in (("Complete", "succeeded"), ("Failed", "failed")):
        if conditions.is_true(after, kind) and not conditions.is_true(before, kind):
            JOBS_FINISHED.inc(mode, result, (conditions.find(after, kind) or {}).get("reason") or "")


def created(job: Object, *, succeeded: int, failed: bool, again: str) -> None:
    """Count pods made; again says which pods they replace: "", "failed" or "terminating_or_failed". Of Jobs that do
    not say what is replaced nothing is counted, as upstream."""
    if job["spec"].get("podReplacementPolicy") is None:
        return
    reason = f"recreate_{again}" if again else "new"
    if succeeded:
        PODS_CREATED.inc(reason, "succeeded", by=succeeded)
    if failed:
        PODS_CREATED.inc(reason, "failed")
