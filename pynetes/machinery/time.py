"""Times as the API writes them: Time has no fraction and ends in Z, MicroTime has six decimals."""

import re
from datetime import UTC, datetime, timedelta

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def parse(text: str) -> datetime:
    """Read RFC 3339 with any offset and fraction into UTC. ValueError if it is none."""
    if not (found := _RFC3339.fullmatch(text)):
        raise ValueError(f"{text!r} is no RFC 3339 time")
    fraction = found[1] or ""
    if len(fraction) > 7:  # datetime keeps microseconds; upstream drops the nanoseconds when it writes
        text = text.replace(fraction, fraction[:7])
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def rfc3339(moment: datetime) -> str:
    """2026-01-02T15:04:05Z."""
    return f"{moment.astimezone(UTC).isoformat()[:19]}Z"


def micro(moment: datetime) -> str:
    """2026-01-02T15:04:05.000000Z."""
    # A third of strftime's time, and every audit event has two.
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:26]}Z"


def human(duration: timedelta) -> str:
    """A duration as a table's AGE shows it: 42s, 3m10s, 5h, 2d4h, 400d, 3y20d."""
    seconds = int(duration.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return _pair(minutes, "m", seconds % 60, "s")
    hours = seconds // 3600
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return _pair(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"
