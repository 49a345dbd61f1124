"""What only the embedded store does: sharing commits, removing superseded rows, full disks, leases over a restart."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.storage import sqlite_writer
from pynetes.storage.backend import KeyExists, Unavailable
from pynetes.storage.sqlite import SqliteBackend


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[SqliteBackend]:
    made = SqliteBackend(tmp_path / "store.db")
    yield made
    await made.close()


async def rows(backend: SqliteBackend) -> int:
    """Versions in the file."""
    return await backend._read(lambda: int(backend._reader.execute("SELECT count(*) FROM kv").fetchone()[0]))


async def swept(backend: SqliteBackend) -> None:
    """Until compaction has caught up: steps run between commits, so each write lets one go first."""
    for number in range(100):
        await backend.create(f"/registry/step/{number}", b"")
        if await backend._read(lambda: sqlite_writer.meta(backend._reader, "swept")) >= await backend._read(
            lambda: sqlite_writer.meta(backend._reader, "compacted")
        ):
            return
    raise AssertionError("compaction does not come to an end")


async def test_writers_share_commits(backend: SqliteBackend) -> None:
    """All that wait at the same time, and one that is refused does not take the others with it."""
    commits: list[int] = []
    published = backend._writer._published
    backend._writer._published = lambda changes: (commits.append(len(changes)), published(changes))[1]  # type: ignore[func-returns-value]
    await backend.create("/registry/taken", b"")
    results = await asyncio.gather(
        *(backend.create(f"/registry/{number}", b"") for number in range(200)),
        backend.create("/registry/taken", b""),
        return_exceptions=True,
    )
    assert isinstance(results[-1], KeyExists)
    assert sorted(results[:-1]) == list(range(3, 203))
    assert sum(commits) == 201
    assert len(commits) < 100


async def test_compaction_removes_what_is_superseded(backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    """In steps; tombstones go too, and the newest version of every key stays."""
    monkeypatch.setattr(sqlite_writer, "STEP", 7)
    revision = await backend.create("/registry/a", b"")
    for _ in range(40):
        revision = await backend.update("/registry/a", b"x", expected=revision)
    await backend.delete("/registry/gone", expected=await backend.create("/registry/gone", b""))
    await backend.compact(await backend.current_revision())
    await swept(backend)
    steps = len((await backend.list("/registry/step/")).items)
    assert await rows(backend) == 1 + steps
    assert (await backend.get("/registry/a") or ())[1:] == (b"x", 2, revision)


async def test_a_full_disk_refuses_writes_and_loses_nothing(backend: SqliteBackend) -> None:
    """The error says what is wrong; reading goes on, and writing does once there is room."""

    async def limit(pages: int) -> None:
        await backend._writer.submit(
            lambda batch: batch._connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
        )

    await backend.create("/registry/kept", b"kept")
    await limit(1)
    with pytest.raises(Unavailable, match="disk is full"):
        await backend.create("/registry/large", b"x" * (1 << 20))
    assert [item.key for item in (await backend.list("/registry/")).items] == ["/registry/kept"]
    await limit(1 << 30)
    assert await backend.create("/registry/large", b"x" * (1 << 20)) == 3


async def test_leases_outlive_a_restart(tmp_path: Path) -> None:
    """Their keys go when the rest of their time has passed, though nobody held the store meanwhile."""
    first = SqliteBackend(tmp_path / "store.db")
    revision = await first.create("/registry/event", b"", lease=await first.grant_lease(0))
    await first.close()
    again = SqliteBackend(tmp_path / "store.db")
    async with again.watch("", after=revision) as changes, asyncio.timeout(10):
        (change,) = await anext(changes)
    assert (change.key, change.value) == ("/registry/event", None)
    await again.close()


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """One line that names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="file"):
        SqliteBackend(tmp_path / "file" / "store.db")
