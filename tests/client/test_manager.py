"""The manager drives controllers from events, against the fake API."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from pynetes.apis.apps import replicasets
from pynetes.apis.core import configmaps, events, pods
from pynetes.client.context import ControllerContext
from pynetes.client.controller import Controller, Watch
from pynetes.client.fake import FakeAPI
from pynetes.client.manager import Manager
from pynetes.component.tasks import Group
from pynetes.machinery import errors
from pynetes.machinery.meta import Key, Object
from pynetes.testing.clock import VirtualClock, settle

KEY = Key("default", "web")


def config_map(**data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "web"}, "data": data}


def replica_set() -> Object:
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"namespace": "default", "name": "web"}}


def child(owner: Object) -> Object:
    ref = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "web",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    metadata = {"namespace": "default", "generateName": "web-", "ownerReferences": [ref]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}}


Reconcile = Callable[[ControllerContext, Key], Awaitable[timedelta | None]]


@asynccontextmanager
async def running(api: FakeAPI, clock: VirtualClock, reconcile: Reconcile, *watches: Watch) -> AsyncIterator[Manager]:
    controller = Controller(
        name="test-controller", reconcile=reconcile, watches=watches or (Watch(configmaps.RESOURCE),)
    )
    manager = Manager(api.client(), [controller], clock=clock)
    async with Group() as group:
        group.start(manager.run())
        await settle()
        yield manager


async def test_objects_wake_their_controller() -> None:
    """What is there at the start, what comes and what changes is reconciled; nothing else is."""
    clock = VirtualClock()
    api, seen = FakeAPI(clock=clock), []

    async def reconcile(ctx: ControllerContext, key: Key) -> None:
        found = await ctx.cached(configmaps.RESOURCE, key)
        seen.append(found and found.get("data"))

    api.put(config_map(a="1"))
    async with running(api, clock, reconcile) as manager:
        assert manager.idle
        api.put(config_map(a="2"))
        await settle()
        api.remove(api.listed(configmaps.RESOURCE)[0])
        await settle()
    assert seen == [{"a": "1"}, {"a": "2"}, None]


async def test_failures_come_back_later_and_later() -> None:
    """A reconcile that fails is tried again after 5 ms, then 10 ms, until it succeeds."""
    clock = VirtualClock()
    api, tries = FakeAPI(clock=clock), []

    async def reconcile(ctx: ControllerContext, key: Key) -> None:
        tries.append(clock.monotonic())
        if len(tries) < 3:
            raise errors.conflict("configmaps", "", "web")

    api.put(config_map())
    async with running(api, clock, reconcile):
        await clock.advance(1)
    assert tries == [0.0, 0.005, 0.015]


async def test_a_reconcile_asks_to_be_woken() -> None:
    """The timedelta that reconcile returns is when it runs again."""
    clock = VirtualClock()
    api, tries = FakeAPI(clock=clock), []

    async def reconcile(ctx: ControllerContext, key: Key) -> timedelta | None:
        tries.append(clock.monotonic())
        return timedelta(seconds=30) if len(tries) == 1 else None

    api.put(config_map())
    async with running(api, clock, reconcile):
        await clock.advance(100)
    assert tries == [0.0, 30.0]


async def test_children_satisfy_expectations() -> None:
    """After creating, a controller waits until its cache shows the children, and creates no twins."""
    clock = VirtualClock()
    api, satisfied = FakeAPI(clock=clock), []

    async def reconcile(ctx: ControllerContext, key: Key) -> None:
        owner = await ctx.cached(replicasets.RESOURCE, key)
        satisfied.append(ctx.satisfied(key))
        assert owner is not None
        have = len(ctx.listed(pods.RESOURCE, index="controller", value=owner["metadata"]["uid"]))
        if satisfied[-1] and have < 3:
            ctx.expect(key, creates=3 - have)
            for _ in range(3 - have):
                await ctx.create(pods.RESOURCE, child(owner))

    api.put(replica_set())
    watches = (Watch(replicasets.RESOURCE), Watch(pods.RESOURCE, owner=replicasets.RESOURCE))
    async with running(api, clock, reconcile, *watches):
        await settle()
    assert len(api.listed(pods.RESOURCE)) == 3
    assert satisfied[-1]


async def test_a_failed_create_is_not_waited_for() -> None:
    """A create that fails, and those never tried, are taken off what is expected."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)

    async def reconcile(ctx: ControllerContext, key: Key) -> None:
        owner = await ctx.cached(replicasets.RESOURCE, key)
        have = len(ctx.listed(pods.RESOURCE))
        if owner and ctx.satisfied(key) and have < 3:
            ctx.expect(key, creates=3 - have)
            for _ in range(3 - have):
                await ctx.create(pods.RESOURCE, child(owner))

    api.fail("create", pods.RESOURCE, errors.forbidden("pods", "", "web", "exceeded quota"))
    api.put(replica_set())
    watches = (Watch(replicasets.RESOURCE), Watch(pods.RESOURCE, owner=replicasets.RESOURCE))
    async with running(api, clock, reconcile, *watches):
        await clock.advance(1)
    assert len(api.listed(pods.RESOURCE)) == 3


async def test_a_write_that_changes_nothing_is_skipped() -> None:
    """update and update_status send nothing when the object equals the cached one."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)

    async def reconcile(ctx: ControllerContext, key: Key) -> None:
        found = await ctx.cached(configmaps.RESOURCE, key)
        assert found is not None
        await ctx.update(configmaps.RESOURCE, dict(found))
        await ctx.update(configmaps.RESOURCE, {**found, "data": {"a": "2"}})

    api.put(config_map(a="1"))
    async with running(api, clock, reconcile):
        await settle()
    assert [write.verb for write in api.writes] == ["update"]


async def test_events_are_counted_up() -> None:
    """The same event again raises the count of the first one instead of making another."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)

    async def reconcile(ctx: ControllerContext, key: Key) -> timedelta | None:
        found = await ctx.cached(configmaps.RESOURCE, key)
        assert found is not None
        ctx.event(found, "Warning", "Odd", "it is odd")
        return timedelta(seconds=10) if clock.monotonic() < 15 else None

    api.put(config_map())
    async with running(api, clock, reconcile):
        await clock.advance(60)
    (event,) = api.listed(events.RESOURCE)
    assert (event["count"], event["reason"], event["involvedObject"]["name"]) == (3, "Odd", "web")
    assert event["source"]["component"] == "test-controller"
