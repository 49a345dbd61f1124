"""Deployment: replicas of a pod, replaced step by step when the template changes."""

from pynetes.apis.apps import _workload
from pynetes.apis.core import _pod_defaults
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
)
