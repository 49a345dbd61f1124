"""Leader election on a virtual clock: one at a time, taken over when not renewed, given back on a clean stop."""

import asyncio

import pytest

from pynetes.apis.coordination import leases
from pynetes.apis.core import events
from pynetes.client.fake import FakeAPI
from pynetes.client.leaderelection import LeaderElector, LeadershipLost, identity
from pynetes.client.transport import Answer, Call
from pynetes.component.tasks import Group, forever, leaves
from pynetes.machinery import errors
from pynetes.machinery.meta import Key
from pynetes.testing.clock import VirtualClock, settle

KEY = Key("kube-system", "scheduler")


class Asked(FakeAPI):
    """Remembers the method of each request."""

    def __init__(self, *, clock: VirtualClock) -> None:
        super().__init__(clock=clock)
        self.methods: list[str] = []

    async def request(self, call: Call) -> Answer:
        self.methods.append(call.method)
        return await super().request(call)


async def test_one_leads_and_the_other_takes_over_after_a_clean_stop() -> None:
    """The second candidate waits; when the first stops it gives the Lease back and the second has it in a moment."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    one, two = (LeaderElector(api.client(), KEY.name, clock=clock, holder=holder) for holder in ("one", "two"))
    async with Group() as group:
        first = group.start(one.run(forever))
        await settle()
        group.start(two.run(forever))
        await clock.advance(60)
        assert (one.leading, two.leading) == (True, False)
        first.cancel()
        await clock.advance(3)
        assert (one.leading, two.leading) == (False, True)
        lease = api.get(leases.RESOURCE, KEY)
        assert lease is not None
        assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("two", 2 - 1)
        told = [
            (each["reason"], each["message"], each["involvedObject"]["kind"]) for each in api.listed(events.RESOURCE)
        ]
        assert sorted(told) == [("LeaderElection", f"{who} became leader", "Lease") for who in ("one", "two")]


async def test_a_holder_renews_without_reading() -> None:
    """One write each time, however long it leads; what somebody else wrote in between is read and kept."""
    clock = VirtualClock()
    api = Asked(clock=clock)
    elector = LeaderElector(api.client(), KEY.name, clock=clock, holder="one")
    async with Group() as group:
        run = group.start(elector.run(forever))
        await clock.advance(1)
        api.methods.clear()
        await clock.advance(20)
        assert api.methods == ["PUT"] * 10
        lease = api.get(leases.RESOURCE, KEY)
        assert lease is not None
        api.put({**lease, "metadata": {**lease["metadata"], "labels": {"of": "somebody"}}})
        await clock.advance(4)
        lease = api.get(leases.RESOURCE, KEY)
        assert lease is not None and lease["metadata"]["labels"] == {"of": "somebody"} and elector.leading
        run.cancel()


async def test_a_silent_holder_loses_the_lease_after_its_duration() -> None:
    """A Lease nobody renews is taken over after fifteen seconds, not before."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    spec = {"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 4}
    metadata = {"namespace": KEY.namespace, "name": KEY.name}
    api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    elector = LeaderElector(api.client(), KEY.name, clock=clock, holder="two")
    async with Group() as group:
        group.start(elector.run(forever))
        await clock.advance(14)
        assert not elector.leading
        await clock.advance(4)
        assert elector.leading


async def test_a_holder_that_cannot_renew_stops() -> None:
    """After ten seconds without a renewal the work is cancelled and the process is told why."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    elector, cancelled = LeaderElector(api.client(), KEY.name, clock=clock, holder="one"), []

    async def work() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            cancelled.append(clock.monotonic())
            raise

    with pytest.raises(BaseExceptionGroup) as failed:
        async with Group() as group:
            group.start(elector.run(work))
            await settle()
            for _ in range(20):
                api.fail("update", leases.RESOURCE, errors.unavailable("down"))
            await clock.advance(30)
    assert isinstance(leaves(failed.value)[0], LeadershipLost)
    assert cancelled == [10.0]


def test_a_restarted_instance_is_the_same_holder() -> None:
    """The port makes the identity: the same after a restart, another for another port, random without one."""
    assert identity(10259) == identity(10259)
    assert len({identity(10259), identity(10257), identity(), identity()}) == 4


async def test_a_killed_instance_goes_on_at_once() -> None:
    """It finds its own name in the Lease and need not wait for it to run out."""
    clock = VirtualClock()
    api = FakeAPI(clock=clock)
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15, "leaseTransitions": 0}
    metadata = {"namespace": KEY.namespace, "name": KEY.name}
    api.put({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec})
    elector = LeaderElector(api.client(), KEY.name, clock=clock, holder="me")
    async with Group() as group:
        group.start(elector.run(forever))
        await settle()
        assert elector.leading
