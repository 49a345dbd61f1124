"""What an autoscaler may not ask for."""

from collections.abc import Iterator

from pynetes.machinery import field, validation
from pynetes.machinery.meta import Object

_WINDOW_LIMIT = 3600


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A target, bounds in order, and scaling rules that move."""
    spec = new.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        yield field.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        yield field.required("spec.maxReplicas", "must be set and greater than 0")
    elif low is not None and high < low:
        yield field.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    for name in ("kind", "name"):
        if not (spec.get("scaleTargetRef") or {}).get(name):
            yield field.required(f"spec.scaleTargetRef.{name}")
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in spec.get("metrics") or ()):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield field.forbidden("spec.metrics", detail)
    for direction in ("scaleUp", "scaleDown"):
        if rules := (spec.get("behavior") or {}).get(direction):
            yield from _rules(rules, f"spec.behavior.{direction}")


def _rules(rules: Object, path: str) -> Iterator[field.Error]:
    window = rules.get("stabilizationWindowSeconds")
    yield from validation.non_negative(window, f"{path}.stabilizationWindowSeconds")
    if window is not None and window > _WINDOW_LIMIT:
        detail = f"must be less than or equal to {_WINDOW_LIMIT}"
        yield field.invalid(f"{path}.stabilizationWindowSeconds", window, detail)
    yield from validation.one_of(rules.get("selectPolicy"), f"{path}.selectPolicy", ("Disabled", "Max", "Min"))
    for index, policy in enumerate(rules.get("policies") or ()):
        place = f"{path}.policies[{index}]"
        yield from validation.one_of(policy.get("type"), f"{place}.type", ("Percent", "Pods"))
        for name in ("value", "periodSeconds"):
            if policy.get(name, 0) <= 0:
                yield field.invalid(f"{place}.{name}", policy.get(name, 0), "must be greater than zero")
