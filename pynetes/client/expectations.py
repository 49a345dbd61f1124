"""What a controller has written and its cache has not shown yet.

Without it a controller whose cache is a moment behind creates the same pods twice. Before writing it says how much it
is about to create and which objects it will delete; until the informer has shown all of it, or five minutes have
passed, the key is not satisfied. Writes that failed, or that the reconcile never came to, are taken off again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pynetes.component.clock import Clock
from pynetes.machinery.meta import UID, Key

#: Seconds after which an unmet expectation no longer holds a controller back: upstream's five minutes.
TIMEOUT = 300.0


@dataclass(slots=True)
class _Expected:
    at: float
    creates: int = 0
    #: Of the creates, those that were announced and not tried yet.
    untried: int = 0
    deletes: set[UID] = field(default_factory=set)


class Expectations:
    """Of one controller, by key."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected: dict[Key, _Expected] = {}

    def expect(self, key: Key, *, creates: int = 0, deletes: Iterable[UID] = ()) -> None:
        """Before writing: so many creations and these deletions are to be seen."""
        entry = self._expected.get(key)
        if entry is None:
            entry = self._expected[key] = _Expected(self._clock.monotonic())
        entry.at = self._clock.monotonic()
        entry.creates += creates
        entry.untried += creates
        entry.deletes.update(deletes)

    def tried(self, key: Key, *, created: bool) -> None:
        """A create was sent; when it failed there is nothing to wait for."""
        if entry := self._expected.get(key):
            if entry.untried > 0:
                entry.untried -= 1
            if not created:
                entry.creates -= 1

    def not_deleted(self, uid: UID) -> None:
        """A delete failed: there is nothing to wait for."""
        for entry in self._expected.values():
            entry.deletes.discard(uid)

    def finished(self, key: Key) -> None:
        """A reconcile ended: what it announced and did not try will not come."""
        if entry := self._expected.get(key):
            entry.creates -= entry.untried
            entry.untried = 0

    def saw_create(self, key: Key) -> None:
        """The informer showed a new object that belongs to key."""
        if entry := self._expected.get(key):
            entry.creates -= 1

    def saw_delete(self, key: Key, uid: UID) -> None:
        """The informer showed an object gone, or going."""
        if entry := self._expected.get(key):
            entry.deletes.discard(uid)

    def satisfied(self, key: Key) -> bool:
        """Whether there is nothing left to wait for."""
        entry = self._expected.get(key)
        if entry is None:
            return True
        if (entry.creates > 0 or entry.deletes) and self._clock.monotonic() - entry.at < TIMEOUT:
            return False
        del self._expected[key]
        return True
