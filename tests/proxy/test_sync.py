"""The loop between changes and the kernel, with a kernel that does as it is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pynetes.apis.core import services
from pynetes.apis.discovery import endpointslices
from pynetes.client.fake import FakeAPI
from pynetes.client.informer import Informer
from pynetes.component.tasks import Group
from pynetes.machinery.meta import Object
from pynetes.proxy import app
from pynetes.proxy.kernel import KernelError
from pynetes.proxy.sync import Proxier
from pynetes.proxy.tracker import Changes, Tracker
from pynetes.testing.clock import VirtualClock, settle
from tests.proxy.objects import endpoint, endpoint_slice, service


class Kernel:
    """Notes what it is told; `refuse` makes the next calls fail."""

    def __init__(self) -> None:
        self.told: list[tuple[str, list[str]]] = []
        self.refuse = 0

    async def start(self, changes: Changes) -> str:
        return self._told("start", changes)

    async def sync(self, changes: Changes, *, cause: int) -> str:
        return self._told("sync", changes)

    async def present(self) -> bool:
        return True

    async def cleanup(self) -> None:
        return None

    def _told(self, what: str, changes: Changes) -> str:
        self.told.append((what, sorted(key.service for key in changes)))
        if self.refuse:
            self.refuse -= 1
            raise KernelError("no")
        return what


class Proxy:
    """A proxier, its kernel and its clock."""

    def __init__(self) -> None:
        self.kernel, self.clock, self.tracker = Kernel(), VirtualClock(), Tracker("here")
        self.proxier = Proxier(self.tracker, lambda _: self.kernel, clock=self.clock, min_sync_seconds=1.0)

    def put(self, *objects: Object) -> None:
        for each in objects:
            self.tracker.set_service(each)
            self.proxier.changed()


@asynccontextmanager
async def running() -> AsyncIterator[Proxy]:
    proxy = Proxy()
    async with Group() as group:
        group.start(proxy.proxier.run())
        await settle()
        yield proxy


async def test_the_first_change_goes_at_once_and_a_burst_goes_together() -> None:
    """Nothing waits for the interval unless a sync has just been."""
    async with running() as proxy:
        assert proxy.kernel.told == [("start", [])]
        await proxy.clock.advance(1)
        proxy.put(service("a"))
        await settle()
        assert proxy.kernel.told[1:] == [("sync", ["a"])]
        proxy.put(service("b"), service("c"))
        await settle()
        assert len(proxy.kernel.told) == 2
        await proxy.clock.advance(1)
        assert proxy.kernel.told[2:] == [("sync", ["b", "c"])]


async def test_what_changes_nothing_is_not_sent() -> None:
    """A Service that only got another status costs no transaction."""
    async with running() as proxy:
        proxy.put(service("a"))
        await proxy.clock.advance(2)
        proxy.put({**service("a"), "status": {"conditions": []}})
        await proxy.clock.advance(2)
        assert proxy.kernel.told == [("start", []), ("sync", ["a"])]


async def test_a_refused_difference_is_followed_by_everything() -> None:
    """And when that is refused too, by everything at the next change."""
    async with running() as proxy:
        proxy.put(service("a"))
        await proxy.clock.advance(2)
        synced = proxy.proxier.synced_at
        proxy.kernel.refuse = 2
        proxy.put(service("b"))
        await proxy.clock.advance(2)
        assert proxy.kernel.told[2:] == [("sync", ["b"]), ("start", ["a", "b"])]
        assert proxy.proxier.synced_at == synced
        proxy.put(service("c"))
        await proxy.clock.advance(2)
        assert proxy.kernel.told[4:] == [("start", ["a", "b", "c"])] and proxy.proxier.synced_at > synced


async def test_informers_reach_the_kernel() -> None:
    """What the API server tells becomes a difference, deletions too."""
    proxy, clock = Proxy(), VirtualClock()
    api = FakeAPI(clock=clock)
    given: Object = {"apiVersion": "v1", "kind": "Service", **service("a")}
    ends: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        **endpoint_slice(endpoint("10.244.0.1"), service="a"),
    }
    api.put(given)
    async with Group() as group:
        handlers = app.handlers(proxy.tracker, proxy.proxier)
        for resource, handler in zip((services.RESOURCE, endpointslices.RESOURCE), handlers, strict=True):
            informer = Informer(api.client(), resource, clock=clock)
            informer.handle(handler)
            group.start(informer.run())
        await settle()
        group.start(proxy.proxier.run())
        await settle()
        assert proxy.kernel.told == [("start", ["a"])]
        for step in (lambda: api.put(ends), lambda: api.remove(ends), lambda: api.remove(given)):
            step()
            await settle()
            await proxy.clock.advance(2)
        assert proxy.kernel.told[1:] == [("sync", ["a"])] * 3
        assert proxy.tracker.all() == {}


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (app.Config(proxy_mode="ipvs2"), "--proxy-mode"),
        (app.Config(cluster_cidr=("10.0.0.0/33",)), "--cluster-cidr"),
        (app.Config(nodeport_addresses=("x",)), "--nodeport-addresses"),
    ],
)
def test_a_wrong_flag_is_named(config: app.Config, word: str) -> None:
    """The message says which flag, before anything is touched."""
    with pytest.raises(app.BadConfig, match=word):
        app.settings(config)
