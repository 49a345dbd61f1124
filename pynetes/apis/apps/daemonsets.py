"""DaemonSet: one pod on every node that fits."""

from collections.abc import Iterator

from pynetes.apis.apps import _status, _validation, _workload
from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import cells, field
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource

_EMPTY = ("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady")
#: Older clients read the template's generation here.
GENERATION = "deprecated.daemonset.template.generation"


def default(obj: Object) -> None:
    """Fill in update strategy and history, and the template."""
    spec = obj.get("spec")
    if spec is None:
        return
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    obj["metadata"].setdefault("annotations", {}).setdefault(GENERATION, "1")
    _pod_defaults.default_template(spec.get("template"))


def prepare(new: Object, old: Object | None) -> None:
    """Reset the status; count the changes of the template."""
    _reset(new, old)
    annotations = new["metadata"].setdefault("annotations", {})
    if old is None:
        annotations[GENERATION] = "1"
        return
    before = (old["metadata"].get("annotations") or {}).get(GENERATION, "1")
    changed = new["spec"].get("template") != old["spec"].get("template")
    annotations[GENERATION] = str(int(before) + 1) if changed else before


_reset = _workload.reset_status(dict.fromkeys(_EMPTY, 0))


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Counts, strategy, selector and template."""
    spec = new["spec"]
    yield from _validation.selector_and_template(spec, "daemonset")
    yield from _validation.counts(spec, "minReadySeconds")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "RollingUpdate":
        yield from _validation.rolling_nodes(strategy.get("rollingUpdate"), "spec.updateStrategy.rollingUpdate")
    elif strategy.get("type") != "OnDelete":
        yield field.not_supported("spec.updateStrategy.type", strategy.get("type"), ("RollingUpdate", "OnDelete"))
    yield from _validation.counts(spec, "revisionHistoryLimit")


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    subresources=("status",),
    default=default,
    prepare=prepare,
    prepare_status=_workload.keep_spec,
    validate_status=_status.counts(
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
        collisions=True,
    ),
    immutable=("spec.selector",),
    columns=(
        Column("Desired", _workload.status_number("desiredNumberScheduled"), type="integer"),
        Column("Current", _workload.status_number("currentNumberScheduled"), type="integer"),
        Column("Ready", _workload.status_number("numberReady"), type="integer"),
        Column("Up-to-date", _workload.status_number("updatedNumberScheduled"), type="integer"),
        Column("Available", _workload.status_number("numberAvailable"), type="integer"),
        Column("Node Selector", cells.label_map(".spec.template.spec.nodeSelector")),
        Column.AGE,
        _workload.CONTAINERS,
        _workload.IMAGES,
        _workload.SELECTOR,
    ),
    validate=validate,
    warnings=_pod_warnings.of_template("spec", "template"),
)
