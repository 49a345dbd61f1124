"""LimitRange: bounds and defaults for the resources of a namespace's pods."""

from collections.abc import Iterator

from pynetes.apis.core import _resource_names
from pynetes.machinery import cells, field, quantity
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Column, Resource


def default(obj: Object) -> None:
    """For containers, max stands in for default, and default (or else min) for defaultRequest."""
    for item in (obj.get("spec") or {}).get("limits") or ():
        if item.get("type") != "Container":
            continue
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        if limits:
            item["default"] = limits
        if requests:
            item["defaultRequest"] = requests


_AMOUNTS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")


def validate(new: Object, old: Object | None) -> Iterator[field.Error]:
    """One limit for each type, with bounds in their order."""
    seen: set[str] = set()
    for index, limit in enumerate((new.get("spec") or {}).get("limits") or ()):
        path, kind = f"spec.limits[{index}]", limit.get("type", "")
        yield from _resource_names.limit_type(kind, f"{path}.type")
        if kind in seen:
            yield field.duplicate(f"{path}.type", kind)
        seen.add(kind)
        keys = sorted({key for name in _AMOUNTS for key in limit.get(name) or {}})
        for name in ("max", "min"):
            for key in sorted(limit.get(name) or {}):
                yield from _resource_names.for_limit(kind, key, f"{path}.{name}[{key}]")
        for name in ("default", "defaultRequest"):
            if kind == "Pod" and limit.get(name):
                yield field.forbidden(f"{path}.{name}", "may not be specified when `type` is 'Pod'")
            elif kind != "Pod":
                for key in sorted(limit.get(name) or {}):
                    yield from _resource_names.for_limit(kind, key, f"{path}.{name}[{key}]")
        if kind == "PersistentVolumeClaim" and not any("storage" in (limit.get(name) or {}) for name in ("min", "max")):
            yield field.required(
                f"{path}.limits", "either minimum or maximum storage value is required, but neither was provided"
            )
        for key in keys:
            yield from _bounds(limit, key, path)


def _bounds(limit: Object, key: str, path: str) -> Iterator[field.Error]:
    amounts = {name: quantity.parse(limit[name][key]) for name in _AMOUNTS if key in (limit.get(name) or {})}
    texts = {name: limit[name][key] for name in amounts}

    def above(one: str, other: str, label: str, other_label: str) -> Iterator[field.Error]:
        if one in amounts and other in amounts and amounts[one] > amounts[other]:
            detail = f"{label} value {texts[one]} is greater than {other_label} value {texts[other]}"
            yield field.invalid(f"{path}.{one}[{key}]", texts[one], detail)

    yield from above("min", "max", "min", "max")
    yield from _inside(amounts, texts, "defaultRequest", "default request", f"{path}.defaultRequest[{key}]")
    if "defaultRequest" in amounts and "default" in amounts and amounts["defaultRequest"] > amounts["default"]:
        detail = (
            f"default request value {texts['defaultRequest']} is greater than default limit value {texts['default']}"
        )
        yield field.invalid(f"{path}.defaultRequest[{key}]", texts["defaultRequest"], detail)
    yield from _inside(amounts, texts, "default", "default", f"{path}.default[{key}]")
    yield from _ratio(amounts, texts, f"{path}.maxLimitRequestRatio[{key}]")


def _inside(amounts: Object, texts: Object, name: str, label: str, path: str) -> Iterator[field.Error]:
    if name not in amounts:
        return
    if "min" in amounts and amounts["min"] > amounts[name]:
        detail = f"min value {texts['min']} is greater than {label} value {texts[name]}"
        yield field.invalid(path, texts["min"] if name == "default" else texts[name], detail)
    if "max" in amounts and amounts[name] > amounts["max"]:
        yield field.invalid(path, texts[name], f"{label} value {texts[name]} is greater than max value {texts['max']}")


def _ratio(amounts: Object, texts: Object, path: str) -> Iterator[field.Error]:
    ratio = amounts.get("maxLimitRequestRatio")
    if ratio is None:
        return
    text = texts["maxLimitRequestRatio"]
    if ratio.nanos < quantity.NANO:
        yield field.invalid(path, text, f"ratio {text} is less than 1")
    low, high = amounts.get("min"), amounts.get("max")
    if low is not None and high is not None and low.nanos > 0 and ratio.nanos / quantity.NANO > high.nanos / low.nanos:
        yield field.invalid(path, text, f"ratio {text} is greater than max/min = {high.nanos / low.nanos:.6f}")


RESOURCE = Resource(
    group="",
    versions=("v1",),
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    generation=False,
    default=default,
    validate=validate,
    columns=(Column("Created At", cells.path(".metadata.creationTimestamp"), type="date"),),
)
