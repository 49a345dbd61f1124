"""Field errors gather: validation yields them all, so that one answer names every mistake.

The messages and the order of their parts are those of upstream's validation/field package, because clients print them
and tests compare them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson


class Error(NamedTuple):
    """One cause of a 422: reason is upstream's (FieldValueInvalid, …), path like spec.ports[0].name."""

    reason: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def quote(value: Any) -> str:
    """A bad value as upstream shows it: strings in quotes, the rest as JSON."""
    return orjson.dumps(value).decode()


def required(path: str, detail: str = "") -> Error:
    """The field must be set."""
    return Error("FieldValueRequired", path, "Required value" + (f": {detail}" if detail else ""))


def invalid(path: str, value: Any, detail: str) -> Error:
    """The field has a value that no rule allows."""
    return Error("FieldValueInvalid", path, f"Invalid value: {quote(value)}" + (f": {detail}" if detail else ""))


def not_supported(path: str, value: Any, allowed: Sequence[str]) -> Error:
    """The field is an enumeration and the value is none of it."""
    choices = ", ".join(quote(choice) for choice in allowed)
    return Error("FieldValueNotSupported", path, f"Unsupported value: {quote(value)}: supported values: {choices}")


def forbidden(path: str, detail: str) -> Error:
    """The field may not be set, or not changed, here."""
    return Error("FieldValueForbidden", path, f"Forbidden: {detail}")


def duplicate(path: str, value: Any) -> Error:
    """The value stands in the list already."""
    return Error("FieldValueDuplicate", path, f"Duplicate value: {quote(value)}")


def not_found(path: str, value: Any) -> Error:
    """The value names something that is not there."""
    return Error("FieldValueNotFound", path, f"Not found: {quote(value)}")


def too_long(path: str, limit: int) -> Error:
    """The value has more than limit bytes; upstream does not repeat the value."""
    return Error("FieldValueTooLong", path, f"Too long: may not be more than {limit} bytes")


def too_many(path: str, count: int, limit: int) -> Error:
    """The list has more items than allowed."""
    return Error("FieldValueTooMany", path, f"Too many: {count}: must have at most {limit} items")


def type_invalid(path: str, value: Any, detail: str) -> Error:
    """The value has the wrong JSON type."""
    return Error("FieldValueTypeInvalid", path, f"Invalid value: {quote(value)}: {detail}")


def internal(path: str, detail: str) -> Error:
    """The field could not be looked at."""
    return Error("InternalError", path, f"Internal error: {detail}")


def listed(choices: Sequence[str]) -> str:
    """Choices as messages name them: "a", "b"."""
    return ", ".join(quote(choice) for choice in choices)
