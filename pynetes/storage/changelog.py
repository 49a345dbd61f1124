"""The newest changes of an embedded store, in order, and the watchers that wait for more.

A watcher keeps only its position; there is no queue per watcher that could overflow or drop. Memory and SQLite share
it: memory keeps everything since the last compaction here, SQLite only the tail and reads older changes from its file.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from pynetes.machinery.meta import Revision
from pynetes.storage.backend import Change

_MODIFIED = attrgetter("modified")


class ChangeLog:
    """Changes with revisions in (start, revision], each revision once. Lives on one event loop."""

    def __init__(self, revision: Revision, *, limit: int = 0) -> None:
        self.start = revision
        self.revision = revision
        self._limit = limit
        self._changes: list[Change] = []
        self._waiting: set[asyncio.Future[None]] = set()

    def append(self, changes: Sequence[Change]) -> None:
        """Add changes that follow the newest one, and wake the watchers."""
        if not changes:
            return
        self._changes.extend(changes)
        self.revision = changes[-1].modified
        if self._limit and len(self._changes) > 2 * self._limit:
            self.forget(self._changes[-self._limit - 1].modified)
        self._wake()

    def since(self, after: Revision) -> Sequence[Change] | None:
        """Every change with a greater revision; None if some of them are no longer here."""
        if after < self.start:
            return None
        return self._changes[bisect_right(self._changes, after, key=_MODIFIED) :]

    def forget(self, revision: Revision) -> None:
        """Drop changes up to and including this revision."""
        if revision > self.start:
            del self._changes[: bisect_right(self._changes, revision, key=_MODIFIED)]
            self.start = Revision(min(revision, self.revision))

    async def wait(self, after: Revision) -> None:
        """Until there is a change with a greater revision."""
        while self.revision <= after:
            future = asyncio.get_running_loop().create_future()
            self._waiting.add(future)
            try:
                await future
            finally:
                self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
