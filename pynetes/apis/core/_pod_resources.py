"""A pod's own resources: one budget that its containers share (KEP-2837). Defaults, rules, and sums over containers."""

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from pynetes.apis.core import _container_validation, _resource_names
from pynetes.machinery import field
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import Quantity
from pynetes.machinery.quantity import parse as quantity

Amounts: TypeAlias = dict[str, Quantity]

_HUGE = "hugepages-"
_SUPPORTED = ("cpu", _HUGE, "memory")


def supported(name: str) -> bool:
    """Whether a pod may ask for it as a whole."""
    return name in ("cpu", "memory") or name.startswith(_HUGE)


def is_set(spec: Object) -> bool:
    """Whether the pod has a budget of its own."""
    own = spec.get("resources") or {}
    return any(supported(name) for side in ("requests", "limits") for name in own.get(side) or ())


def aggregate(spec: Object, side: str) -> Amounts:
    """What containers ask for: regular ones and sidecars together, or more while the pod initialises."""
    total: Amounts = {}
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("containers") or ():
        add(total, _given(container, side))
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            add(sidecars, _given(container, side))
            _raise(peak, sidecars)
        else:
            during = dict(sidecars)
            add(during, _given(container, side))
            _raise(peak, during)
    add(total, sidecars)
    _raise(total, peak)
    return total


def total(spec: Object, side: str) -> Amounts:
    """What the pod asks for: its own budget where it has one, its containers' sum where not; plus overhead."""
    found = aggregate(spec, side)
    own = (spec.get("resources") or {}).get(side) or {}
    found |= {name: quantity(value) for name, value in own.items() if supported(name)}
    overhead = {name: quantity(value) for name, value in (spec.get("overhead") or {}).items()}
    add(found, {name: value for name, value in overhead.items() if side == "requests" or name in found})
    return found


def _given(container: Object, side: str) -> Amounts:
    given = (container.get("resources") or {}).get(side) or {}
    return {name: quantity(value) for name, value in given.items()}


def add(sums: Amounts, more: Mapping[str, Quantity]) -> None:
    """Add to sums, in place."""
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value


def _raise(sums: Amounts, least: Mapping[str, Quantity]) -> None:
    for name, value in least.items():
        if name not in sums or sums[name] < value:
            sums[name] = value


def default(spec: Object) -> None:
    """Fill in a budget that is given in part. Containers have their defaults already."""
    own = spec.get("resources")
    if not own:
        return
    if own.get("limits") or own.get("requests"):
        huge = {name: value for name, value in aggregate(spec, "limits").items() if name.startswith(_HUGE)}
        _fill(own, "limits", {name: value for name, value in huge.items() if name not in (own.get("requests") or {})})
    limits = own.get("limits") or {}
    if limits:
        _fill(own, "requests", {n: v for n, v in aggregate(spec, "requests").items() if n in ("cpu", "memory")})
        _fill(own, "requests", {name: quantity(value) for name, value in limits.items() if supported(name)})


def _fill(own: Object, side: str, amounts: Amounts) -> None:
    missing = {name: str(value) for name, value in amounts.items() if name not in (own.get(side) or {})}
    if missing:
        own[side] = {**(own.get(side) or {}), **missing}


def validate(spec: Object, path: str) -> Iterator[field.Error]:
    """Only what is supported, enough for the containers, and no container allowed more than the pod."""
    own = spec.get("resources")
    if own is None:
        return
    if (spec.get("os") or {}).get("name") == "windows":
        yield field.forbidden(path, "may not be set for a windows pod")
        return
    if own.get("claims") is not None:
        yield field.forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level")
    yield from _container_validation.validate_resources(own, path, _name)
    requests, limits = own.get("requests") or {}, own.get("limits") or {}
    for side, given in (("requests", requests), ("limits", limits)):
        for name, needed in aggregate(spec, side).items():
            counts = name in given and (side == "requests" or name.startswith(_HUGE))
            if counts and needed > quantity(given[name]):
                detail = f"must be greater than or equal to aggregate container {side} of {needed}"
                yield field.invalid(f"{path}.{side}[{name}]", given[name], detail)
    for index, container in enumerate(spec.get("containers") or ()):
        for name, limit in _given(container, "limits").items():
            if name in limits and limit > quantity(limits[name]):
                place = f"{path}.containers[{index}][{name}].limits"
                yield field.invalid(place, str(limit), f"must be less than or equal to pod limits of {limits[name]}")


def _name(name: str, path: str) -> Iterator[field.Error]:
    wrong = list(_resource_names.standard(name, path))
    if wrong:
        yield from wrong
    elif not supported(name):
        yield field.not_supported(path, name, _SUPPORTED)


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by what cpu and memory is asked for: by the pod if it says, or in sum."""
    own = is_set(spec)
    parts = [spec] if own else [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    sums: dict[str, Amounts] = {"requests": {}, "limits": {}}
    limited = True
    for part in parts:
        for side, amounts in sums.items():
            counted = {n: v for n, v in _given(part, side).items() if n in ("cpu", "memory") and v.nanos > 0}
            add(amounts, counted)
            if side == "limits":
                limited = limited and len(counted) == 2
    requests, limits = sums["requests"], sums["limits"]
    if not requests and not limits:
        return "BestEffort"
    return "Guaranteed" if limited and requests == limits else "Burstable"
