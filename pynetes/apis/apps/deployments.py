"""Deployment: replicas of a pod, replaced step by step when the template changes."""

from collections.abc import Iterator

from pynetes.apis.apps import _status, _validation, _workload
from pynetes.apis.core import _pod_defaults, _pod_warnings
from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource, Scale


def default(obj: Object) -> None:
    """Fill in replicas, strategy, history and deadline, and the template."""
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _pod_defaults.default_template(spec.get("template"))


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """Counts, strategy, selector and template."""
    spec = new["spec"]
    yield from _validation.counts(spec, "replicas")
    yield from _validation.selector_and_template(spec, "deployment")
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate") is not None:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        yield field.forbidden("spec.strategy.rollingUpdate", detail)
    elif strategy.get("type") == "RollingUpdate":
        yield from _validation.rolling(strategy.get("rollingUpdate"), "spec.strategy.rollingUpdate")
    elif strategy.get("type") != "Recreate":
        yield field.not_supported("spec.strategy.type", strategy.get("type"), ("Recreate", "RollingUpdate"))
    yield from _validation.counts(spec, "minReadySeconds", "revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    yield from validation.non_negative(deadline, "spec.progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        yield field.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


RESOURCE = Resource(
    group="apps",
    versions=("v1",),
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    subresources=("scale", "status"),
    scale=Scale(spec_path=".spec.replicas", status_path=".status.replicas", selector_path=".spec.selector"),
    default=default,
    prepare=_workload.reset_status(),
    prepare_status=_workload.keep_spec,
    validate_status=_status.counts(
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
        parts=("updatedReplicas", "readyReplicas", "availableReplicas"),
        ready="readyReplicas",
        collisions=True,
    ),
    immutable=("spec.selector",),
    columns=(
        Column("Ready", _workload.ready_of_desired),
        Column("Up-to-date", _workload.status_number("updatedReplicas")),
        Column("Available", _workload.status_number("availableReplicas")),
        Column.AGE,
        _workload.CONTAINERS,
        _workload.IMAGES,
        _workload.SELECTOR,
    ),
    validate=validate,
    warnings=_pod_warnings.of_template("spec", "template", named=True),
)
