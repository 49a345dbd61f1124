"""What claims and classes of devices must be: names, limits, and selectors that compile (KEP-4381)."""

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import orjson

from pynetes.machinery import field, names, validation
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]

_REQUESTS = _CONSTRAINTS = _CONFIGS = _SELECTORS = 32
_ALTERNATIVES, _ID = 8, 32
_EXPRESSION, _PARAMETERS = 10 * 1024, 10 * 1024
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MODES, EFFECTS = ("All", "ExactCount"), ("NoExecute", "NoSchedule", "None")
#: What templates may not set, as upstream spells it.
_TEMPLATE_METADATA = {
    name: "uID" if name == "uid" else name
    for name in (
        "name", "generateName", "namespace", "selfLink", "uid", "resourceVersion", "generation", "creationTimestamp",
        "deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences", "finalizers", "managedFields",
    )
}  # fmt: skip
#: Upstream says this, too, where none is set.
_NO_ATTRIBUTE = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
_NAMELESS = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"


def each(
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


def request_names(spec: Object) -> set[str]:
    """How a claim's requests, and the alternatives in them, may be referred to."""
    found = set()
    for request in (spec.get("devices") or {}).get("requests") or ():
        name = request.get("name") or ""
        found |= {name, *(f"{name}/{item.get('name')}" for item in request.get("firstAvailable") or ())}
    return found


def references(item: Object, path: str, known: set[str]) -> Errors:
    """The requests that a constraint or configuration is for."""
    check = partial(reference, known=known)
    yield from each(item.get("requests") or (), f"{path}.requests", _REQUESTS, check, "")


def claim_spec(spec: Object, path: str) -> Errors:
    """A claim's spec, also in a template."""
    devices, path = spec.get("devices") or {}, f"{path}.devices"
    requests, known = devices.get("requests") or [], request_names(spec)

    def constraint(item: Object, place: str) -> Errors:
        yield from references(item, place, known)
        for name in ("matchAttribute", "distinctAttribute"):
            if item.get(name) is not None:
                yield from _full_name(item[name], f"{place}.{name}")
                return
        yield field.required(place, _NO_ATTRIBUTE)

    def config(item: Object, place: str) -> Errors:
        yield from references(item, place, known)
        yield from configuration(item, place)

    yield from each(requests, f"{path}.requests", _REQUESTS, _request, "name")
    yield from each(devices.get("constraints") or (), f"{path}.constraints", _CONSTRAINTS, constraint)
    yield from each(devices.get("config") or (), f"{path}.config", _CONFIGS, config)


def _request(request: Object, path: str) -> Errors:
    yield from label(request.get("name") or "", f"{path}.name")
    alternatives, exactly = request.get("firstAvailable") or (), request.get("exactly")
    if not alternatives and exactly is None:
        yield field.required(path, _ONE_OF)
    elif alternatives and exactly is not None:
        yield field.invalid(path, None, f"{_ONE_OF}, but multiple fields are set")
    elif exactly is not None:
        yield from _wanted(exactly, f"{path}.exactly")
    else:
        yield from each(alternatives, f"{path}.firstAvailable", _ALTERNATIVES, _alternative, "name")


def _alternative(request: Object, path: str) -> Errors:
    yield from label(request.get("name") or "", f"{path}.name")
    yield from _wanted(request, path)


def _wanted(request: Object, path: str) -> Errors:
    name, mode, count = request.get("deviceClassName") or "", request.get("allocationMode"), request.get("count") or 0
    if not name:
        yield field.required(f"{path}.deviceClassName")
    else:
        yield from validation.checked(name, f"{path}.deviceClassName", names.dns_subdomain)
    yield from each(request.get("selectors") or (), f"{path}.selectors", _SELECTORS, _selector)
    if mode == "All" and count:
        yield field.invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and count <= 0:
        yield field.invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in _MODES:
        yield field.not_supported(f"{path}.allocationMode", mode, _MODES)
    for index, toleration in enumerate(request.get("tolerations") or ()):
        yield from tolerated(toleration, f"{path}.tolerations[{index}]")


def tolerated(toleration: Object, path: str) -> Errors:
    """A toleration of a device's taints."""
    operator, effect = toleration.get("operator") or "", toleration.get("effect")
    value = toleration.get("value") or ""
    if key := toleration.get("key"):
        yield from validation.checked(key, f"{path}.key", names.qualified_name)
    if operator == "Exists":
        if value:
            yield field.invalid(f"{path}.value", value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        yield from validation.checked(value, f"{path}.value", names.label_value)
    else:
        yield from validation.one_of(operator, f"{path}.operator", ("Equal", "Exists"))
    if effect and effect not in EFFECTS:
        yield field.not_supported(f"{path}.effect", effect, EFFECTS)


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


def label(name: str, path: str) -> Errors:
    """A DNS label."""
    yield from validation.checked(name, path, names.dns_label)


def reference(name: str, path: str, known: set[str]) -> Errors:
    """A request, or one of its alternatives."""
    parts = name.split("/")
    if len(parts) <= 2:
        for part in parts:
            yield from label(part, path)
    if name not in known:
        yield field.invalid(path, name, _NAMELESS)


def _full_name(name: str, path: str) -> Errors:
    yield from qualified(name, path)
    if "/" not in name:
        yield field.invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


def qualified(name: str, path: str) -> Errors:
    """A name with or without a domain."""
    domain, slash, rest = name.partition("/")
    if "/" in rest:
        yield field.invalid(path, name, "must not contain more than one slash")
        return
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


def configuration(config: Object, path: str) -> Errors:
    """A driver's own parameters."""
    opaque = config.get("opaque")
    if opaque is None:
        yield field.required(f"{path}.opaque")
        return
    yield from validation.csi_driver_name(opaque.get("driver") or "", f"{path}.opaque.driver")
    yield from raw(opaque.get("parameters"), f"{path}.opaque.parameters")


def raw(value: Any, path: str) -> Errors:
    """Somebody else's object: not too long."""
    if value is None:
        yield field.required(path)
    elif len(orjson.dumps(value)) > _PARAMETERS:
        yield field.too_long(path, _PARAMETERS)
    elif not isinstance(value, dict):
        yield field.invalid(path, "<value omitted>", "must be a valid JSON object")


def device_class(new: Object, old: Object | None) -> Errors:
    """A DeviceClass. Selectors and configurations that stay are not looked at again."""
    spec, before = new.get("spec") or {}, (old or {}).get("spec") or {}
    selectors, configs = spec.get("selectors") or (), spec.get("config") or ()
    if old is None or selectors != (before.get("selectors") or ()):
        yield from each(selectors, "spec.selectors", _SELECTORS, _selector)
    if old is None or configs != (before.get("config") or ()):
        yield from each(configs, "spec.config", _CONFIGS, configuration)
    name = spec.get("extendedResourceName")
    if name is not None and (
        "/" not in name
        or "kubernetes.io/" in name
        or name.startswith("requests.")
        or names.qualified_name(f"requests.{name}")
    ):
        yield field.invalid("spec.extendedResourceName", name, "must be a valid extended resource name")


def claim_template(new: Object, old: Object | None) -> Errors:
    """A ResourceClaimTemplate, which never changes: the metadata of its claims is labels and annotations."""
    if old is not None:
        return
    spec = new.get("spec") or {}
    metadata, path = spec.get("metadata") or {}, "spec.metadata"
    for key in metadata.get("annotations") or ():
        yield from validation.checked(key.lower(), f"{path}.annotations", names.qualified_name)
    yield from validation.label_map(metadata.get("labels"), f"{path}.labels")
    for name, shown in _TEMPLATE_METADATA.items():
        if metadata.get(name):
            yield field.forbidden(f"{path}.{shown}", "cannot be set")
    yield from claim_spec(spec.get("spec") or {}, "spec.spec")
