"""Schedules of CronJobs: what is wrong with one, as the library says that upstream reads them with."""

import re

from pynetes.machinery import field

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
#: Least and greatest value, and the names of values from the least on.
_FIELDS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, _MONTHS), (0, 6, _DAYS),
)  # fmt: skip
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_DURATION = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*")


class _Wrong(Exception):
    pass


def problem(text: str) -> str:
    """What is wrong; "" if nothing is."""
    if text.startswith("@"):
        return _descriptor(text)
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for written, (least, most, names) in zip(fields, _FIELDS, strict=True):
            for part in written.split(","):
                _check(part, least, most, names)
    except _Wrong as wrong:
        return str(wrong)
    return ""


def _descriptor(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        every = text.removeprefix("@every ")
        if _DURATION.fullmatch(every) or every == "0":
            return ""
        return f"failed to parse duration {text}: time: invalid duration {field.quote(every)}"
    return f"unrecognized descriptor: {text}"


def _check(part: str, least: int, most: int, names: tuple[str, ...]) -> None:
    range_, *steps = part.split("/")
    first, *rest = range_.split("-")
    if first in ("*", "?"):
        start, end = least, most
    else:
        start = end = _value(first, least, names)
        if len(rest) > 1:
            raise _Wrong(f"too many hyphens: {part}")
        if rest:
            end = _value(rest[0], least, names)
    if len(steps) > 1:
        raise _Wrong(f"too many slashes: {part}")
    step = _number(steps[0]) if steps else 1
    if steps and not rest:
        end = most
    if start < least:
        raise _Wrong(f"beginning of range ({start}) below minimum ({least}): {part}")
    if end > most:
        raise _Wrong(f"end of range ({end}) above maximum ({most}): {part}")
    if start > end:
        raise _Wrong(f"beginning of range ({start}) beyond end of range ({end}): {part}")
    if step == 0:
        raise _Wrong(f"step of range should be a positive number: {part}")


def _value(text: str, least: int, names: tuple[str, ...]) -> int:
    return least + names.index(text.lower()) if text.lower() in names else _number(text)


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        detail = f"strconv.Atoi: parsing {field.quote(text)}: invalid syntax"
        raise _Wrong(f"failed to parse int from {text}: {detail}")
    if (number := int(text)) < 0:
        raise _Wrong(f"negative number ({number}) not allowed: {text}")
    return number
