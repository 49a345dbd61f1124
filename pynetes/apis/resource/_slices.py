"""What a driver may say of its devices in a ResourceSlice (KEP-4381, counters by KEP-4815, shared ones by KEP-5075)."""

import itertools
import re
from collections.abc import Iterator
from functools import partial

from pynetes.apis.core import _affinity_validation
from pynetes.apis.resource._validation import EFFECTS, each, label, qualified
from pynetes.machinery import field, names, quantity, validation
from pynetes.machinery.meta import Object
from pynetes.machinery.quantity import Quantity

Errors = Iterator[field.Error]

_DEVICES, _DEVICES_WITH_MORE, _ATTRIBUTES, _TAINTS, _COUNTER_SETS = 128, 64, 32, 16, 8
_POOL_NAME, _TEXT, _COUNTERS, _CONSUMED, _CONDITIONS, _OPTIONS = 253, 64, 32, 2, 4, 10
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
_WHERE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_PLACED = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true"
    " in the ResourceSlice spec"
)
_NOT_PLACED = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the"
    " ResourceSlice spec"
)


def resource_slice(new: Object, old: Object | None) -> Errors:
    """A ResourceSlice."""
    spec = new.get("spec") or {}
    pool = spec.get("pool") or {}
    yield from validation.csi_driver_name(spec.get("driver") or "", "spec.driver")
    yield from pool_name(pool.get("name") or "", "spec.pool.name")
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    if count <= 0:
        yield field.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero")
    if generation < 0:
        yield field.invalid("spec.pool.generation", generation, "must be greater than or equal to zero")
    if old is not None:
        yield from _fixed(spec, old["spec"])
    yield from _place(spec)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        yield field.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    devices = spec.get("devices") or ()
    more = any(device.get("taints") or device.get("consumesCounters") for device in devices)
    limit = _DEVICES_WITH_MORE if more else _DEVICES
    before = {device.get("name"): device for device in ((old or {}).get("spec") or {}).get("devices") or ()}
    check = partial(_device, before=before, placed=bool(spec.get("perDeviceNodeSelection")))
    yield from each(devices, "spec.devices", limit, check, "name")
    yield from each(spec.get("sharedCounters") or (), "spec.sharedCounters", _COUNTER_SETS, _counter_set, "name")


def _fixed(spec: Object, before: Object) -> Errors:
    pool, former = spec.get("pool") or {}, before.get("pool") or {}
    for path, now, then in (
        ("spec.pool.name", pool.get("name"), former.get("name")),
        ("spec.driver", spec.get("driver"), before.get("driver")),
        ("spec.nodeName", spec.get("nodeName"), before.get("nodeName")),
    ):
        if now != then:
            yield field.invalid(path, now, "field is immutable")


def pool_name(name: str, path: str) -> Errors:
    """A pool: names separated by slashes."""
    if not name:
        yield field.required(path)
        return
    if len(name) > _POOL_NAME:
        yield field.too_long(path, _POOL_NAME)
    for part in name.split("/"):
        yield from validation.checked(part, path, names.dns_subdomain)


def _place(spec: Object) -> Errors:
    """Which nodes the devices belong to: said in exactly one way."""
    ways = []
    if (name := spec.get("nodeName")) is not None:
        if name:
            ways.append("`nodeName`")
            yield from validation.checked(name, "spec.nodeName", names.dns_subdomain)
        else:
            yield field.invalid("spec.nodeName", name, "must be either unset or set to a non-empty string")
    if (selector := spec.get("nodeSelector")) is not None:
        ways.append("`nodeSelector`")
        yield from _affinity_validation.node_selector(selector, "spec.nodeSelector")
        terms = selector.get("nodeSelectorTerms") or []
        if len(terms) != 1:
            path = "spec.nodeSelector.nodeSelectorTerms"
            yield field.invalid(path, terms, "must have exactly one node selector term")
    for name in ("allNodes", "perDeviceNodeSelection"):
        if spec.get(name):
            ways.append(f"`{name}`")
        elif spec.get(name) is not None:
            yield field.invalid(f"spec.{name}", False, "must be either unset or set to true")
    if not ways:
        yield field.required("spec", _WHERE)
    elif len(ways) > 1:
        yield field.invalid("spec", f"{{{', '.join(ways)}}}", f"{_WHERE}, but multiple fields are set")


def _device(device: Object, path: str, before: dict[str, Object], *, placed: bool) -> Errors:
    yield from label(device.get("name") or "", f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    old = before.get(device.get("name") or "")
    if (count := len(attributes) + len(capacity)) > _ATTRIBUTES:
        text = f"the total number of attributes and capacities must not exceed {_ATTRIBUTES}"
        yield field.invalid(path, count, text)
    for name, value in attributes.items():
        yield from qualified(name, f"{path}.attributes")
        yield from _attribute(value, f"{path}.attributes[{name}]")
    if old is None or (old.get("capacity") or {}) != capacity:
        shared = bool(device.get("allowMultipleAllocations"))
        for name, value in capacity.items():
            yield from qualified(name, f"{path}.capacity")
            yield from _capacity(value, f"{path}.capacity[{name}].requestPolicy", shared=shared)
    taints = device.get("taints") or ()
    if old is None or (old.get("taints") or ()) != taints:
        yield from each(taints, f"{path}.taints", _TAINTS, _taint)
    consumed = device.get("consumesCounters") or ()
    yield from each(consumed, f"{path}.consumesCounters", _CONSUMED, _consumption, "counterSet")
    yield from _device_place(device, path, placed=placed)
    yield from binding_conditions(device, path)


def _device_place(device: Object, path: str, *, placed: bool) -> Errors:
    given = [name for name in ("nodeName", "nodeSelector", "allNodes") if device.get(name) is not None]
    if not placed:
        if given:
            yield field.invalid(path, None, _NOT_PLACED)
        return
    ways = []
    for name in given:
        place = f"{path}.{name}"
        if name == "nodeSelector":
            yield from _affinity_validation.node_selector(device[name], place)
        elif not device[name]:
            detail = "must not be empty" if name == "nodeName" else "must be either unset or set to true"
            yield field.invalid(place, device[name], detail)
            continue
        elif name == "nodeName":
            yield from validation.checked(device[name], place, names.dns_subdomain)
        ways.append(f"`{name}`")
    if not ways:
        yield field.required(path, _PLACED)
    elif len(ways) > 1:
        yield field.invalid(path, f"{{{', '.join(ways)}}}", _PLACED)


def binding_conditions(device: Object, path: str) -> Errors:
    """Conditions that a claim waits for, and those that end the wait: both or none, and no condition twice."""
    found, failed = (device.get(name) or [] for name in ("bindingConditions", "bindingFailureConditions"))
    good, bad = f"{path}.bindingConditions", f"{path}.bindingFailureConditions"
    yield from each(found, good, _CONDITIONS, _condition_name)
    yield from each(failed, bad, _CONDITIONS, _condition_name)
    for index, name in enumerate(found):
        if name in found[:index]:
            yield field.duplicate(f"{good}[{index}]", name)
    for index, name in enumerate(failed):
        if name in failed[:index]:
            yield field.duplicate(f"{bad}[{index}]", name)
        if name in found:
            detail = "bindingFailureConditions must not overlap with bindingConditions"
            yield field.invalid(f"{bad}[{index}]", name, detail)
    if failed and not found:
        yield field.invalid(good, None, "bindingConditions are required to use bindingFailureConditions")
    if found and not failed:
        yield field.invalid(bad, None, "bindingFailureConditions are required to use bindingConditions")


def _condition_name(name: str, path: str) -> Errors:
    yield from validation.checked(name, path, names.qualified_name)


def _attribute(value: Object, path: str) -> Errors:
    given = [name for name in ("bool", "int", "string", "version") if value.get(name) is not None]
    for name in ("string", "version"):
        text = value.get(name)
        if text is None:
            continue
        if name == "version" and not _SEMVER.fullmatch(text):
            yield field.invalid(f"{path}.version", text, "must be a string compatible with semver.org spec 2.0.0")
        if len(text) > _TEXT:
            yield field.too_long(f"{path}.{name}", _TEXT)
    if len(given) != 1:
        yield field.invalid(path, "" if not given else value, "exactly one value must be specified")


def _taint(taint: Object, path: str) -> Errors:
    yield from validation.checked(taint.get("key") or "", f"{path}.key", names.qualified_name)
    if value := taint.get("value"):
        yield from validation.checked(value, f"{path}.value", names.label_value)
    if not taint.get("effect"):
        yield field.required(f"{path}.effect")
    elif taint["effect"] not in EFFECTS:
        yield field.not_supported(f"{path}.effect", taint["effect"], EFFECTS)


def _counter_set(counters: Object, path: str) -> Errors:
    yield from _counters(counters, path, "name", _COUNTERS)


def _consumption(counters: Object, path: str) -> Errors:
    yield from _counters(counters, path, "counterSet", _COUNTERS)


def _counters(counters: Object, path: str, key: str, limit: int) -> Errors:
    if not counters.get(key):
        yield field.required(f"{path}.{key}")
    else:
        yield from label(counters[key], f"{path}.{key}")
    found = counters.get("counters") or {}
    if not found:
        yield field.required(f"{path}.counters")
    elif len(found) > limit:
        yield field.too_many(f"{path}.counters", len(found), limit)
        return
    for name in found:
        yield from label(name, f"{path}.counters")


def _capacity(capacity: Object, path: str, *, shared: bool) -> Errors:
    """How much of a capacity one claim may take: of devices that several share only."""
    policy = capacity.get("requestPolicy")
    if policy is None:
        return
    if not shared:
        yield field.forbidden(path, "allowMultipleAllocations must be true")
        return
    values, range_ = policy.get("validValues") or [], policy.get("validRange")
    if values and range_ is not None:
        detail = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        yield field.forbidden(path, detail)
        return
    name = "validValues" if values else "validRange" if range_ is not None else ""
    if name and policy.get("default") is None:
        yield field.required(f"{path}.default", f"required when {name} is defined")
    elif name:
        default, most = quantity.parse(policy["default"]), quantity.parse(capacity.get("value") or "0")
        place = f"{path}.{name}"
        yield from _options(default, most, values, place) if values else _range(default, most, range_ or {}, place)


def _options(default: Quantity, most: Quantity, values: list[str], path: str) -> Errors:
    amounts = [quantity.parse(value) for value in values]
    for index, (one, following) in enumerate(itertools.pairwise(amounts), start=1):
        if one > following:
            yield field.invalid(f"{path}[{index}]", str(following), "values must be sorted in ascending order")
    if len(values) > _OPTIONS:
        yield field.too_many(path, len(values), _OPTIONS)
    else:
        for index, amount in enumerate(amounts):
            if amount > most:
                detail = f"option is larger than capacity value: {most}"
                yield field.invalid(f"{path}[{index}]", str(amount), detail)
        whole = [str(amount.value()) for amount in amounts]
        for index, text in enumerate(whole):
            if text in whole[:index]:
                yield field.duplicate(f"{path}[{index}]", text)
    if default not in amounts or len(values) > _OPTIONS:
        yield field.invalid(path, str(default), "default value is not valid according to the requestPolicy")


def _range(default: Quantity, most: Quantity, range_: Object, path: str) -> Errors:
    if range_.get("min") is None:
        yield field.required(f"{path}.min", "required when validRange is defined")
        return
    least = quantity.parse(range_["min"])
    if least > most:
        yield field.invalid(f"{path}.min", str(least), f"min is larger than capacity value: {most}")
    if default < least:
        yield field.invalid(f"{path}.default", str(default), f"default is less than min: {least}")
    upper = quantity.parse(range_["max"]) if range_.get("max") is not None else None
    if upper is not None:
        if least > upper:
            yield field.invalid(f"{path}.max", str(least), f"min is larger than max: {upper}")
        if upper > most:
            yield field.invalid(f"{path}.max", str(upper), f"max is larger than capacity value: {most}")
        if default > upper:
            yield field.invalid(f"{path}.default", str(default), f"default is more than max: {upper}")
    if range_.get("step") is not None:
        values = [default, *([upper] if upper is not None else [])]
        yield from _step(quantity.parse(range_["step"]), least, most, values, path)


def _step(step: Quantity, least: Quantity, most: Quantity, values: list[Quantity], path: str) -> Errors:
    if step.nanos <= 0:
        yield field.invalid(f"{path}.step", str(step), "must be greater than zero")
        return
    if least + step > most:
        detail = f"one step {least + step} is larger than capacity value: {most}"
        yield field.invalid(f"{path}.step", str(step), detail)
    for value in values:
        if (value.value() - least.value()) % step.value():
            detail = f"value is not a multiple of a given step ({step}) from ({least})"
            yield field.invalid(f"{path}.step", str(value), detail)
