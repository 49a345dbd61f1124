"""Job: pods that run until enough of them have succeeded."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _pod_defaults
from pynetes.machinery import cells, time
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
_LEGACY = {CONTROLLER_UID: "controller-uid", JOB_NAME: "job-name"}


def default(obj: Object) -> None:
    """Fill in counts, limits and modes, and the template."""
    spec = obj.get("spec")
    if spec is None:
        return
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 2**31 - 1 if "backoffLimitPerIndex" in spec else 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    policy = spec.get("podFailurePolicy")
    spec.setdefault("podReplacementPolicy", "Failed" if policy else "TerminatingOrFailed")
    for rule in (policy or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            pattern.setdefault("status", "True")
    _label_like_template(obj)
    _pod_defaults.default_template(spec.get("template"))


def _label_like_template(job: Object) -> None:
    labels = ((job["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


def prepare(new: Object, old: Object | None) -> None:
    """Reset the status; a new Job selects its pods by its own UID, unless the user selects."""
    _reset(new, old)
    spec = new.get("spec")
    if old is not None or spec is None:
        return
    if not spec.get("manualSelector"):
        _select_by_uid(new, spec)
    _label_like_template(new)


def _select_by_uid(new: Object, spec: Object) -> None:
    uid, name = new["metadata"].get("uid", ""), new["metadata"].get("name", "")
    template = spec.setdefault("template", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    for label, value in ((CONTROLLER_UID, uid), (JOB_NAME, name)):
        labels.setdefault(label, value)
        labels.setdefault(_LEGACY[label], value)
    selector = spec.setdefault("selector", {})
    selector.setdefault("matchLabels", {}).setdefault(CONTROLLER_UID, uid)


_reset = _workload.reset_status()


def finished(job: Object) -> str:
    """Complete or Failed once the Job has ended, else ""."""
    return next(
        (
            item["type"]
            for item in (job.get("status") or {}).get("conditions") or ()
            if item["type"] in ("Complete", "Failed") and item["status"] == "True"
        ),
        "",
    )


def _status(job: Object, _: datetime) -> str:
    conditions = {
        item["type"] for item in (job.get("status") or {}).get("conditions") or () if item["status"] == "True"
    }
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Complete", "Failed", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition in conditions:
            return condition
    return "Running"


def _completions(job: Object, _: datetime) -> str:
    spec, succeeded = job["spec"], (job.get("status") or {}).get("succeeded") or 0
    if "completions" in spec:
        return f"{succeeded}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _duration(job: Object, now: datetime) -> str:
    status = job.get("status") or {}
    if not status.get("startTime"):
        return ""
    end = time.parse(status["completionTime"]) if status.get("completionTime") else now
    return time.human(end - time.parse(status["startTime"]))


RESOURCE = Resource(
    group="batch",
    versions=("v1",),
    kind="Job",
    plural="jobs",
    categories=("all",),
    subresources=("status",),
    fields={"status.successful": lambda obj, _: str((obj.get("status") or {}).get("succeeded") or 0)},
    default=default,
    prepare=prepare,
    prepare_status=_workload.keep_spec,
    columns=(
        Column("Status", _status),
        Column("Completions", _completions),
        Column("Duration", _duration),
        Column.AGE,
        _workload.CONTAINERS,
        _workload.IMAGES,
        Column("Selector", cells.selector(), wide=True),
    ),
)
