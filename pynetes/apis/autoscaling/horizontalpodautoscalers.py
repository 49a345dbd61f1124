"""HorizontalPodAutoscaler: as many replicas as the load needs. Stored as autoscaling/v2; v1 is its smaller shape."""

from pynetes.apis.apps import _status, _workload
from pynetes.apis.autoscaling import _metrics, _v1, _validation
from pynetes.machinery import cells
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """One replica at least, and 80 % of the requested CPU unless told otherwise."""
    spec = obj.get("spec")
    if spec is None:
        return
    spec.setdefault("minReplicas", 1)
    if obj.get("apiVersion") == "autoscaling/v1":
        if _v1.METRICS not in (obj["metadata"].get("annotations") or {}):
            spec.setdefault("targetCPUUtilizationPercentage", _metrics.DEFAULT_UTILIZATION)
        return
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _metrics.DEFAULT_UTILIZATION}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if spec.get("behavior") is not None:
        _metrics.default_behavior(spec["behavior"])


RESOURCE = Resource(
    group="autoscaling",
    versions=("v2", "v1"),
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    short_names=("hpa",),
    categories=("all",),
    storage_version="v2",
    subresources=("status",),
    generation=False,
    default=default,
    validate=_validation.validate,
    prepare=_workload.reset_status({"currentMetrics": None, "desiredReplicas": 0}),
    prepare_status=_workload.keep_spec,
    validate_status=_status.counts(
        "currentReplicas",
        "desiredReplicas",
    ),
    convert=_v1.convert,
    columns=(
        Column("Reference", _metrics.reference),
        Column("Targets", _metrics.targets),
        Column("MinPods", cells.text(".spec.minReplicas", "<unset>")),
        Column("MaxPods", cells.path(".spec.maxReplicas", 0)),
        Column("Replicas", cells.path(".status.currentReplicas", 0)),
        Column.AGE,
    ),
)
