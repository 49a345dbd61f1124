"""Job: pods that run until enough of them have succeeded."""

from collections.abc import Iterator
from datetime import datetime

from pynetes.apis.apps import _validation, _workload
from pynetes.apis.batch import _job_rules, _job_status
from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import cells, field, labels, names, time, validation
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
    found = ((job["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if found and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(found)


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
    made = template.setdefault("metadata", {}).setdefault("labels", {})
    for label, value in ((CONTROLLER_UID, uid), (JOB_NAME, name)):
        made.setdefault(label, value)
        made.setdefault(_LEGACY[label], value)
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
        conditions.add("Terminating")
    for condition in ("Complete", "Failed", "Terminating", "Suspended", "FailureTarget", "SuccessCriteriaMet"):
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
    if old is None:
        yield from _generated(new)
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
    else:
        yield from _hostname(new["metadata"].get("name") or "", spec)


def _generated(job: Object) -> Iterator[field.Error]:
    """A selector that is not the user's own is the one that was made, and the template has the labels for it."""
    spec, metadata = job["spec"], job["metadata"]
    selector, uid, name = spec.get("selector"), metadata.get("uid") or "", metadata.get("name") or ""
    if spec.get("manualSelector") or selector is None:
        return
    expected = {"controller-uid": uid, "job-name": name, CONTROLLER_UID: uid, JOB_NAME: name}
    given, path = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}, "spec.template.metadata"
    for label, value in expected.items():
        if label not in given:
            yield field.required(f"{path}.labels[{label}]", f"must be '{value}'")
        elif given[label] != value:
            yield field.invalid(f"{path}.labels[{label}]", dict(sorted(given.items())), f"must be '{value}'")
    try:
        made = labels.from_label_selector(selector).matches(expected)
    except ValueError:
        return
    if not made:
        yield field.invalid("spec.selector", selector, "`selector` not auto-generated")


def _hostname(name: str, spec: Object) -> Iterator[field.Error]:
    """The name with the highest index behind it is what a pod's host is called."""
    completions = spec.get("completions") or 0
    last = f"{name}-{completions - 1}"
    if spec.get("completionMode") == "Indexed" and completions > 0 and names.dns_label(last):
        detail = f"will not able to create pod with invalid DNS label: {last}"
        yield field.invalid("metadata.name", name, detail)


_FIXED = ("selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy")


def _unchanged(new: Object, old: Object) -> Iterator[field.Error]:
    spec, before = new["spec"], old["spec"]
    suspended = before.get("suspend") and not (old.get("status") or {}).get("startTime")
    if suspended:
        before = before | {"template": _like(before.get("template") or {}, spec.get("template") or {})}
    completions = spec.get("completions")
    indexed = spec.get("completionMode") == "Indexed"
    changed = None not in (completions, before.get("completions")) and completions != before["completions"]
    if indexed and changed and completions != spec.get("parallelism"):
        detail = "can only be modified in tandem with spec.parallelism"
        yield field.invalid("spec.completions", completions, detail)
    for name in (*(() if indexed else ("completions",)), *_FIXED, "successPolicy"):
        after = spec.get(name)
        if after != before.get(name):
            type_ = types.named("api.batch.v1.JobSpec").fields[name].type
            yield field.invalid(f"spec.{name}", gotext.shown(type_, after), "field is immutable")


def _like(old: Object, new: Object) -> Object:
    """The old template with what of the new one a queue may still decide, while the Job has not started: where its
    pods go, and what they get."""
    pod, wanted = dict(old.get("spec") or {}), new.get("spec") or {}
    for name in ("nodeSelector", "tolerations", "schedulingGates"):
        _take(pod, wanted, name)
    if "affinity" in pod or "affinity" in wanted:
        affinity = dict(pod.get("affinity") or {})
        _take(affinity, wanted.get("affinity") or {}, "nodeAffinity")
        _take(pod, {"affinity": affinity or ({} if wanted.get("affinity") == {} else None)}, "affinity")
    for kind in ("containers", "initContainers"):
        theirs = {item.get("name"): item for item in wanted.get(kind) or ()}
        if kind in pod:
            pod[kind] = [dict(item) for item in pod[kind] or ()]
        for item in pod.get(kind) or ():
            if item.get("name") in theirs:
                _take(item, theirs[item["name"]], "resources")
    metadata = dict(old.get("metadata") or {})
    for name in ("annotations", "labels"):
        _take(metadata, new.get("metadata") or {}, name)
    found = {**old, "spec": pod, "metadata": metadata}
    return found if metadata or "metadata" in new else {key: found[key] for key in found if key != "metadata"}


def _take(target: Object, source: Object, name: str) -> None:
    if source.get(name) is None:
        target.pop(name, None)
    else:
        target[name] = source[name]


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
