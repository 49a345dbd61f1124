"""Job: pods that run until enough of them have succeeded."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _validation, _workload
from pynetes.apis.batch import _job_rules, _job_status
from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import cells, field, time, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource
from pynetes.machinery.schema import gotext, types

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"
#: The longest value that a label can have.
LABEL_VALUE = 63
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
            pattern["status"] = pattern.get("status") or "True"
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
    if len(new["metadata"].get("name", "")) <= LABEL_VALUE:
        # Upstream copies the labels behind validation, which finds a name too long for a label in the template alone.
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


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Counts, policies, selector and template; the template is fixed once it exists."""
    spec = new["spec"]
    yield from _job_rules.spec_problems(spec, "spec")
    if spec.get("selector") is None:
        yield field.required("spec.selector")
    else:
        mistakes = list(validation.label_selector(spec["selector"], "spec.selector"))
        yield from mistakes
        if old is None and not mistakes:
            yield from _validation.matches(spec["selector"], spec.get("template") or {})
    if old is not None:
        yield from _unchanged(new, old)


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    suspended = old["spec"].get("suspend") and not (old.get("status") or {}).get("startTime")
    fixed = ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"]
    if not suspended:
        # While a Job has not started, a queue may still decide where its pods go.
        fixed.append("template")
    if new["spec"].get("completionMode") != "Indexed":
        fixed.append("completions")
    for name in fixed:
        after = new["spec"].get(name)
        if after != old["spec"].get(name):
            type_ = types.named("api.batch.v1.JobSpec").fields[name].type
            yield field.invalid(f"spec.{name}", gotext.shown(type_, after), "field is immutable")


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
    validate_status=_job_status.validate,
    columns=(
        Column("Status", _status),
        Column("Completions", _completions),
        Column("Duration", _duration),
        Column.AGE,
        _workload.CONTAINERS,
        _workload.IMAGES,
        Column("Selector", cells.selector(), wide=True),
    ),
    validate=validate,
    warnings=_pod_warnings.of_template("spec", "template", named=True),
)
