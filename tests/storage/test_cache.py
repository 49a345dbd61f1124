"""Reading through the watch cache: consistency, order, snapshots, and what a watcher is told."""

import asyncio
from collections.abc import Iterable
from contextlib import ExitStack

import pytest

from pynetes.component.clock import SystemClock
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Resource
from pynetes.storage import resource_cache, watch
from pynetes.storage.cache import Cacher, Filter
from pynetes.storage.entry import Entry
from pynetes.storage.memory import MemoryBackend
from pynetes.storage.store import Store
from pynetes.storage.watch import CacheEvent
from tests.storage.conftest import PODS, pod

WEB = Key("default", "web")
VALUE = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"%s","namespace":"default"}}\n'


async def test_a_fresh_read_sees_every_acknowledged_write(store: Store, cacher: Cacher) -> None:
    """Consistent reads: the entry is there, and it is the very one that the write returned."""
    entry = await store.create(pod("web"))
    await cacher.fresh()
    assert cacher.of(PODS).entry(WEB) is entry


async def test_writes_outside_registry_do_not_hold_readers_up(backend: MemoryBackend, cacher: Cacher) -> None:
    """An upstream API server keeps a key of its own beside /registry; its revisions count too."""
    revision = await backend.create("compact_rev_key", b"1")
    assert await cacher.fresh() == revision


async def test_a_revision_from_the_future_times_out(cacher: Cacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """504 with the cause by which clients recognise it."""
    monkeypatch.setattr("pynetes.storage.cache.FRESH", 0.01)
    with pytest.raises(StatusError, match="Too large resource version: 99, current: 1") as caught:
        await cacher.fresh(Revision(99))
    assert caught.value.status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_concurrent_readers_share_one_question(backend: MemoryBackend, cacher: Cacher) -> None:
    """One is out, one is being gathered: a hundred readers ask twice at most."""
    asked = 0
    real = backend.current_revision

    async def counting() -> Revision:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return await real()

    backend.current_revision = counting  # type: ignore[method-assign]
    await asyncio.gather(*(cacher.fresh() for _ in range(100)))
    assert asked <= 2


async def test_readers_who_come_again_share_every_question(backend: MemoryBackend, cacher: Cacher) -> None:
    """Each comes back a turn or two of the loop after its answer, as over a connection: the next question waits for
    them, and not for anybody once they are gone."""
    asked = 0
    real = backend.current_revision

    async def counting() -> Revision:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return await real()

    async def reader(number: int) -> None:
        for _ in range(10):
            await cacher.fresh()
            for _ in range(number % 3):
                await asyncio.sleep(0)

    backend.current_revision = counting  # type: ignore[method-assign]
    await asyncio.gather(*(reader(number) for number in range(16)))
    assert asked <= 15
    await cacher.fresh()
    assert asked <= 16


async def test_a_cancelled_reader_takes_nobody_with_it(backend: MemoryBackend, cacher: Cacher) -> None:
    """The reader that was to ask for all goes away; another asks."""
    gate = asyncio.Event()
    real = backend.current_revision

    async def slow() -> Revision:
        await gate.wait()
        return await real()

    backend.current_revision = slow  # type: ignore[method-assign]
    async with asyncio.TaskGroup() as group:
        readers = [group.create_task(cacher.fresh()) for _ in range(4)]
        await asyncio.sleep(0)
        readers[1].cancel()
        await asyncio.sleep(0)
        gate.set()
    assert [reader.cancelled() for reader in readers] == [False, True, False, False]


async def test_entries_are_in_the_stores_order(store: Store, cacher: Cacher) -> None:
    """By storage key, so that a namespace is contiguous and continue tokens mean the same to any API server."""
    for namespace, name in (("a-b", "x"), ("a", "z"), ("a", "y"), ("b", "x")):
        await store.create(pod(name, namespace))
    await cacher.fresh()
    cache = cacher.of(PODS)
    assert [str(entry.key) for entry in cache.entries()] == ["a-b/x", "a/y", "a/z", "b/x"]
    assert [str(entry.key) for entry in cache.entries(Filter(namespace="a"))] == ["a/y", "a/z"]
    assert [str(e.key) for e in cache.entries(start="/registry/pods/a/y\0")] == ["a/z", "b/x"]
    (only,) = cache.entries(Filter(namespace="b"))
    assert only.item.startswith(b'{"metadata":{"resourceVersion":"')
    assert only.body == b'{"kind":"Pod","apiVersion":"v1",' + only.item[1:]


async def test_values_in_another_order_are_read(backend: MemoryBackend, cacher: Cacher) -> None:
    """Whoever wrote them, and with a newline at the end."""
    other = b'{"metadata":{"namespace":"default","name":"b"},"apiVersion":"v1","kind":"Pod","spec":{"nodeName":"n"}}'
    await backend.create("/registry/pods/default/a", VALUE % b"a")
    await backend.create("/registry/pods/default/b", other)
    await backend.create("/registry/pods/default/c", b"k8s\x00not ours")
    await cacher.fresh()
    a, b = cacher.of(PODS).entries()
    assert a.body.endswith(b"}}")
    assert b.body.startswith(b'{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"3",')
    assert b.fields["spec.nodeName"] == "n"


async def test_watch_tells_changes_in_order(store: Store, cacher: Cacher) -> None:
    """ADDED, MODIFIED, DELETED, resumable from a revision in between."""
    first = await store.create(pod("web"))
    with cacher.of(PODS).watch(Revision(1)) as watching:
        await store.update(WEB, label)
        gone = await store.delete(WEB)
        await cacher.fresh()
        events = await watching.batch()
        assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert [event.revision for event in events] == [2, 3, 4]
        assert events[-1].entry is gone
        assert watching.progress() == 4
    with cacher.of(PODS).watch(first.revision) as resumed:
        assert [event.type for event in await resumed.batch()] == ["MODIFIED", "DELETED"]


async def label(obj: Object) -> Object:
    obj["metadata"]["labels"] = {"app": "shop"}
    return obj


class Labelled:
    """Selects app=shop."""

    def matches(self, values: object) -> bool:
        return values == {"app": "shop"}


async def test_selectors_turn_transitions_into_events(store: Store, cacher: Cacher) -> None:
    """What begins to match is ADDED; what ceases to is DELETED, shown as it was with the new revision."""

    async def unlabel(obj: Object) -> Object:
        del obj["metadata"]["labels"]
        return obj

    await store.create(pod("web"))
    await cacher.fresh()
    with (
        cacher.of(PODS).watch(wanted=Filter(labels=Labelled())) as one,
        cacher.of(PODS).watch(wanted=Filter(labels=Labelled())) as two,
    ):
        await store.update(WEB, label)
        removed = await store.update(WEB, unlabel)
        await store.delete(WEB)
        await cacher.fresh()
        added, deleted = await one.batch()
        assert (added.type, deleted.type) == ("ADDED", "DELETED")
        assert deleted.entry.labels == {"app": "shop"}
        assert deleted.entry.obj["metadata"]["resourceVersion"] == str(removed.revision)
        assert list(await two.batch()) == [added, deleted], "one event object, and so one frame, for all watchers"


async def test_watchers_are_found_by_what_they_require(store: Store, cacher: Cacher) -> None:
    """By name, namespace and field value; a pod that is bound appears to its node's watcher."""
    cache = cacher.of(PODS)
    wanted = [
        Filter(name="web", namespace="default"),
        Filter(namespace="other"),
        Filter(exact=(("spec.nodeName", "n1"),)),
    ]
    watches = [cache.watch(wanted=each) for each in wanted]

    async def bind(obj: Object) -> Object:
        obj["spec"]["nodeName"] = "n1"
        return obj

    await store.create(pod("web"))
    await store.create(pod("web", "other"))
    await store.update(WEB, bind)
    await cacher.fresh()
    seen = [[f"{event.type} {event.entry.key}" for event in await each.batch()] for each in watches]
    assert seen == [["ADDED default/web", "MODIFIED default/web"], ["ADDED other/web"], ["ADDED default/web"]]
    for each in watches:
        each.close()
    assert not list(cache._watchers)


async def test_a_slow_watcher_is_closed(store: Store, cacher: Cacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never is an event left out."""
    monkeypatch.setattr(watch, "BUFFER", 2)
    watching = cacher.of(PODS).watch()
    for name in "abc":
        await store.create(pod(name))
    await cacher.fresh()
    assert [event async for event in watching] == []


async def test_too_old_is_410(store: Store, cacher: Cacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch from before the window."""
    monkeypatch.setattr(resource_cache, "WINDOW_EVENTS", 2)
    for name in "abcd":
        await store.create(pod(name))
    await cacher.fresh()
    with pytest.raises(StatusError, match=r"^too old resource version: 2 \(3\)$") as caught:
        cacher.of(PODS).watch(Revision(2))
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    cacher.of(PODS).watch(Revision(3)).close()


async def test_a_resource_added_later_misses_nothing(backend: MemoryBackend, cacher: Cacher) -> None:
    """A CRD's objects, written before, during and after the listing."""
    foos = Resource(group="x.io", versions=("v1",), kind="Foo", plural="foos", storage_prefix="x.io/foos")
    value = b'{"kind":"Foo","apiVersion":"x.io/v1","metadata":{"name":"%s","namespace":"n"}}'
    await backend.create("/registry/x.io/foos/n/a", value % b"a")
    listing = backend.list

    async def slow(prefix: str, **options: object) -> object:
        page = await listing(prefix, **options)  # type: ignore[arg-type]
        revision = await backend.create("/registry/x.io/foos/n/b", value % b"b")
        await cacher.fresh(revision)
        return page

    backend.list = slow  # type: ignore[method-assign, assignment]
    cache = await cacher.add(foos)
    assert [entry.key.name for entry in cache.entries()] == ["a", "b"]
    with cache.watch() as watching:
        kept = await backend.get("/registry/x.io/foos/n/a")
        assert kept
        await backend.delete(kept.key, expected=kept.modified)
        assert [event.type for event in await watching.batch()] == ["DELETED"]


async def test_compaction_past_the_cache_relists(backend: MemoryBackend) -> None:
    """Watchers are closed, and the cache is right afterwards."""
    cacher = Cacher(backend, SystemClock(), [PODS])
    await backend.create("/registry/pods/default/a", VALUE % b"a")
    following = backend.watch
    attempts = 0

    def overtaken(prefix: str, *, after: Revision) -> object:
        nonlocal attempts
        attempts += 1
        return following(prefix, after=Revision(0) if attempts == 1 else after)

    backend.watch = overtaken  # type: ignore[method-assign, assignment]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(cacher.run())
        await cacher.ready()
        await backend.create("/registry/pods/default/b", VALUE % b"b")
        await cacher.fresh()
        assert [entry.key.name for entry in cacher.of(PODS).entries()] == ["a", "b"]
        assert attempts == 2
        running.cancel()


async def test_a_complete_list_is_one_list_until_something_changes(store: Store, cacher: Cacher) -> None:
    """So that its size and its compressed form are computed once, however many read it."""
    await store.create(pod("x", "a"))
    await cacher.fresh()
    cache = cacher.of(PODS)
    assert cache.entries() is cache.entries()
    before = cache.entries(Filter(namespace="a"))
    await store.create(pod("y", "a"))
    await cacher.fresh()
    assert [entry.key.name for entry in before] == ["x"]
    assert [entry.key.name for entry in cache.entries(Filter(namespace="a"))] == ["x", "y"]


class Names:
    """A follower that knows the names of what there is, as indexes of the API server do."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def reset(self, entries: Iterable[Entry]) -> None:
        """All of it."""
        self.names = {entry.key.name for entry in entries}

    def changed(self, event: CacheEvent) -> None:
        """One change."""
        (self.names.discard if event.type == "DELETED" else self.names.add)(event.entry.key.name)


async def test_a_follower_from_before_the_first_listing_learns_what_there_is(backend: MemoryBackend) -> None:
    """An API server that starts on a store with objects: without it nodes lose their rights, addresses go out twice."""
    await backend.create("/registry/pods/default/a", VALUE % b"a")
    cacher, follower = Cacher(backend, SystemClock(), [PODS]), Names()
    cacher.of(PODS).follow(follower)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(cacher.run())
        await cacher.ready()
        assert follower.names == {"a"}
        await backend.create("/registry/pods/default/b", VALUE % b"b")
        await cacher.fresh()
        assert follower.names == {"a", "b"}
        running.cancel()


async def test_a_change_that_many_wait_for_lets_others_have_their_turn(store: Store, cacher: Cacher) -> None:
    """Watchers are woken some at a time, and who is late gets what came meanwhile in one piece."""
    count, served = 4 * watch.TOGETHER, []
    with ExitStack() as open_watches:
        watches = [open_watches.enter_context(cacher.of(PODS).watch()) for _ in range(count)]

        async def read(each: watch.Watch) -> None:
            served.append(len(await each.batch()))

        async with asyncio.TaskGroup() as readers:
            for each in watches:
                readers.create_task(read(each))
            await asyncio.sleep(0)
            first = await store.create(pod("web"))
            await cacher.fresh(first.revision)
            assert len(served) < count, "a request is answered before all watchers have been"
            second = await store.create(pod("db"))
            await cacher.fresh(second.revision)
    assert len(served) == count
    assert served[0] == 1
    assert served[-1] == 2, "the last one got both at once"
