"""Rules that the validation hooks of many kinds share. Each yields the mistakes at a path; None mostly passes.

What holds for the metadata of every object is checked by the API server's endpoints.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pynetes.machinery import field, names
from pynetes.machinery.meta import Object

Errors = Iterator[field.Error]


def label_map(labels: Any, path: str) -> Errors:
    """A map of labels: keys are qualified names, values label values."""
    for key, value in (labels or {}).items():
        yield from (field.invalid(path, key, text) for text in names.qualified_name(key))
        yield from (field.invalid(path, value, text) for text in names.label_value(value))


def non_negative(value: Any, path: str) -> Errors:
    """A number from 0 up; None passes."""
    if isinstance(value, int) and value < 0:
        yield field.invalid(path, value, "must be greater than or equal to 0")


def one_of(value: Any, path: str, allowed: Sequence[str], *, optional: bool = False) -> Errors:
    """An enumeration; an empty value is a required one missing, unless optional."""
    if not value:
        if not optional:
            yield field.required(path)
    elif value not in allowed:
        yield field.not_supported(path, value, allowed)


def checked(value: str, path: str, rule: Callable[[str], list[str]]) -> Errors:
    """One error for each text that the name rule has."""
    yield from (field.invalid(path, value, text) for text in rule(value))


def label_selector(selector: Any, path: str) -> Errors:
    """A LabelSelector; None passes."""
    if selector is None:
        return
    yield from label_map(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        place = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values")
        if operator in ("In", "NotIn"):
            if not values:
                yield field.required(f"{place}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield field.forbidden(
                    f"{place}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            yield field.invalid(f"{place}.operator", operator, "not a valid selector operator")
        yield from checked(expression.get("key", ""), f"{place}.key", names.qualified_name)
        for number, value in enumerate(values or ()):
            yield from checked(value, f"{place}.values[{number}]", names.label_value)


_CONDITION_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_CONDITION_REASON_TEXT = names.regex_error(
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_'",
    _CONDITION_REASON,
    "my_name",
    "MY_NAME",
    "MyName",
    "ReasonA,ReasonB",
    "ReasonA:ReasonB",
)
_CONDITION_STATUSES = ("False", "True", "Unknown")
_REASON_LIMIT, _MESSAGE_LIMIT = 1 << 10, 32 << 10


def conditions(found: Any, path: str) -> Errors:
    """metav1.Conditions: one of each type, with a known status, a time and a reason."""
    seen: set[str] = set()
    for index, condition in enumerate(found or ()):
        kind = condition.get("type", "")
        if kind in seen:
            yield field.duplicate(f"{path}[{index}].type", kind)
        seen.add(kind)
        yield from _condition(condition, f"{path}[{index}]")


def _condition(condition: Object, path: str) -> Errors:
    yield from checked(condition.get("type", ""), f"{path}.type", names.qualified_name)
    if condition.get("status", "") not in _CONDITION_STATUSES:
        yield field.not_supported(f"{path}.status", condition.get("status", ""), _CONDITION_STATUSES)
    if (condition.get("observedGeneration") or 0) < 0:
        detail = "must be greater than or equal to zero"
        yield field.invalid(f"{path}.observedGeneration", condition["observedGeneration"], detail)
    if not condition.get("lastTransitionTime"):
        yield field.required(f"{path}.lastTransitionTime")
    reason = condition.get("reason", "")
    if not reason:
        yield field.required(f"{path}.reason")
    elif not re.fullmatch(_CONDITION_REASON, reason):
        yield field.invalid(f"{path}.reason", reason, _CONDITION_REASON_TEXT)
    if len(reason.encode()) > _REASON_LIMIT:
        yield field.too_long(f"{path}.reason", _REASON_LIMIT)
    if len(condition.get("message", "").encode()) > _MESSAGE_LIMIT:
        yield field.too_long(f"{path}.message", _MESSAGE_LIMIT)


_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+").fullmatch
_PATH_TEXT = names.regex_error("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+")


def domain_prefixed_path(text: str, path: str) -> Errors:
    """acme.io/foo: a domain, a slash and a path."""
    if not text:
        yield field.required(path)
        return
    domain, _, rest = text.partition("/")
    if not domain or not rest:
        detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
        yield field.invalid(path, text, detail)
        return
    yield from (field.invalid(path, domain, message) for message in names.dns_subdomain(domain))
    if not _PATH(rest):
        yield field.invalid(path, rest, _PATH_TEXT)


_DRIVER_NAME_LIMIT = 63


def csi_driver_name(name: str, path: str) -> Errors:
    """The name of a CSI driver: like a DNS name, but upper case may stand in it."""
    if not name:
        yield field.required(path)
        return
    if len(name) > _DRIVER_NAME_LIMIT:
        yield field.too_long(path, _DRIVER_NAME_LIMIT)
    yield from (field.invalid(path, name, text) for text in names.dns_subdomain(name.lower()))


def int_or_percent(value: Any, path: str) -> Errors:
    """A count from 0 up or a percentage; None passes."""
    if isinstance(value, str):
        yield from checked(value, path, names.percent)
    else:
        yield from non_negative(value, path)


def at_most_hundred_percent(value: Any, path: str) -> Errors:
    """Not above 100%."""
    if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) > 100:
        yield field.invalid(path, value, "must not be greater than 100%")


def port(value: Any, path: str) -> Errors:
    """A port by number or name."""
    if isinstance(value, int):
        yield from (field.invalid(path, value, text) for text in names.port_number(value))
    else:
        yield from checked(value, path, names.port_name)


def immutable(members: Sequence[str], new: Object, old: Object) -> Errors:
    """Members of the object that may not change, where Resource.immutable would put the mistake in another place."""
    for name in members:
        if new.get(name) != old.get(name):
            yield field.invalid(name, new.get(name), "field is immutable")
