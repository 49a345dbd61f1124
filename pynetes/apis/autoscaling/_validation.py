"""What an autoscaler may not ask for."""

from collections.abc import Iterator

from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object

_WINDOW_LIMIT, _PERIOD_LIMIT = 3600, 1800
_POLICIES, _CHOICES = ("Percent", "Pods"), ("Disabled", "Max", "Min")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """A target, bounds in order, and scaling rules that move."""
    spec = new.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        yield field.invalid("spec.minReplicas", low, "must be greater than or equal to 1")
    if high < 1:
        yield field.required("spec.maxReplicas", "must be set and greater than 0")
    if low is not None and high < low:
        yield field.invalid("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`")
    yield from _reference_problems(_target(spec), "spec.scaleTargetRef", grouped=_needs_group(spec, old))
    for index, metric in enumerate(spec.get("metrics") or ()):
        yield from _metric_problems(metric, f"spec.metrics[{index}]")
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in spec.get("metrics") or ()):
        detail = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield field.forbidden("spec.metrics", detail)
    for direction in ("scaleUp", "scaleDown"):
        if rules := (spec.get("behavior") or {}).get(direction):
            yield from _rules(rules, f"spec.behavior.{direction}")


#: Type of a metric → the member with its source.
_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS = ("AverageValue", "Utilization", "Value")


def _target(spec: Object) -> Object:
    found: Object = spec.get("scaleTargetRef") or {}
    return found


def _needs_group(spec: Object, old: Object | None) -> bool:
    """Nothing of the core group can be scaled but one kind. What was stored otherwise may stay so."""
    before = _target((old or {}).get("spec") or {})
    tolerated = old is not None and bool(_version_problem(before.get("apiVersion") or "", grouped=True))
    return _target(spec).get("kind") != "ReplicationController" and not tolerated


def _version_problem(version: str, *, grouped: bool) -> str:
    if version.count("/") > 1:
        return f"unexpected GroupVersion string: {version}"
    group = version.rpartition("/")[0]
    return "apiVersion must specify API group" if grouped and not group else ""


def _reference_problems(reference: Object, path: str, *, grouped: bool = False) -> Iterator[field.Error]:
    for name in ("kind", "name"):
        if not reference.get(name):
            yield field.required(f"{path}.{name}")
        else:
            yield from validation.checked(reference[name], f"{path}.{name}", names.path_segment)
    version = reference.get("apiVersion") or ""
    if problem := _version_problem(version, grouped=grouped):
        yield field.invalid(f"{path}.apiVersion", version, problem)


def _metric_problems(metric: Object, path: str) -> Iterator[field.Error]:
    kind = metric.get("type", "")
    if not kind:
        yield field.required(f"{path}.type", "must specify a metric source type")
    if kind not in _SOURCES:
        yield field.not_supported(f"{path}.type", kind, tuple(_SOURCES))
    given = [name for name in _CHECKS if metric.get(name) is not None]
    for name in given[:1]:
        yield from _CHECKS[name](metric[name], f"{path}.{name}")
    wanted = _SOURCES.get(kind)
    if wanted is None:
        yield field.not_supported(f"{path}.type", kind, tuple(_SOURCES))
    elif wanted not in given:
        yield field.required(f"{path}.{wanted}", "must populate information for the given metric source")
    if len(given) != 1:
        for name in given:
            if name != wanted:
                yield field.forbidden(f"{path}.{name}", "must populate the given metric source only")


def _object_problems(source: Object, path: str) -> Iterator[field.Error]:
    yield from _reference_problems(source.get("describedObject") or {}, f"{path}.describedObject")
    yield from _identifier_problems(source, path)
    target = source.get("target") or {}
    yield from _target_problems(target, f"{path}.target")
    if target.get("value") is None and target.get("averageValue") is None:
        yield field.required(f"{path}.target.averageValue", "must set either a target value or averageValue")


def _external_problems(source: Object, path: str) -> Iterator[field.Error]:
    yield from _identifier_problems(source, path)
    target = source.get("target") or {}
    yield from _target_problems(target, f"{path}.target")
    if target.get("value") is None and target.get("averageValue") is None:
        detail = "must set either a target value for metric or a per-pod target"
        yield field.required(f"{path}.target.averageValue", detail)
    if target.get("value") is not None and target.get("averageValue") is not None:
        detail = "may not set both a target value for metric and a per-pod target"
        yield field.forbidden(f"{path}.target.value", detail)


def _pods_problems(source: Object, path: str) -> Iterator[field.Error]:
    yield from _identifier_problems(source, path)
    target = source.get("target") or {}
    yield from _target_problems(target, f"{path}.target")
    average = target.get("averageValue")
    if average is None or quantity.parse(average).nanos <= 0:
        yield field.required(f"{path}.target.averageValue", "must specify a positive target averageValue")


def _container_problems(source: Object, path: str) -> Iterator[field.Error]:
    if not source.get("name"):
        yield field.required(f"{path}.name", "must specify a resource name")
    if not source.get("container"):
        yield field.required(f"{path}.container", "must specify a container")
    yield from _resource_target_problems(source, path)


def _resource_problems(source: Object, path: str) -> Iterator[field.Error]:
    if not source.get("name"):
        yield field.required(f"{path}.name", "must specify a resource name")
    yield from _resource_target_problems(source, path)


def _resource_target_problems(source: Object, path: str) -> Iterator[field.Error]:
    target = source.get("target") or {}
    yield from _target_problems(target, f"{path}.target")
    if target.get("averageUtilization") is None and target.get("averageValue") is None:
        detail = "must set either a target raw value or a target utilization"
        yield field.required(f"{path}.target.averageUtilization", detail)
    if target.get("averageUtilization") is not None and target.get("averageValue") is not None:
        detail = "may not set both a target raw value and a target utilization"
        yield field.forbidden(f"{path}.target.averageValue", detail)


def _target_problems(target: Object, path: str) -> Iterator[field.Error]:
    kind = target.get("type", "")
    if not kind:
        yield field.required(f"{path}.type", "must specify a metric target type")
    if kind not in _TARGETS:
        yield field.invalid(f"{path}.type", kind, "must be either Utilization, Value, or AverageValue")
    for name in ("value", "averageValue"):
        amount = target.get(name)
        if amount is not None and quantity.parse(amount).nanos <= 0:
            yield field.invalid(f"{path}.{name}", amount, "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        yield field.invalid(f"{path}.averageUtilization", utilization, "must be greater than 0")


def _identifier_problems(source: Object, path: str) -> Iterator[field.Error]:
    name = (source.get("metric") or {}).get("name", "")
    if not name:
        yield field.required(f"{path}.metric.name", "must specify a metric name")
    else:
        yield from validation.checked(name, f"{path}.metric.name", names.path_segment)


_CHECKS = {
    "object": _object_problems,
    "external": _external_problems,
    "pods": _pods_problems,
    "resource": _resource_problems,
    "containerResource": _container_problems,
}


def _rules(rules: Object, path: str) -> Iterator[field.Error]:
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        detail = "must be greater than or equal to zero"
        yield field.invalid(f"{path}.stabilizationWindowSeconds", window, detail)
    if window is not None and window > _WINDOW_LIMIT:
        detail = f"must be less than or equal to {_WINDOW_LIMIT}"
        yield field.invalid(f"{path}.stabilizationWindowSeconds", window, detail)
    chosen = rules.get("selectPolicy")
    if chosen is not None and chosen not in _CHOICES:
        yield field.not_supported(f"{path}.selectPolicy", chosen, _CHOICES)
    if not rules.get("policies"):
        yield field.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.get("policies") or ()):
        place = f"{path}.policies[{index}]"
        if policy.get("type") not in _POLICIES:
            yield field.not_supported(f"{place}.type", policy.get("type", ""), _POLICIES)
        for name in ("value", "periodSeconds"):
            if policy.get(name, 0) <= 0:
                yield field.invalid(f"{place}.{name}", policy.get(name, 0), "must be greater than zero")
        if policy.get("periodSeconds", 0) > _PERIOD_LIMIT:
            detail = f"must be less than or equal to {_PERIOD_LIMIT}"
            yield field.invalid(f"{place}.periodSeconds", policy["periodSeconds"], detail)
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity.parse(tolerance).nanos < 0:
        yield field.invalid(f"{path}.tolerance", tolerance, "must be greater than or equal to 0")
