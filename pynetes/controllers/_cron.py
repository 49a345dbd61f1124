"""Cron schedules: minute hour day-of-month month day-of-week, or a macro such as @daily or @every 90m."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_UNITS = {"h": 3600, "m": 60, "s": 1}
#: A schedule that names no day within this (30 February) never comes.
_HORIZON_DAYS = 5 * 366


class Schedule(NamedTuple):
    """A parsed schedule: either five sets of numbers, or a fixed distance."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    #: Both day fields restrict: then either may match, as cron has always had it.
    either_day: bool = False
    every: timedelta | None = None

    def next(self, after: datetime, zone: tzinfo = UTC) -> datetime | None:
        """The first time later than `after`, in UTC; None when there is none."""
        if self.every is not None:
            return (after + self.every).replace(microsecond=0)
        local = after.astimezone(zone)
        for offset in range(_HORIZON_DAYS):
            day = local.date() + timedelta(days=offset)
            if not self._on(day.day, day.month, (day.weekday() + 1) % 7):
                continue
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    moment = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
                    if moment > after and moment.astimezone(zone).hour == hour:  # not in the gap of a clock change
                        return moment
        return None

    def _on(self, day: int, month: int, weekday: int) -> bool:
        if month not in self.months:
            return False
        if self.either_day:
            return day in self.days or weekday in self.weekdays
        return day in self.days and weekday in self.weekdays

    def between(self, after: datetime, until: datetime, zone: tzinfo = UTC) -> Iterator[datetime]:
        """All times later than `after` and not later than `until`."""
        moment = self.next(after, zone)
        while moment is not None and moment <= until:
            yield moment
            moment = self.next(moment, zone)


def parse(text: str) -> Schedule:
    """Read a schedule. ValueError when it is none."""
    text = text.strip()
    if text.startswith("@every "):
        return Schedule(every=_duration(text.removeprefix("@every ")))
    if text.startswith("@"):
        if text not in _MACROS:
            raise ValueError(f"unrecognized descriptor: {text}")
        text = _MACROS[text]
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"expected exactly 5 fields, found {len(parts)}: {text}")
    minutes, hours, days, months, weekdays = (_field(part, *each) for part, each in zip(parts, _FIELDS, strict=True))
    either = not any(part.startswith(("*", "?")) for part in (parts[2], parts[4]))
    return Schedule(minutes, hours, days, months, weekdays, either)


def _duration(text: str) -> timedelta:
    found = re.findall(r"(\d+)([hms])", text)
    if not found or "".join(number + unit for number, unit in found) != text:
        raise ValueError(f"failed to parse duration @every {text}")
    return timedelta(seconds=max(1, sum(int(number) * _UNITS[unit] for number, unit in found)))


def _field(text: str, name: str, low: int, high: int, words: dict[str, int]) -> frozenset[int]:
    numbers: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, name, words)
            end = _number(last, name, words) if dash else high if step else start
        if name == "day of week" and end == 7:  # Sunday has two numbers
            numbers.add(0)
            end = 6 if start < 7 else 0
            start = min(start, end)
        width = _number(step, name, {}) if step else 1
        if start < low or end > high or start > end or width < 1:
            raise ValueError(f"{part!r} is no {name} between {low} and {high}")
        numbers.update(range(start, end + 1, width))
    return frozenset(numbers)


def _number(text: str, name: str, words: dict[str, int]) -> int:
    if text.lower() in words:
        return words[text.lower()]
    if not text.isdecimal():
        raise ValueError(f"{text!r} is no {name}")
    return int(text)
