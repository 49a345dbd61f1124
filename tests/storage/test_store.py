"""Writing through the store: what it keeps, what it returns, and that nobody's write is lost."""

import asyncio

import orjson
import pytest

from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.storage.cache import Cacher
from pynetes.storage.memory import MemoryBackend
from pynetes.storage.store import Store
from tests.storage.conftest import PODS, pod

WEB = Key("default", "web")


async def label(obj: Object) -> Object:
    obj["metadata"].setdefault("labels", {})["seen"] = "yes"
    return obj


async def test_stored_bytes_have_no_resource_version(store: Store, backend: MemoryBackend) -> None:
    """As upstream stores it: kind, apiVersion and metadata first, and the revision only in what is returned."""
    entry = await store.create(pod("web"))
    kept = await backend.get("/registry/pods/default/web")
    assert kept is not None
    assert kept.value == b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default"},"spec":{}}'
    assert entry.obj["metadata"]["resourceVersion"] == str(kept.modified) == str(entry.revision)
    assert orjson.loads(entry.item) == {name: entry.obj[name] for name in ("metadata", "spec")}


async def test_create_of_a_taken_name_is_already_exists(store: Store) -> None:
    """409 AlreadyExists with upstream's text."""
    await store.create(pod("web"))
    with pytest.raises(StatusError, match='pods "web" already exists') as caught:
        await store.create(pod("web"))
    assert caught.value.reason == "AlreadyExists"


async def test_concurrent_updates_lose_nothing(store: Store, cacher: Cacher) -> None:
    """Each of many writers that read, change and write sees its change kept."""
    await store.create(pod("web"))

    async def add(number: int) -> None:
        async def change(obj: Object) -> Object:
            await asyncio.sleep(0)
            obj["spec"].setdefault("numbers", []).append(number)
            return obj

        await store.update(WEB, change)

    await asyncio.gather(*(add(number) for number in range(20)))
    assert sorted((await store.read(WEB)).obj["spec"]["numbers"]) == list(range(20))


async def test_update_that_changes_nothing_writes_nothing(store: Store, backend: MemoryBackend) -> None:
    """The revision stays, even if the client sent the fields in another order."""
    entry = await store.create(pod("web"))

    async def reorder(obj: Object) -> Object:
        return dict(reversed(obj.items()))

    assert (await store.update(WEB, reorder)).revision == entry.revision
    assert await backend.current_revision() == entry.revision


@pytest.mark.parametrize("text", ["20 s", "12 s", "21 m"])
async def test_an_update_of_the_same_length_is_written(store: Store, text: str) -> None:
    """Times, and what is made of the same characters."""

    async def say(obj: Object, text: str) -> Object:
        obj["spec"]["text"] = text
        return obj

    await store.create(await say(pod("web"), "21 s"))
    entry = await store.update(WEB, lambda obj: say(obj, text))
    assert entry.obj["spec"] == {"text": text}


async def test_an_error_over_a_stale_object_does_not_count(
    store: Store, backend: MemoryBackend, cacher: Cacher
) -> None:
    """A change that fails on what the cache has is tried on what the store has before the client hears of it."""
    first = await store.create(pod("web"))
    await cacher.fresh()
    value = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default"},"spec":{"x":1}}'
    await backend.update("/registry/pods/default/web", value, expected=first.revision)

    async def change(obj: Object) -> Object:
        if "x" not in obj["spec"]:
            raise StatusError({"reason": "Conflict"})
        return await label(obj)

    assert cacher.of(PODS).entry(WEB).obj["spec"] == {}  # type: ignore[union-attr]
    assert (await store.update(WEB, change)).labels == {"seen": "yes"}


async def test_missing_objects_are_not_found(store: Store) -> None:
    """Update, delete and read of what is not there."""
    for attempt in (store.update(WEB, label), store.delete(WEB), store.read(WEB)):
        with pytest.raises(StatusError, match='pods "web" not found'):
            await attempt


async def test_delete_returns_the_last_state_with_the_deletions_revision(store: Store, backend: MemoryBackend) -> None:
    """What the client and the watchers are shown."""
    await store.create(pod("web", app="shop"))
    gone = await store.delete(WEB)
    assert gone.revision == await backend.current_revision()
    assert gone.obj["metadata"]["resourceVersion"] == str(gone.revision)
    assert gone.labels == {"app": "shop"}


async def test_delete_is_refused_by_its_check(store: Store, backend: MemoryBackend) -> None:
    """A failed precondition keeps the object."""
    entry = await store.create(pod("web"))

    async def check(obj: Object) -> None:
        raise StatusError({"reason": "Conflict", "message": "no"})

    with pytest.raises(StatusError, match="no"):
        await store.delete(WEB, check)
    assert (await store.read(WEB)).revision == entry.revision


async def test_list_at_an_old_revision(store: Store, backend: MemoryBackend, cacher: Cacher) -> None:
    """From the cache while it remembers, else from the store, else 410."""
    await store.create(pod("a"))
    second = await store.create(pod("b"))
    await store.delete(Key("default", "a"))
    await store.create(pod("c"))
    assert [entry.key.name for entry in await store.list_at(second.revision)] == ["a", "b"]
    forgetful = Cacher(backend, cacher._clock, [PODS])
    async with asyncio.TaskGroup() as group:
        running = group.create_task(forgetful.run())
        await forgetful.ready()
        other = Store(PODS, backend, forgetful)
        assert [entry.key.name for entry in await other.list_at(second.revision)] == ["a", "b"]
        await backend.compact(Revision(second.revision + 1))
        with pytest.raises(StatusError) as caught:
            await other.list_at(second.revision)
        assert (caught.value.code, caught.value.reason) == (410, "Expired")
        running.cancel()


async def test_objects_with_a_ttl_go_together(store: Store, backend: MemoryBackend) -> None:
    """Events share a lease."""
    await store.create(pod("a"), ttl=3600)
    await store.create(pod("b"), ttl=3600)
    assert list(map(len, backend._leases.values())) == [2]
    await backend.close()
