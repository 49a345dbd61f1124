"""CronJob: Jobs on a schedule."""

from datetime import datetime

from pynetes.apis.apps import _workload
from pynetes.apis.core import _pod_defaults
from pynetes.machinery import cells
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
            pattern.setdefault("status", "True")
    _pod_defaults.default_template(job.get("template"))


def _suspended(obj: Object, _: datetime) -> str:
    return str(bool(obj["spec"].get("suspend")))


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
)
