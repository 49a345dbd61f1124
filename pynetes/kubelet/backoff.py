"""Back-off per key, doubling: of containers that end again and again, and of images that cannot be pulled."""

from dataclasses import dataclass
from datetime import datetime, timedelta

INITIAL = timedelta(seconds=10)
LIMIT = timedelta(minutes=5)


@dataclass(slots=True)
class _Entry:
    wait: timedelta
    last: datetime


class Backoff:
    """How long to wait before the next try. A key that stayed well for twice the limit starts over."""

    def __init__(self, initial: timedelta = INITIAL, limit: timedelta = LIMIT) -> None:
        self._initial, self._limit = initial, limit
        self._entries: dict[str, _Entry] = {}

    def wait(self, key: str) -> timedelta:
        """The present back-off of a key; zero before its first failure."""
        entry = self._entries.get(key)
        return entry.wait if entry else timedelta()

    def left(self, key: str, since: datetime, now: datetime) -> timedelta:
        """How much of the back-off is left, counted from `since`; zero when the next try may begin."""
        entry = self._entries.get(key)
        if entry is None or since - entry.last > 2 * self._limit:
            return timedelta()
        return max(since + entry.wait - now, timedelta())

    def next(self, key: str, now: datetime) -> None:
        """Note a try: the wait after its failure is twice the one before."""
        entry = self._entries.get(key)
        if entry is None or now - entry.last > 2 * self._limit:
            self._entries[key] = _Entry(self._initial, now)
        else:
            entry.wait, entry.last = min(entry.wait * 2, self._limit), now

    def forget(self, prefix: str) -> None:
        """Drop every key that begins with prefix."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            del self._entries[key]
