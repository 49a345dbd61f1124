"""The embedded store: one SQLite file, for an API server that runs alone.

Every write is a row whose primary key is its revision, so the file is the history until compaction takes from it.
Writers that wait at the same time share one commit (sqlite_writer.py); what was acknowledged survives kill -9 and power
loss. One process holds the file.
"""

import asyncio
import fcntl
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pynetes.machinery.meta import Revision
from pynetes.storage.backend import Change, Compacted, KeyValue, LeaseID, Page, Unavailable
from pynetes.storage.changelog import ChangeLog
from pynetes.storage.sqlite_writer import Writer, connect, current, meta

T = TypeVar("T")

#: Changes kept in memory for watchers that follow closely; older ones are read from the file.
TAIL = 256
#: Rows read at once by a watcher that is behind.
CATCH_UP = 500

_LIST = """
SELECT kv.key, kv.value, kv.created, kv.modified FROM kv JOIN (
    SELECT max(modified) AS newest FROM kv WHERE key >= ? AND key < ? AND modified <= ? GROUP BY key ORDER BY key
) ON kv.modified = newest WHERE NOT kv.deleted ORDER BY kv.key LIMIT ?
"""
_COUNT = """
SELECT count(*) FROM kv JOIN (
    SELECT max(modified) AS newest FROM kv WHERE key >= ? AND key < ? AND modified <= ? GROUP BY key
) ON kv.modified = newest WHERE NOT kv.deleted
"""
_SINCE = """
SELECT key, CASE WHEN deleted THEN NULL ELSE value END, created, modified FROM kv
WHERE modified > ? ORDER BY modified LIMIT ?
"""


class SqliteBackend:
    """Opened on a file, which is made with its directory if missing. Raises Unavailable if it is in use."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = path.with_suffix(".lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(f"{path} is in use by another API server") from None
        except OSError as error:
            raise Unavailable(f"{error.filename}: {error.strerror}") from error
        try:
            self._writer = Writer(path, self._published)
            # Readers have a thread and a connection of their own: in WAL mode they never wait for the writer.
            self._reading = ThreadPoolExecutor(1, "sqlite-reader")
            self._reader = connect(path)
        except sqlite3.Error as error:
            self._lock.close()
            raise Unavailable(f"{path}: {error}") from error
        self._log = ChangeLog(Revision(meta(self._reader, "revision")), limit=TAIL)
        self._timers: dict[LeaseID, asyncio.TimerHandle] = {}
        self._leases_loaded = False

    async def get(self, key: str) -> KeyValue | None:
        return await self._read(lambda: current(self._reader, key))

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: Revision | None = None) -> Page:
        return await self._read(partial(self._list, prefix, start, limit, revision))

    async def create(self, key: str, value: bytes, *, lease: LeaseID | None = None) -> Revision:
        return await self._writer.submit(lambda batch: batch.create(key, value, lease))

    async def update(self, key: str, value: bytes, *, expected: Revision, lease: LeaseID | None = None) -> Revision:
        return await self._writer.submit(lambda batch: batch.update(key, value, expected, lease))

    async def delete(self, key: str, *, expected: Revision) -> Revision:
        return await self._writer.submit(lambda batch: batch.delete(key, expected))

    @asynccontextmanager
    async def watch(self, prefix: str, *, after: Revision) -> AsyncIterator[AsyncIterator[Sequence[Change]]]:
        await self._resume_leases()
        yield self._follow(prefix, after)

    async def compact(self, revision: Revision) -> None:
        revision = Revision(min(revision, self._log.revision))
        await self._writer.submit(lambda batch: batch.compact(revision))
        self._log.forget(revision)

    async def current_revision(self) -> Revision:
        return self._log.revision

    async def size(self) -> int:
        def pages() -> int:
            [count], [each] = (
                self._reader.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
            )
            return int(count) * int(each)

        return await self._read(pages)

    async def grant_lease(self, seconds: int) -> LeaseID:
        await self._resume_leases()
        lease = await self._writer.submit(lambda batch: batch.grant(seconds))
        self._expire_after(lease, seconds)
        return lease

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        await asyncio.get_running_loop().run_in_executor(self._reading, self._writer.stop)
        self._reading.shutdown()
        self._reader.close()
        self._lock.close()

    def _published(self, changes: Sequence[Change]) -> None:
        """Called by the writer on the event loop, before the writes of the batch are acknowledged."""
        self._log.append(changes)

    async def _read(self, read: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reading, read)
        except sqlite3.Error as error:
            raise Unavailable(f"{self._path}: {error}") from error

    def _list(self, prefix: str, start: str, limit: int, revision: Revision | None) -> Page:
        with closing(self._reader.cursor()) as cursor:
            cursor.execute("BEGIN")
            try:
                now = Revision(meta(self._reader, "revision"))
                self._readable(revision)
                # The last character of a prefix, one higher, ends its range; "" has no end below the highest character.
                end = prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else "\U0010ffff"
                wanted = max(prefix, start), end, now if revision is None else revision
                rows = cursor.execute(_LIST, (*wanted, limit or -1)).fetchall()
                remaining = 0
                if limit and len(rows) == limit:
                    remaining = cursor.execute(_COUNT, wanted).fetchone()[0] - len(rows)
            finally:
                cursor.execute("COMMIT")
        return Page([KeyValue(*row) for row in rows], now, remaining)

    def _readable(self, revision: Revision | None) -> None:
        compacted = meta(self._reader, "compacted")
        if revision is not None and revision < compacted:
            raise Compacted(Revision(compacted))

    async def _follow(self, prefix: str, after: Revision) -> AsyncIterator[Sequence[Change]]:
        while True:
            changes = self._log.since(after)
            if changes is None:
                changes = await self._read(partial(self._since, after))
            if not changes:
                await self._log.wait(after)
                continue
            after = changes[-1].modified
            if wanted := [change for change in changes if change.key.startswith(prefix)]:
                yield wanted

    def _since(self, after: Revision) -> Sequence[Change]:
        self._readable(after)
        rows: list[tuple[Any, ...]] = self._reader.execute(_SINCE, (after, CATCH_UP)).fetchall()
        self._readable(after)  # nothing was compacted away while reading
        return [Change(*row) for row in rows]

    async def _resume_leases(self) -> None:
        """Leases outlive a restart, as etcd's do: their time goes on where it stood."""
        if self._leases_loaded:
            return
        self._leases_loaded = True
        for lease, seconds in await self._writer.submit(lambda batch: batch.leases()):
            self._expire_after(lease, seconds)

    def _expire_after(self, lease: LeaseID, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timers[lease] = loop.call_later(max(0.0, seconds), self._expire, lease)

    def _expire(self, lease: LeaseID) -> None:
        del self._timers[lease]
        self._writer.submit(lambda batch: batch.expire(lease))
