"""Thresholds of eviction and whether they are met, with their grace periods. Pure.

The signals, defaults and conditions are those of upstream's node-pressure eviction.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from pynetes.component import config as durations
from pynetes.component.remedy import RemedyError
from pynetes.machinery import quantity

HARD = ("memory.available<100Mi", "nodefs.available<10%", "nodefs.inodesFree<5%", "imagefs.available<15%",
        "imagefs.inodesFree<5%")  # fmt: skip
#: Signal → the node's condition.
CONDITIONS = {
    "memory.available": "MemoryPressure",
    "nodefs.available": "DiskPressure",
    "nodefs.inodesFree": "DiskPressure",
    "imagefs.available": "DiskPressure",
    "imagefs.inodesFree": "DiskPressure",
    "pid.available": "PIDPressure",
}
#: Signal → the resource that runs short, as messages name it.
RESOURCES = {
    "memory.available": "memory",
    "nodefs.available": "ephemeral-storage",
    "nodefs.inodesFree": "inodes",
    "imagefs.available": "ephemeral-storage",
    "imagefs.inodesFree": "inodes",
    "pid.available": "pids",
}
#: The order in which shortages are dealt with: what is quickest fatal first.
ORDER = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree",
         "pid.available")  # fmt: skip


class Seen(NamedTuple):
    """A signal now: how much is left of how much."""

    available: int
    capacity: int


@dataclass(frozen=True)
class Threshold:
    """Less than value (or share of the capacity) of a signal; grace 0 is a hard one."""

    signal: str
    value: int = 0
    share: float = 0.0
    grace: float = 0.0
    #: What has to be left above it before it counts as over, likewise as a value or a share.
    reclaim: int = 0
    reclaim_share: float = 0.0

    def least(self, capacity: int) -> int:
        """What has to be left, in the signal's unit."""
        return int(capacity * self.share) if self.share else self.value

    def met(self, seen: Seen, *, before: bool) -> bool:
        """Whether too little is left; one that was met before is over only when enough has been reclaimed."""
        reclaim = int(seen.capacity * self.reclaim_share) if self.reclaim_share else self.reclaim
        return seen.available < self.least(seen.capacity) + (reclaim if before else 0)


def parse(flag: str, entries: Iterable[str], graces: Mapping[str, float] | None = None) -> list[Threshold]:
    """SIGNAL<VALUE entries; a soft one has its grace period in graces. Raises RemedyError."""
    made = []
    for entry in entries:
        signal, sign, text = entry.partition("<")
        if not sign or signal not in CONDITIONS:
            known = ", ".join(CONDITIONS)
            raise RemedyError(f"{flag}: {entry!r} is not SIGNAL<VALUE", f"SIGNAL is one of {known}")
        if graces is not None and signal not in graces:
            remedy = f"add --eviction-soft-grace-period={signal}=1m30s"
            raise RemedyError(f"{flag}: {signal} has no grace period", remedy)
        grace = graces[signal] if graces is not None else 0.0
        try:
            if text.endswith("%"):
                made.append(Threshold(signal, share=float(text[:-1]) / 100, grace=grace))
            else:
                made.append(Threshold(signal, value=quantity.parse(text).value(), grace=grace))
        except ValueError as error:
            raise RemedyError(
                f"{flag}: {entry!r}: {error}", "a value is a quantity, as 100Mi, or a share, as 10%"
            ) from error
    return made


def graces(flag: str, entries: Iterable[str]) -> dict[str, float]:
    """SIGNAL=DURATION entries in seconds. Raises RemedyError."""
    found = {}
    for entry in entries:
        signal, sign, text = entry.partition("=")
        try:
            found[signal] = durations.seconds(text)
        except ValueError as error:
            raise RemedyError(f"{flag}: {entry!r} is not SIGNAL=DURATION", "a duration is written as 1m30s") from error
        if not sign or signal not in CONDITIONS:
            raise RemedyError(f"{flag}: there is no signal {signal!r}", f"one of {', '.join(CONDITIONS)}")
    return found


def with_reclaim(flag: str, thresholds: Iterable[Threshold], entries: Iterable[str]) -> list[Threshold]:
    """Thresholds with what SIGNAL=QUANTITY entries say has to be reclaimed at least. Raises RemedyError."""
    wanted = {}
    for entry in entries:
        signal, sign, text = entry.partition("=")
        if not sign:
            raise RemedyError(f"{flag}: {entry!r} is not SIGNAL=QUANTITY", "as memory.available=200Mi")
        (wanted[signal],) = parse(flag, [f"{signal}<{text}"])
    return [
        replace(one, reclaim=wanted[one.signal].value, reclaim_share=wanted[one.signal].share)
        if one.signal in wanted
        else one
        for one in thresholds
    ]


class Judge:
    """Remembers since when thresholds are met, and how long their conditions last."""

    def __init__(self, thresholds: Iterable[Threshold], *, transition: float) -> None:
        self._thresholds, self._transition = tuple(thresholds), transition
        self._since: dict[Threshold, float] = {}
        self._last: dict[str, float] = {}

    def judge(self, seen: Mapping[str, Seen], now: float) -> Threshold | None:
        """The threshold to act on now, None when there is none; a hard one comes before a soft one."""
        for one in self._thresholds:
            known = seen.get(one.signal)
            if known is not None and one.met(known, before=one in self._since):
                self._since.setdefault(one, now)
                # A soft threshold shows as a condition at once: the scheduler should send nothing more.
                self._last[CONDITIONS[one.signal]] = now
            else:
                self._since.pop(one, None)
        due = [one for one, since in self._since.items() if now - since >= one.grace]
        return min(due, key=lambda one: (one.grace > 0, ORDER.index(one.signal)), default=None)

    def conditions(self, now: float) -> set[str]:
        """The conditions that hold: for a while longer than their shortage, so that they do not flap."""
        return {name for name, at in self._last.items() if now - at < self._transition or now == at}
