"""Counts each pod of a Job exactly once, whatever crashes in between.

A pod carries a finalizer until it is counted. First its UID goes into status.uncountedTerminatedPods; once that is
stored the finalizer is taken off; once the pod is seen without it, the UID becomes one more in succeeded or failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pynetes.controllers import _pods as podinfo
from pynetes.controllers.job import indexes, policy
from pynetes.machinery.meta import Object, is_deleting, uid_of

FINALIZER = "batch.kubernetes.io/job-tracking"
#: How many UIDs a status holds at most; the rest waits for the next round.
_UNCOUNTED = 500


@dataclass
class Tally:
    """The counts after a look at the pods."""

    succeeded: int = 0
    failed: int = 0
    uncounted_succeeded: list[str] = field(default_factory=list)
    uncounted_failed: list[str] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    #: Pods to take the finalizer off, once the status that names them is stored.
    release: list[Object] = field(default_factory=list)
    #: What the failure policy said first: the Job has failed.
    fail_job: str = ""
    #: What the failure policy did with pods that were not in the status yet, one action each.
    handled: list[str] = field(default_factory=list)

    @property
    def all_succeeded(self) -> int:
        """Successes, those included that are on their way to be counted."""
        return self.succeeded + len(self.uncounted_succeeded)

    @property
    def all_failed(self) -> int:
        """Failures, those included that are on their way to be counted."""
        return self.failed + len(self.uncounted_failed)


def has_finalizer(pod: Object) -> bool:
    """Whether the pod is not counted yet."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def has_failed(job: Object, pod: Object) -> bool:
    """Whether the pod counts as failed: also one that was deleted before it ended, unless only failed are replaced."""
    if podinfo.phase(pod) == "Failed":
        return True
    only_failed = job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy")
    return not only_failed and is_deleting(pod) and podinfo.phase(pod) != "Succeeded"


def tally(job: Object, pods: Sequence[Object], *, ending: bool) -> Tally:
    """Move every pod one step on. ending: the Job is over, so that what still runs has failed."""
    status = job.get("status") or {}
    uncounted = status.get("uncountedTerminatedPods") or {}
    result = Tally(
        succeeded=status.get("succeeded", 0),
        failed=status.get("failed", 0),
        completed=indexes.parse(status.get("completedIndexes")),
        failed_indexes=indexes.parse(status.get("failedIndexes")),
    )
    held = {uid_of(pod): pod for pod in pods if has_finalizer(pod)}
    indexed = indexes.is_indexed(job)
    for uid in uncounted.get("succeeded") or ():
        if uid in held:
            result.uncounted_succeeded.append(uid)
        elif not indexed:
            result.succeeded += 1
    for uid in uncounted.get("failed") or ():
        if uid in held:
            result.uncounted_failed.append(uid)
        else:
            result.failed += 1
    known = {*result.uncounted_succeeded, *result.uncounted_failed}
    for uid, pod in held.items():
        if uid in known:
            result.release.append(pod)
        elif len(result.uncounted_succeeded) + len(result.uncounted_failed) < _UNCOUNTED:
            _note(job, pod, uid, result, ending=ending)
    if indexed:
        result.succeeded = len(result.completed)
    return result


def _note(job: Object, pod: Object, uid: str, result: Tally, *, ending: bool) -> None:
    """A pod that is not in the status yet."""
    index = indexes.of(pod) if indexes.is_indexed(job) else None
    if podinfo.phase(pod) == "Succeeded":
        if index is None and indexes.is_indexed(job):
            result.release.append(pod)
            return
        if index is not None:
            completions = job["spec"].get("completions") or 0
            if index in result.completed or index >= completions:
                result.release.append(pod)
                return
            result.completed.add(index)
            result.failed_indexes.discard(index)
        result.uncounted_succeeded.append(uid)
        result.release.append(pod)
    elif has_failed(job, pod) or (ending and podinfo.is_terminal(pod)):
        _note_failure(job, pod, uid, index, result)
    elif ending and is_deleting(pod):
        result.uncounted_failed.append(uid)
        result.release.append(pod)


def _note_failure(job: Object, pod: Object, uid: str, index: int | None, result: Tally) -> None:
    verdict = policy.judge(job, pod)
    result.release.append(pod)
    if verdict.action:
        result.handled.append(verdict.action)
    if verdict.action == "Ignore":
        return
    if verdict.action == "FailJob" and not result.fail_job:
        result.fail_job = verdict.message
    result.uncounted_failed.append(uid)
    limit = job["spec"].get("backoffLimitPerIndex")
    gives_up = limit is not None and (verdict.action == "FailIndex" or failures_of(pod) + 1 > limit)
    if gives_up and index is not None and index not in result.completed:
        result.failed_indexes.add(index)


FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count"


def failures_of(pod: Object) -> int:
    """How often the pod's index had failed before this pod was made."""
    text = (pod["metadata"].get("annotations") or {}).get(FAILURE_COUNT) or ""
    return int(text) if text.isdecimal() else 0
