"""The thread that writes to the SQLite file: it takes all writes that wait, and commits them at once.

A commit costs an fsync whatever it contains, so under load the writers share it and alone nobody waits for a timer.
Superseded rows are removed in small steps between commits, so that compaction never holds up a write for long.
"""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

from pynetes.machinery.meta import Revision
from pynetes.storage.backend import Change, KeyExists, KeyValue, LeaseID, RevisionMismatch, Unavailable

T = TypeVar("T")
log = logging.getLogger(__name__)

#: Writes of one commit at most.
BATCH = 512
#: Rows looked at in one step of compaction.
STEP = 200

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv (
    modified INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, value BLOB NOT NULL,
    deleted INTEGER NOT NULL, lease INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS kv_key ON kv (key, modified);
CREATE INDEX IF NOT EXISTS kv_lease ON kv (lease) WHERE lease IS NOT NULL;
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, expires REAL NOT NULL);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('revision', 1), ('compacted', 1), ('swept', 1);
"""
_CURRENT = "SELECT key, value, created, modified, deleted FROM kv WHERE key = ? ORDER BY modified DESC LIMIT 1"


def connect(path: Path) -> sqlite3.Connection:
    """A connection that leaves transactions to us."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=64)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def meta(connection: sqlite3.Connection, name: str) -> int:
    """revision: of the last write; compacted: the oldest readable; swept: up to where superseded rows are gone."""
    return int(connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def current(connection: sqlite3.Connection, key: str) -> KeyValue | None:
    """The newest value of a key."""
    row = connection.execute(_CURRENT, (key,)).fetchone()
    return None if row is None or row[4] else KeyValue(*row[:4])


class Batch:
    """The writes of one commit. An operation that raises has written nothing."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._revision = meta(connection, "revision")
        self.changes: list[Change] = []

    def create(self, key: str, value: bytes, lease: LeaseID | None) -> Revision:
        """Backend.create."""
        if current(self._connection, key) is not None:
            raise KeyExists(key)
        return self._put(key, value, 0, lease)

    def update(self, key: str, value: bytes, expected: Revision, lease: LeaseID | None) -> Revision:
        """Backend.update."""
        return self._put(key, value, self._expect(key, expected).created, lease)

    def delete(self, key: str, expected: Revision) -> Revision:
        """Backend.delete."""
        return self._remove(self._expect(key, expected))

    def grant(self, seconds: int) -> LeaseID:
        """Backend.grant_lease. Wall-clock time, because it must hold across a restart."""
        expires = (time.time() + seconds,)
        return int(self._connection.execute("INSERT INTO lease (expires) VALUES (?)", expires).lastrowid or 0)

    def leases(self) -> list[tuple[LeaseID, float]]:
        """All leases with the seconds they still have."""
        now = time.time()
        return [(row[0], row[1] - now) for row in self._connection.execute("SELECT id, expires FROM lease")]

    def expire(self, lease: LeaseID) -> None:
        """Remove a lease and the keys that are on it still."""
        held = self._connection.execute("SELECT key, modified FROM kv WHERE lease = ? ORDER BY key", (lease,))
        for key, modified in held.fetchall():
            found = current(self._connection, key)
            if found is not None and found.modified == modified:
                self._remove(found)
        self._connection.execute("DELETE FROM lease WHERE id = ?", (lease,))

    def compact(self, revision: Revision) -> None:
        """Declare older revisions unreadable; `sweep` removes them."""
        self._connection.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'compacted'", (revision,))

    def sweep(self) -> bool:
        """Remove some superseded rows; whether there may be more."""
        upto, swept = meta(self._connection, "compacted"), meta(self._connection, "swept")
        if swept >= upto:
            return False
        query = "SELECT modified, key, deleted FROM kv WHERE modified > ? AND modified <= ? ORDER BY modified LIMIT ?"
        rows = self._connection.execute(query, (swept, upto, STEP)).fetchall()
        for modified, key, deleted in rows:
            self._connection.execute("DELETE FROM kv WHERE key = ? AND modified < ?", (key, modified + deleted))
        swept = rows[-1][0] if len(rows) == STEP else upto
        self._connection.execute("UPDATE meta SET value = ? WHERE name = 'swept'", (swept,))
        return True

    def finish(self) -> None:
        """Note the revision; the caller commits."""
        if self.changes:
            self._connection.execute("UPDATE meta SET value = ? WHERE name = 'revision'", (self._revision,))

    def _expect(self, key: str, expected: Revision) -> KeyValue:
        found = current(self._connection, key)
        if found is None or found.modified != expected:
            raise RevisionMismatch(found)
        return found

    def _remove(self, found: KeyValue) -> Revision:
        return self._put(found.key, None, found.created, None)

    def _put(self, key: str, value: bytes | None, created: int, lease: LeaseID | None) -> Revision:
        self._revision += 1
        revision = Revision(self._revision)
        created = created or revision
        row = (revision, key, created, value or b"", value is None, lease)
        self._connection.execute("INSERT INTO kv VALUES (?, ?, ?, ?, ?, ?)", row)
        self.changes.append(Change(key, value, Revision(created), revision))
        return revision


class _Write(NamedTuple):
    run: Callable[[Batch], Any]
    done: "asyncio.Future[Any]"


class Writer:
    """Owns the writing connection and its thread."""

    def __init__(self, path: Path, published: Callable[[Sequence[Change]], None]) -> None:
        self._path = path
        self._published = published
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._connection = connect(path)
        self._connection.executescript(_SCHEMA)
        self._sweeping = True
        self._thread = Thread(target=self._work, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[Batch], T]) -> "asyncio.Future[T]":
        """Have it written; the future is done when it is committed."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Write(run, done))
        return done

    def stop(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while True:
            writes = self._take()
            if None in writes:
                self._commit([write for write in writes if write is not None])
                return
            if writes:
                self._commit([write for write in writes if write is not None])
                self._sweeping = True
            else:
                self._sweep()

    def _take(self) -> list[_Write | None]:
        """All that waits. While there is something to sweep this does not block, and may be empty."""
        taken: list[_Write | None] = []
        with suppress(Empty):
            taken.append(self._queue.get(block=not self._sweeping))
            while len(taken) < BATCH:
                taken.append(self._queue.get_nowait())
        return taken

    def _commit(self, writes: Sequence[_Write]) -> None:
        if not writes:
            return
        outcomes: list[tuple[_Write, Any, Exception | None]] = []
        changes: Sequence[Change] = ()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            batch = Batch(self._connection)
            for write in writes:
                try:
                    outcomes.append((write, write.run(batch), None))
                except (KeyExists, RevisionMismatch) as refused:
                    outcomes.append((write, None, refused))
            batch.finish()
            self._connection.execute("COMMIT")
            changes = batch.changes
        except sqlite3.Error as error:
            self._roll_back()
            outcomes = [(write, None, Unavailable(f"{self._path}: {error}")) for write in writes]
        # The loop is closed if the process is on its way out: then nobody waits for the answers.
        with suppress(RuntimeError):
            writes[0].done.get_loop().call_soon_threadsafe(self._answer, outcomes, changes)

    def _answer(self, outcomes: Sequence[tuple[_Write, Any, Exception | None]], changes: Sequence[Change]) -> None:
        self._published(changes)
        for write, result, error in outcomes:
            if write.done.done():
                continue
            if error is not None:
                write.done.set_exception(error)
            else:
                write.done.set_result(result)

    def _sweep(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._sweeping = Batch(self._connection).sweep()
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            self._sweeping = False
            log.error("compacting %s failed: %s", self._path, error)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
