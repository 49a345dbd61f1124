"""What the numbers of a custom resource with a scale subresource must be."""

from collections.abc import Iterator, Mapping
from typing import Any

from pynetes.machinery import field
from pynetes.machinery.resource import Scale

_MOST = 2**31 - 1
_WANTED: dict[type, str] = {int: "int64", str: "string"}
_FOUND = {bool: "bool", float: "float64", str: "string", int: "int64", dict: "map[string]interface {}"}


def problems(scale: Scale | None, obj: Mapping[str, Any], *, status: bool = False) -> Iterator[field.Error]:
    """Replicas are numbers from 0 to 2147483647, the selector is a text; of a status only its own are looked at."""
    if scale is None:
        return
    for path in (scale.status_path,) if status else (scale.spec_path, scale.status_path):
        value, wrong = _at(obj, path, int)
        if wrong:
            yield field.invalid(path, 0, wrong)
        elif value is not None and value < 0:
            yield field.invalid(path, value, "should be a non-negative integer")
        elif value is not None and value > _MOST:
            yield field.invalid(path, value, f"should be less than or equal to {_MOST}")
    if scale.selector_path:
        _, wrong = _at(obj, scale.selector_path, str)
        if wrong:
            yield field.invalid(scale.selector_path, "", wrong)


def _at(obj: Mapping[str, Any], path: str, kind: type) -> tuple[Any, str]:
    """The value, None if there is none; and what is wrong on the way to it."""
    steps = path.removeprefix(".").split(".")
    value: Any = obj
    for index, step in enumerate(steps):
        if not isinstance(value, dict):
            return None, _accessor(steps[: index + 1], value, "map[string]interface{}")
        if step not in value:
            return None, ""
        value = value[step]
    if type(value) is kind:
        return value, ""
    return None, _accessor(steps, value, _WANTED[kind])


def _accessor(steps: list[str], value: Any, wanted: str) -> str:
    """Upstream's words for a value of another type."""
    shown = "<nil>" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    kind = "<nil>" if value is None else _FOUND.get(type(value), "[]interface {}")
    return f".{'.'.join(steps)} accessor error: {shown} is of the type {kind}, expected {wanted}"
