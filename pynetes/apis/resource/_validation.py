"""What claims, classes and slices must be: names, limits, and selectors that compile (KEP-4381)."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pynetes.apis.core import _affinity_validation
from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_REQUESTS = _CONSTRAINTS = _CONFIGS = _SELECTORS = 32
_ALTERNATIVES, _POOL_NAME, _ID = 8, 253, 32
_DEVICES, _DEVICES_WITH_MORE, _ATTRIBUTES, _TAINTS, _COUNTER_SETS = 128, 64, 32, 16, 8
_TEXT, _EXPRESSION, _PARAMETERS = 64, 10 * 1024, 10 * 1024
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)
_MODES, _EFFECTS = ("All", "ExactCount"), ("NoExecute", "NoSchedule", "None")
_NAMELESS = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"
_WHERE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"


def _each(
    items: Sequence[Any], path: str, limit: int, check: Callable[[Any, str], Errors], key: str | None = None
) -> Errors:
    """Items one by one, unless there are too many; with a key (a member's name, "" for themselves) each but once."""
    if len(items) > limit:
        yield field.too_many(path, len(items), limit)
        return
    for index, item in enumerate(items):
        yield from check(item, f"{path}[{index}]")
    seen: set[str] = set()
    for index, item in enumerate(items):
        if key is not None:
            name = item.get(key) or "" if key else item
            if name in seen:
                yield field.duplicate(f"{path}[{index}]", name)
            seen.add(name)


def claim_spec(spec: Object, path: str) -> Errors:
    """A claim's spec, also in a template."""
    devices, path = spec.get("devices") or {}, f"{path}.devices"
    requests = devices.get("requests") or []
    known = {request.get("name") or "" for request in requests}
    for request in requests:
        known |= {f"{request.get('name')}/{each.get('name')}" for each in request.get("firstAvailable") or ()}

    def reference(name: str, place: str) -> Errors:
        return _reference(name, place, known)

    def constraint(each: Object, place: str) -> Errors:
        yield from _each(each.get("requests") or (), f"{place}.requests", _REQUESTS, reference, "")
        if each.get("matchAttribute") is None:
            yield field.required(f"{place}.matchAttribute")
        else:
            yield from _full_name(each["matchAttribute"], f"{place}.matchAttribute")

    def configuration(each: Object, place: str) -> Errors:
        yield from _each(each.get("requests") or (), f"{place}.requests", _REQUESTS, reference, "")
        yield from _configuration(each, place)

    yield from _each(requests, f"{path}.requests", _REQUESTS, _request, "name")
    yield from _each(devices.get("constraints") or (), f"{path}.constraints", _CONSTRAINTS, constraint)
    yield from _each(devices.get("config") or (), f"{path}.config", _CONFIGS, configuration)


def _request(request: Object, path: str) -> Errors:
    yield from _label(request.get("name") or "", f"{path}.name")
    alternatives, exactly = request.get("firstAvailable") or (), request.get("exactly")
    if not alternatives and exactly is None:
        yield field.required(path, _ONE_OF)
    elif alternatives and exactly is not None:
        yield field.invalid(path, None, f"{_ONE_OF}, but multiple fields are set")
    elif exactly is not None:
        yield from _wanted(exactly, f"{path}.exactly")
    else:
        yield from _each(alternatives, f"{path}.firstAvailable", _ALTERNATIVES, _alternative, "name")


def _alternative(request: Object, path: str) -> Errors:
    yield from _label(request.get("name") or "", f"{path}.name")
    yield from _wanted(request, path)


def _wanted(request: Object, path: str) -> Errors:
    name, mode, count = request.get("deviceClassName") or "", request.get("allocationMode"), request.get("count") or 0
    if not name:
        yield field.required(f"{path}.deviceClassName")
    else:
        yield from validation.checked(name, f"{path}.deviceClassName", names.dns_subdomain)
    yield from _each(request.get("selectors") or (), f"{path}.selectors", _SELECTORS, _selector)
    if mode == "All" and count:
        yield field.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and count <= 0:
        yield field.invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in _MODES:
        yield field.not_supported(f"{path}.allocationMode", mode, _MODES)


def _selector(selector: Object, path: str) -> Errors:
    if selector.get("cel") is None:
        yield field.required(f"{path}.cel")
        return
    source, path = selector["cel"].get("expression") or "", f"{path}.cel.expression"
    if len(source.encode()) > _EXPRESSION:
        yield field.too_long(path, _EXPRESSION)
        return
    from pynetes.machinery import cel  # a library of 50 MB, which only selectors of devices need

    try:
        kind = cel.program(source, ("device",)).kind
    except cel.CompileError as error:
        yield field.invalid(path, source, f"compilation failed: {error}")
        return
    if kind not in ("BOOL", "DYN"):
        yield field.invalid(path, source, f"must evaluate to bool or the unknown type, not {kind.lower()}")


def _label(name: str, path: str) -> Errors:
    yield from validation.checked(name, path, names.dns_label)


def _reference(name: str, path: str, known: set[str]) -> Errors:
    parts = name.split("/")
    if len(parts) <= 2:
        for part in parts:
            yield from _label(part, path)
    if name not in known:
        yield field.invalid(path, name, _NAMELESS)


def _full_name(name: str, path: str) -> Errors:
    yield from _qualified(name, path)
    if "/" not in name:
        yield field.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


def _qualified(name: str, path: str) -> Errors:
    domain, slash, rest = name.partition("/")
    if not slash:
        yield from _identifier(name, path)
        return
    if not domain:
        yield field.invalid(path, "", "the domain must not be empty")
    else:
        yield from validation.csi_driver_name(domain, path)
    if not rest:
        yield field.invalid(path, "", "the name must not be empty")
    else:
        yield from _identifier(rest, path)


def _identifier(name: str, path: str) -> Errors:
    if len(name) > _ID:
        yield field.too_long(path, _ID)
    if not _IDENTIFIER.fullmatch(name):
        pattern = "[A-Za-z_][A-Za-z0-9_]*"
        message = (
            "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric"
            " characters or '_'"
        )
        yield field.invalid(path, name, names.regex_error(message, pattern, "my_name", "MY_NAME", "MyName"))


def _configuration(config: Object, path: str) -> Errors:
    opaque = config.get("opaque")
    if opaque is None:
        yield field.required(f"{path}.opaque")
        return
    yield from validation.csi_driver_name(opaque.get("driver") or "", f"{path}.opaque.driver")
    if opaque.get("parameters") is None:
        yield field.required(f"{path}.opaque.parameters")
    elif not isinstance(opaque["parameters"], dict):
        yield field.invalid(f"{path}.opaque.parameters", "<value omitted>", "must be a valid JSON object")


def device_class(new: Object, old: Object | None) -> Errors:
    """A DeviceClass."""
    spec = new.get("spec") or {}
    yield from _each(spec.get("selectors") or (), "spec.selectors", _SELECTORS, _selector)
    yield from _each(spec.get("config") or (), "spec.config", _CONFIGS, _configuration)


def resource_slice(new: Object, old: Object | None) -> Errors:
    """A ResourceSlice."""
    spec = new.get("spec") or {}
    pool = spec.get("pool") or {}
    yield from validation.csi_driver_name(spec.get("driver") or "", "spec.driver")
    yield from _pool_name(pool.get("name") or "", "spec.pool.name")
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
    yield from _each(devices, "spec.devices", limit, lambda each, path: _device(each, path, spec), "name")
    yield from _each(spec.get("sharedCounters") or (), "spec.sharedCounters", _COUNTER_SETS, _counter_set, "name")


def _fixed(spec: Object, before: Object) -> Errors:
    pool, former = spec.get("pool") or {}, before.get("pool") or {}
    for path, now, then in (
        ("spec.pool.name", pool.get("name"), former.get("name")),
        ("spec.driver", spec.get("driver"), before.get("driver")),
        ("spec.nodeName", spec.get("nodeName"), before.get("nodeName")),
    ):
        if now != then:
            yield field.invalid(path, now, "field is immutable")


def _pool_name(name: str, path: str) -> Errors:
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


def _device(device: Object, path: str, spec: Object) -> Errors:
    yield from _label(device.get("name") or "", f"{path}.name")
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    if (count := len(attributes) + len(capacity)) > _ATTRIBUTES:
        text = f"the total number of attributes and capacities must not exceed {_ATTRIBUTES}"
        yield field.invalid(path, count, text)
    for name, value in attributes.items():
        yield from _qualified(name, f"{path}.attributes")
        yield from _attribute(value, f"{path}.attributes[{name}]")
    for name in capacity:
        yield from _qualified(name, f"{path}.capacity")
    yield from _each(device.get("taints") or (), f"{path}.taints", _TAINTS, _taint)
    if not spec.get("perDeviceNodeSelection") and any(
        device.get(name) is not None for name in ("nodeName", "nodeSelector", "allNodes")
    ):
        text = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in"
            " the ResourceSlice spec"
        )
        yield field.invalid(path, None, text)


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
    elif taint["effect"] not in _EFFECTS:
        yield field.not_supported(f"{path}.effect", taint["effect"], _EFFECTS)


def _counter_set(counters: Object, path: str) -> Errors:
    if not counters.get("name"):
        yield field.required(f"{path}.name")
    else:
        yield from _label(counters["name"], f"{path}.name")
    if not counters.get("counters"):
        yield field.required(f"{path}.counters")
    for name in counters.get("counters") or ():
        yield from _label(name, f"{path}.counters")
