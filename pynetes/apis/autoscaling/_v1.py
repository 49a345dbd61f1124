"""Conversion between autoscaling/v2, which is stored, and v1, which knows one CPU target.

What v1 cannot say travels in annotations, as upstream has it, so that a read and write through v1 loses nothing.
"""

import copy

import orjson

from pynetes.machinery.meta import Object

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_CURRENT = "autoscaling.alpha.kubernetes.io/current-metrics"


def convert(obj: Object, source: str, target: str) -> Object:
    """The autoscaler in the target apiVersion."""
    if source == target:
        return obj
    converted = copy.deepcopy(obj)
    converted["apiVersion"] = target
    if target == "autoscaling/v1":
        _to_v1(converted)
    else:
        _to_v2(converted)
    return converted


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or resource.get("current") or {}
    return metric.get("type") == "Resource" and resource.get("name") == "cpu" and "averageUtilization" in target


def _to_v1(obj: Object) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    kept: dict[str, object] = {}
    metrics = spec.pop("metrics", None) or []
    cpu = next((metric for metric in metrics if _is_cpu(metric)), None)
    if cpu:
        spec["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"]
    if others := [metric for metric in metrics if metric is not cpu]:
        kept[METRICS] = others
    if behavior := spec.pop("behavior", None):
        kept[_BEHAVIOR] = behavior
    current = status.pop("currentMetrics", None) or []
    now = next((metric for metric in current if _is_cpu(metric)), None)
    if now:
        status["currentCPUUtilizationPercentage"] = now["resource"]["current"]["averageUtilization"]
    if current:
        kept[_CURRENT] = current
    if conditions := status.pop("conditions", None):
        kept[_CONDITIONS] = conditions
    if kept:
        annotations = obj["metadata"].setdefault("annotations", {})
        annotations.update({name: orjson.dumps(value).decode() for name, value in kept.items()})


def _to_v2(obj: Object) -> None:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    annotations = obj["metadata"].get("annotations") or {}
    kept = {
        name: orjson.loads(annotations.pop(name))
        for name in (METRICS, _BEHAVIOR, _CONDITIONS, _CURRENT)
        if name in annotations
    }
    if not annotations:
        obj["metadata"].pop("annotations", None)
    metrics = list(kept.get(METRICS) or ())
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics.insert(0, {"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    if _BEHAVIOR in kept:
        spec["behavior"] = kept[_BEHAVIOR]
    status.pop("currentCPUUtilizationPercentage", None)
    if _CURRENT in kept:
        status["currentMetrics"] = kept[_CURRENT]
    if _CONDITIONS in kept:
        status["conditions"] = kept[_CONDITIONS]
