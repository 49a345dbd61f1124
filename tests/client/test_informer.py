"""Informers: list once, then follow; list again only when the revision is gone."""

from pynetes.apis.core import configmaps
from pynetes.client.fake import FakeAPI
from pynetes.client.informer import Informer
from pynetes.client.transport import Answer, Call
from pynetes.component.tasks import Group
from pynetes.machinery.meta import Key, Object
from pynetes.testing.clock import VirtualClock, settle


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": name}, "data": data}


class CountingAPI(FakeAPI):
    """A fake API that counts the lists and can be cut off from its watchers."""

    lists = 0

    async def request(self, call: Call) -> Answer:
        self.lists += call.method == "GET"
        return await super().request(call)


async def test_handlers_see_each_change_with_its_predecessor() -> None:
    """Add has no predecessor, a delete has the last state and says that it is one."""
    clock = VirtualClock()
    api, seen = FakeAPI(clock=clock), []
    informer = Informer(api.client(), configmaps.RESOURCE, clock=clock)
    informer.handle(lambda new, old, gone: seen.append((new.get("data"), old and old.get("data"), gone)))
    async with Group() as group:
        group.start(informer.run())
        await informer.wait_synced()
        await settle()
        api.put(config_map("a", x="1"))
        api.put(config_map("a", x="2"))
        api.remove(config_map("a", x="2"))
        await settle()
    assert seen == [({"x": "1"}, None, False), ({"x": "2"}, {"x": "1"}, False), ({"x": "2"}, {"x": "2"}, True)]


async def test_indexes_follow_changes() -> None:
    """An index finds an object under its present values only."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    informer = Informer(api.client(), configmaps.RESOURCE, clock=clock)
    informer.index({"x": lambda obj: [obj["data"]["x"]]})
    async with Group() as group:
        group.start(informer.run())
        await settle()
        api.put(config_map("a", x="1"))
        await settle()
        assert [obj["metadata"]["name"] for obj in informer.listed(index="x", value="1")] == ["a"]
        api.put(config_map("a", x="2"))
        await settle()
        assert not informer.listed(index="x", value="1")
        assert informer.get(Key("default", "a")) in informer.listed(index="x", value="2")


async def test_an_expired_revision_means_a_new_list_and_only_the_difference() -> None:
    """After 410 the informer lists again; handlers hear of what changed and what is gone, and of nothing else."""
    clock = VirtualClock()
    api, seen = CountingAPI(clock=clock), []
    for name in ("kept", "changed", "gone"):
        api.put(config_map(name))
    informer = Informer(api.client(), configmaps.RESOURCE, clock=clock)
    async with Group() as group:
        task = group.start(informer.run())
        await settle()
        task.cancel()
        await settle()
        informer.handle(lambda new, old, gone: seen.append((new["metadata"]["name"], gone)))
        seen.clear()
        api.put(config_map("changed", x="1"))
        api.remove(config_map("gone"))
        api.expire()
        group.start(informer.run())
        await clock.advance(5)
    assert seen == [("changed", False), ("gone", True)]
    assert api.lists == 2


async def test_a_resumed_watch_lists_nothing() -> None:
    """An informer that was cut off goes on where it was."""
    clock = VirtualClock()
    api = CountingAPI(clock=clock)
    api.put(config_map("a"))
    informer = Informer(api.client(), configmaps.RESOURCE, clock=clock)
    async with Group() as group:
        task = group.start(informer.run())
        await settle()
        task.cancel()
        await settle()
        api.put(config_map("b"))
        group.start(informer.run())
        await settle()
        assert len(informer.listed()) == 2
    assert api.lists == 1


async def test_whoever_wrote_waits_until_the_store_shows_it() -> None:
    """`reach` ends with the event of that revision, or with a list that is newer."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    informer = Informer(api.client(), configmaps.RESOURCE, clock=clock)
    async with Group() as group:
        group.start(informer.run())
        await informer.wait_synced()
        await informer.reach(informer.reached)
        before, seen = informer.reached, []

        async def reader() -> None:
            await informer.reach(before + 1)
            seen.append(informer.get(Key("default", "a")))

        group.start(reader())
        await settle()
        assert seen == []
        api.put(config_map("a", x="1"))
        await settle()
        assert [found and found["data"] for found in seen] == [{"x": "1"}]
