"""A Job's pods: how many it wants now, of which index, how long to wait after failures, and what one looks like."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from pynetes.apis.batch import jobs
from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _owned as owned
from pynetes.controllers import _pods as podinfo
from pynetes.controllers.job import indexes, tracking
from pynetes.machinery import time
from pynetes.machinery.meta import Object

#: The wait after the first failure doubles with each further one, up to the last.
_BACKOFF = timedelta(seconds=10)
_LONGEST = timedelta(minutes=10)


def wanted(job: Object, tally: tracking.Tally, active: int) -> int:
    """How many pods should run now."""
    parallelism = job["spec"].get("parallelism", 1)
    completions = job["spec"].get("completions")
    if completions is None:
        return active if tally.all_succeeded > 0 else int(parallelism)
    done = len(tally.completed) + len(tally.failed_indexes) if indexes.is_indexed(job) else tally.all_succeeded
    return max(0, min(int(parallelism), int(completions) - done))


def pending_indexes(job: Object, tally: tracking.Tally, pods: Sequence[Object], count: int) -> list[int]:
    """The first count indexes that no pod works on and that are not over."""
    busy = {indexes.of(pod) for pod in pods if not podinfo.is_terminal(pod) and not tracking.has_failed(job, pod)}
    over = tally.completed | tally.failed_indexes
    free = (index for index in range(job["spec"].get("completions") or 0) if index not in busy and index not in over)
    return [index for _, index in zip(range(count), free, strict=False)]


def finished_at(pod: Object) -> datetime:
    """When the pod ended, as far as its status says."""
    status = pod.get("status") or {}
    ends = [
        time.parse(ended["finishedAt"])
        for container in status.get("containerStatuses") or ()
        if (ended := (container.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    if ends:
        return max(ends)
    ready = conditions.find(pod, "Ready")
    if ready is not None and (moment := conditions.transition(ready)):
        return moment
    deleted = pod["metadata"].get("deletionTimestamp")
    return time.parse(deleted) if deleted else podinfo.created(pod)


def back_off(job: Object, pods: Sequence[Object], now: datetime) -> timedelta:
    """How long to wait before the next pod: longer with every failure since the last success."""
    last_success = max((finished_at(pod) for pod in pods if podinfo.phase(pod) == "Succeeded"), default=None)
    failures = [finished_at(pod) for pod in pods if tracking.has_failed(job, pod)]
    recent = [moment for moment in failures if last_success is None or moment > last_success]
    if not recent:
        return timedelta()
    delay: timedelta = min(_BACKOFF * (1 << min(len(recent) - 1, 10)), _LONGEST)
    return max(timedelta(), max(recent) + delay - now)


def replaced(job: Object, pods: Sequence[Object]) -> str:
    """Which earlier pods a Job with a replacement policy may be replacing: "" none, else as the metric says it."""
    policy = job["spec"].get("podReplacementPolicy")
    failed = bool((job.get("status") or {}).get("failed")) or any(podinfo.phase(pod) == "Failed" for pod in pods)
    if policy == "Failed":
        return "failed" if failed else ""
    ending = failed or any(map(podinfo.is_terminating, pods))
    return "terminating_or_failed" if policy and ending else ""


def build(job: Object, index: int | None, failures: int) -> Object:
    """A pod of the Job; with an index, its name, hostname and environment carry it."""
    pod = owned.pod_from_template(job["spec"]["template"], jobs.RESOURCE, job)
    metadata = pod["metadata"]
    metadata["finalizers"] = [*(metadata.get("finalizers") or ()), tracking.FINALIZER]
    if index is None:
        return pod
    name = job["metadata"]["name"]
    metadata["generateName"] = f"{name}-{index}-"
    annotations = {indexes.ANNOTATION: str(index)}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        annotations[tracking.FAILURE_COUNT] = str(failures)
    metadata["annotations"] = (metadata.get("annotations") or {}) | annotations
    metadata["labels"] = (metadata.get("labels") or {}) | {indexes.ANNOTATION: str(index)}
    pod["spec"]["hostname"] = f"{name}-{index}"
    source = {"fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.labels['{indexes.ANNOTATION}']"}}
    for container in [*pod["spec"]["containers"], *(pod["spec"].get("initContainers") or ())]:
        if all(variable["name"] != "JOB_COMPLETION_INDEX" for variable in container.get("env") or ()):
            variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}
            container["env"] = [*(container.get("env") or ()), variable]
    return pod


def failures_at(pods: Sequence[Object], index: int) -> int:
    """How often an index has failed, from what its pods say."""
    mine = [pod for pod in pods if indexes.of(pod) == index and podinfo.phase(pod) == "Failed"]
    return max((tracking.failures_of(pod) + 1 for pod in mine), default=0)


def restarts(pods: Sequence[Object]) -> int:
    """Restarts of containers in pods that still run."""
    return sum(
        container.get("restartCount", 0)
        for pod in pods
        if podinfo.is_active(pod)
        for name in ("initContainerStatuses", "containerStatuses")
        for container in (pod.get("status") or {}).get(name) or ()
    )
