"""What the API server asks of a store. etcd, SQLite and memory implement it; tests/contract/ holds them to it.

Keys are text such as /registry/pods/default/web, values opaque bytes. Every successful write gets the next revision;
one watch over a prefix sees every revision under it once, in order, so a watcher of /registry/ always knows how far it
has come without asking.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from pynetes.machinery.meta import Revision

LeaseID = int


class KeyValue(NamedTuple):
    """A stored value; created == modified until its first update."""

    key: str
    value: bytes
    created: Revision
    modified: Revision


class Change(NamedTuple):
    """One write, as a watch tells it. value is None for a delete, whose `created` may be 0.

    The value before is not told: the watch cache has it, and to read it for every event costs the store a lookup."""

    key: str
    value: bytes | None
    created: Revision
    modified: Revision


class Page(NamedTuple):
    """Part of a range, in key order. remaining counts what lies behind it; revision is the store's at reading."""

    items: Sequence[KeyValue]
    revision: Revision
    remaining: int


class KeyExists(Exception):
    """create found the key taken."""


class RevisionMismatch(Exception):
    """A compare-and-swap or guarded delete found another revision; current is what is there now, None if nothing."""

    def __init__(self, current: KeyValue | None) -> None:
        super().__init__("the key has another revision")
        self.current = current


class Compacted(Exception):
    """The revision asked for is gone; `oldest` is the oldest that can still be read (0 if unknown)."""

    def __init__(self, oldest: Revision) -> None:
        super().__init__(f"the revision is compacted, the oldest is {oldest}")
        self.oldest = oldest


class Unavailable(Exception):
    """The store cannot answer now; the text says why and, where it can, what to do."""


class Backend(Protocol):
    """A store of revisioned keys. All methods raise Unavailable when the store is out of reach."""

    async def get(self, key: str) -> KeyValue | None:
        """The newest value."""

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: Revision | None = None) -> Page:
        """Keys under prefix, from `start` (a full key, inclusive) on; limit 0 means all; revision None means now.

        Raises Compacted."""

    async def create(self, key: str, value: bytes, *, lease: LeaseID | None = None) -> Revision:
        """Write a key that must not exist. Raises KeyExists."""

    async def update(self, key: str, value: bytes, *, expected: Revision, lease: LeaseID | None = None) -> Revision:
        """Replace the value if its modified revision is `expected`. Raises RevisionMismatch."""

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        """Remove the key if its modified revision is `expected`. Raises RevisionMismatch."""

    def watch(self, prefix: str, *, after: Revision) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Change]]]:
        """Every change under prefix with a revision greater than `after`, in batches that never split a revision.

        Survives reconnects by itself, without a gap or a repeat. Raises Compacted."""

    async def compact(self, revision: Revision) -> None:
        """Forget what was overwritten before this revision."""

    async def current_revision(self) -> Revision:
        """The store's revision now: linearizable, so it is at least that of every write acknowledged before."""

    async def size(self) -> int:
        """Bytes that the store takes where it lies."""

    async def grant_lease(self, seconds: int) -> LeaseID:
        """A lease whose keys go when it runs out."""

    async def close(self) -> None:
        """Release everything."""
