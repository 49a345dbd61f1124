"""What every store does, whichever it is: one suite over memory, SQLite and a real etcd with mutual TLS."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from pynetes.machinery.meta import Revision
from pynetes.storage.backend import Backend, Change, Compacted, KeyExists, KeyValue, RevisionMismatch
from pynetes.storage.encryption.backend import EncryptedBackend
from pynetes.storage.encryption.ciphers import Local
from pynetes.storage.encryption.config import Rule, Rules
from pynetes.storage.etcd import EtcdBackend
from pynetes.storage.memory import MemoryBackend
from pynetes.storage.sqlite import SqliteBackend
from tests.contract.etcd_server import EtcdServer

WEB = "/registry/pods/default/web"


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    server = EtcdServer(tmp_path)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


@pytest.fixture(params=["memory", "sqlite", "encrypted", pytest.param("etcd", marks=pytest.mark.root)])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    made: Backend
    server: EtcdServer | None = None
    if request.param == "etcd":
        server = EtcdServer(tmp_path)
        await server.start()
        made = EtcdBackend([server.endpoint], server.credentials())
    elif request.param == "encrypted":
        rules = Rules([Rule(frozenset({"*.*"}), [Local("aesgcm", "k1", b"0" * 32)])], ())
        made = EncryptedBackend(MemoryBackend(), rules)
    else:
        made = MemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "store.db")
    try:
        yield made
    finally:
        await made.close()
        if server is not None:
            await server.kill()


async def take(changes: AsyncIterator[Sequence[Change]], count: int) -> list[Change]:
    """The next so many changes."""
    taken: list[Change] = []
    async with asyncio.timeout(20):
        while len(taken) < count:
            taken.extend(await anext(changes))
    return taken


async def test_a_value_keeps_its_created_revision(backend: Backend) -> None:
    """created == modified after create; update moves modified alone; each write gets the next revision."""
    before = await backend.current_revision()
    created = await backend.create(WEB, b"one")
    assert created == before + 1
    assert await backend.get(WEB) == KeyValue(WEB, b"one", created, created)
    modified = await backend.update(WEB, b"two", expected=created)
    assert modified == created + 1 == await backend.current_revision()
    assert await backend.get(WEB) == KeyValue(WEB, b"two", created, modified)


async def test_create_refuses_a_taken_key(backend: Backend) -> None:
    """And does not move the revision."""
    revision = await backend.create(WEB, b"one")
    with pytest.raises(KeyExists):
        await backend.create(WEB, b"two")
    assert await backend.current_revision() == revision


async def test_update_and_delete_compare_the_revision(backend: Backend) -> None:
    """What is there now comes with the refusal."""
    first = await backend.create(WEB, b"one")
    second = await backend.update(WEB, b"two", expected=first)
    for attempt in (backend.update(WEB, b"three", expected=first), backend.delete(WEB, expected=first)):
        with pytest.raises(RevisionMismatch) as refused:
            await attempt
        assert refused.value.current == KeyValue(WEB, b"two", first, second)
    await backend.delete(WEB, expected=second)
    assert await backend.get(WEB) is None
    with pytest.raises(RevisionMismatch) as refused:
        await backend.delete(WEB, expected=second)
    assert refused.value.current is None


async def test_a_key_created_again_is_new(backend: Backend) -> None:
    """Its created revision is that of the second create."""
    await backend.delete(WEB, expected=await backend.create(WEB, b"one"))
    again = await backend.create(WEB, b"two")
    assert await backend.get(WEB) == KeyValue(WEB, b"two", again, again)


async def test_list_pages_in_key_order(backend: Backend) -> None:
    """By bytes, within the prefix, with the number that remains; later pages at the first one's revision."""
    for name in ("b/x", "a-b/x", "a/y", "a/x", "é/x"):
        await backend.create(f"/registry/pods/{name}", name.encode())
    await backend.create("/registry/podsx/a", b"")
    page = await backend.list("/registry/pods/", limit=2)
    assert [item.value.decode() for item in page.items] == ["a-b/x", "a/x"]
    assert (page.remaining, page.revision) == (3, await backend.current_revision())
    await backend.create("/registry/pods/aa/late", b"late")
    rest = await backend.list("/registry/pods/", start=page.items[-1].key + "\0", revision=page.revision)
    assert [item.value.decode() for item in rest.items] == ["a/y", "b/x", "é/x"]
    assert rest.remaining == 0
    assert len((await backend.list("")).items) == 7


async def test_list_at_a_revision(backend: Backend) -> None:
    """Values, deletions and all."""
    first = await backend.create(WEB, b"one")
    second = await backend.update(WEB, b"two", expected=first)
    third = await backend.delete(WEB, expected=second)
    at = {
        revision: [item.value for item in (await backend.list("/registry/", revision=revision)).items]
        for revision in (first, second, third)
    }
    assert at == {first: [b"one"], second: [b"two"], third: []}


async def test_watch_tells_every_change_once_in_order(backend: Backend) -> None:
    """From the past into the present, within the prefix."""
    start = await backend.current_revision()
    first = await backend.create(WEB, b"one")
    await backend.create("/registry/nodes/n1", b"elsewhere")
    async with backend.watch("/registry/pods/", after=start) as changes:
        assert await take(changes, 1) == [Change(WEB, b"one", first, first)]
        second = await backend.update(WEB, b"two", expected=first)
        third = await backend.delete(WEB, expected=second)
        updated, deleted = await take(changes, 2)
        assert updated == Change(WEB, b"two", first, second)
        assert (deleted.key, deleted.value, deleted.modified) == (WEB, None, third)
    async with backend.watch("", after=first) as changes:
        assert [change.key for change in await take(changes, 3)] == ["/registry/nodes/n1", WEB, WEB]


async def test_concurrent_writers_lose_no_update(backend: Backend) -> None:
    """Compare-and-swap by eight writers: the sum is right, and the watch has seen every step."""
    start = await backend.create(WEB, b"0")

    async def add() -> None:
        for _ in range(10):
            current = await backend.get(WEB)
            while current is not None:
                try:
                    await backend.update(WEB, str(int(current.value) + 1).encode(), expected=current.modified)
                    break
                except RevisionMismatch as mismatch:
                    current = mismatch.current

    await asyncio.gather(*(add() for _ in range(8)))
    async with backend.watch("", after=start) as changes:
        assert [int(change.value or b"") for change in await take(changes, 80)] == list(range(1, 81))


async def test_many_and_large_writes_at_once(backend: Backend) -> None:
    """More calls than a connection has streams, and values larger than any window or frame."""
    large = bytes(range(256)) * 4096
    keys = [f"/registry/{number:04}" for number in range(600)]
    start = await backend.create("/registry/start", b"")
    await asyncio.gather(
        *(backend.create(key, b"x") for key in keys), *(backend.create(f"/registry/large{n}", large) for n in range(4))
    )
    assert (await backend.get("/registry/large3") or (None, b""))[1] == large
    async with backend.watch("", after=start) as changes:
        assert len({change.key for change in await take(changes, 604)}) == 604


async def test_a_cancelled_write_leaves_the_store_usable(backend: Backend) -> None:
    """Whether it was carried out is open; the next ones are not disturbed."""
    for number in range(20):
        write = asyncio.ensure_future(backend.create(f"/registry/{number}", b""))
        await asyncio.sleep(0)
        write.cancel()
    assert await backend.create("/registry/after", b"")


async def test_compaction_forgets_the_past(backend: Backend) -> None:
    """Reading or watching before it raises Compacted; the present, and what was not overwritten, stays."""
    old = await backend.create("/registry/pods/default/old", b"old")
    revision = await backend.create(WEB, b"0")
    for number in range(1, 6):
        revision = await backend.update(WEB, str(number).encode(), expected=revision)
    await backend.compact(revision)
    await backend.compact(revision)
    with pytest.raises(Compacted):
        await backend.list("/registry/", revision=old)
    with pytest.raises(Compacted):
        async with backend.watch("", after=old) as changes:
            await take(changes, 1)
    page = await backend.list("/registry/", revision=revision)
    assert [item.value for item in page.items] == [b"old", b"5"]
    async with backend.watch("", after=revision) as changes:
        await backend.delete(WEB, expected=revision)
        assert (await take(changes, 1))[0].value is None


async def test_the_revision_outlives_compaction_of_everything(backend: Backend) -> None:
    """When the last write was a delete and is compacted, the next one still gets a higher revision."""
    gone = await backend.delete(WEB, expected=await backend.create(WEB, b""))
    await backend.compact(gone)
    assert await backend.create(WEB, b"") == gone + 1


async def test_a_lease_takes_its_keys_with_it(backend: Backend) -> None:
    """The keys go when it runs out, as ordinary deletions; a key written again without it stays."""
    lease = await backend.grant_lease(1)
    start = await backend.create("/registry/events/a", b"", lease=lease)
    kept = await backend.create("/registry/events/b", b"", lease=lease)
    await backend.update("/registry/events/b", b"kept", expected=kept)
    async with backend.watch("", after=start) as changes:
        _, _, deleted = await take(changes, 3)
    assert (deleted.key, deleted.value) == ("/registry/events/a", None)
    assert [item.value for item in (await backend.list("/registry/")).items] == [b"kept"]


@pytest.mark.root
async def test_a_watch_of_etcd_resumes_after_it_was_killed(etcd: EtcdServer) -> None:
    """No gap and no repeat, though writes went on while the watcher was away."""
    backend = EtcdBackend([etcd.endpoint], etcd.credentials())
    start = await backend.create("/registry/a", b"")
    async with backend.watch("", after=Revision(start - 1)) as changes:
        assert len(await take(changes, 1)) == 1
        await etcd.kill()
        await etcd.start()
        writer = EtcdBackend([etcd.endpoint], etcd.credentials())
        for number in range(5):
            await writer.create(f"/registry/b{number}", b"")
        assert [change.key for change in await take(changes, 5)] == [f"/registry/b{n}" for n in range(5)]
    await writer.close()
    await backend.close()


@pytest.mark.root
async def test_etcd_killed_amid_writes_loses_nothing_acknowledged(etcd: EtcdServer) -> None:
    """kill -9 of the server; every key whose create returned is there afterwards."""
    backend = EtcdBackend([etcd.endpoint], etcd.credentials())
    acknowledged: list[str] = []

    async def write(writer: int) -> None:
        for number in range(10_000):
            key = f"/registry/{writer}/{number}"
            try:
                await backend.create(key, b"x" * 1000)
            except Exception:
                return
            acknowledged.append(key)
            if len(acknowledged) == 300:
                await etcd.kill()

    await asyncio.gather(*(write(writer) for writer in range(8)))
    await etcd.start()
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= {item.key for item in (await backend.list("/registry/")).items}
    await backend.close()


WRITER = """
import asyncio, sys
from pathlib import Path
from pynetes.storage.sqlite import SqliteBackend

async def main():
    backend = SqliteBackend(Path(sys.argv[1]))
    async def write(writer):
        for number in range(100000):
            key = f"/registry/{writer}/{number}"
            await backend.create(key, b"x" * 1000)
            print(key, flush=True)
    await asyncio.gather(*(write(writer) for writer in range(8)))

asyncio.run(main())
"""


async def test_sqlite_killed_amid_writes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """kill -9 of the process; every key that it acknowledged is there, and the store goes on."""
    path = tmp_path / "store.db"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(300)]
    process.kill()
    acknowledged += (await process.stdout.read()).decode().split("\n")[:-1]
    await process.wait()
    backend = SqliteBackend(path)
    page = await backend.list("/registry/")
    assert set(acknowledged) <= {item.key for item in page.items}
    assert page.revision == max(item.modified for item in page.items)
    assert await backend.create("/registry/next", b"") == page.revision + 1
    await backend.close()


async def test_sqlite_reopened_has_everything(tmp_path: Path) -> None:
    """Values, revisions and history; and nobody else may open it meanwhile."""
    backend = SqliteBackend(tmp_path / "new" / "store.db")
    first = await backend.create(WEB, b"one")
    second = await backend.update(WEB, b"two", expected=first)
    with pytest.raises(Exception, match="in use by another API server"):
        SqliteBackend(tmp_path / "new" / "store.db")
    await backend.close()
    again = SqliteBackend(tmp_path / "new" / "store.db")
    assert await again.get(WEB) == KeyValue(WEB, b"two", first, second)
    assert await again.current_revision() == second
    async with again.watch("", after=first) as changes:
        assert await take(changes, 1) == [Change(WEB, b"two", first, second)]
    await again.close()


async def test_it_says_how_large_it_is(backend: Backend) -> None:
    """In bytes; when what was just written counts is the store's to say."""
    await backend.create("/some", b"x" * 1000)
    assert await backend.size() >= 1000
