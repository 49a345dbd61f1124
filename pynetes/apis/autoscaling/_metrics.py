"""Scaling behaviour and the TARGETS cell of autoscalers."""

from datetime import datetime
from typing import Any

from pynetes.machinery.meta import Object

_UP = ({"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15})
_DOWN = ({"type": "Percent", "value": 100, "periodSeconds": 15},)
_SHOWN = 2
#: Percent of the requested CPU.
DEFAULT_UTILIZATION = 80


def default_behavior(behavior: Object) -> None:
    """Up at once, by four pods or a hundred percent; down by any number after the controller's window."""
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    for rules, policies in ((up, _UP), (behavior.setdefault("scaleDown", {}), _DOWN)):
        rules.setdefault("selectPolicy", "Max")
        if rules.get("policies") is None:
            rules["policies"] = [dict(policy) for policy in policies]


def reference(obj: Object, _: datetime) -> str:
    """What is scaled: Deployment/web."""
    target = obj["spec"].get("scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def targets(obj: Object, _: datetime) -> str:
    """Current and wanted values: cpu: 12%/80%."""
    spec, status = obj["spec"], obj.get("status") or {}
    if "metrics" not in spec and "targetCPUUtilizationPercentage" in spec:
        current = status.get("currentCPUUtilizationPercentage")
        shown = "<unknown>" if current is None else f"{current}%"
        return f"cpu: {shown}/{spec['targetCPUUtilizationPercentage']}%"
    metrics, current_metrics = spec.get("metrics") or [], status.get("currentMetrics") or []
    texts = [
        _target(metric, current_metrics[index] if index < len(current_metrics) else {})
        for index, metric in enumerate(metrics)
    ]
    if not texts:
        return "<none>"
    more = f" + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


_SOURCES = {
    "Resource": "resource",
    "ContainerResource": "containerResource",
    "Pods": "pods",
    "Object": "object",
    "External": "external",
}


def _target(metric: Object, current: Object) -> str:
    kind = metric.get("type", "")
    member = _SOURCES.get(kind)
    if member is None:
        return "<unknown type>"
    source, now = metric.get(member) or {}, (current.get(member) or {}).get("current") or {}
    wanted = source.get("target") or {}
    name = f"{source.get('name')}: " if kind in ("Resource", "ContainerResource") else ""
    if wanted.get("averageUtilization") is not None and not wanted.get("averageValue"):
        return f"{name}{_percent(now.get('averageUtilization'))}/{wanted['averageUtilization']}%"
    suffix = " (avg)" if wanted.get("averageValue") and kind in ("Object", "External") else ""
    member = "averageValue" if wanted.get("averageValue") else "value"
    return f"{name}{now.get(member) or '<unknown>'}/{wanted.get(member, '<auto>')}{suffix}"


def _percent(value: Any) -> str:
    return "<unknown>" if value is None else f"{value}%"
