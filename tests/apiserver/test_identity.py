"""The Lease by which an API server says that it is there."""

import asyncio
from datetime import timedelta

from pynetes.apis.coordination import leases
from pynetes.apiserver import identity
from pynetes.apiserver.config import Config
from pynetes.apiserver.identity import IdentityLease
from pynetes.machinery import time
from pynetes.machinery.meta import Object, key_of
from pynetes.testing.clock import VirtualClock
from tests.apiserver.fakes import FakeObjects
from tests.apiserver.harness import api

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


def own(objects: FakeObjects) -> Object:
    (found,) = objects.list(leases.RESOURCE, "kube-system")
    return found


def test_its_name_is_made_of_the_hosts() -> None:
    """As upstream makes it, so that a server that moves over from there goes on with the same."""
    assert identity.name_of("vm") == "apiserver-wlv32tlttr4jl3gtroqexyxapa"


async def test_it_is_renewed_and_each_start_is_another_holder() -> None:
    """The name stays; what others have written into its labels too."""
    objects, clock = FakeObjects(), VirtualClock()
    first = IdentityLease(objects, clock, "192.0.2.1:6443")
    await first.renew()
    began = own(objects)
    assert began["metadata"]["labels"][identity.LABEL] == "kube-apiserver"
    assert began["metadata"]["annotations"] == {"kubernetes.io/peer-advertise-address": "192.0.2.1:6443"}
    assert began["spec"]["leaseDurationSeconds"] == 3600
    await objects.update(leases.RESOURCE, key_of(began), _labelled)
    await clock.advance(10)
    await first.renew()
    renewed = own(objects)
    assert renewed["spec"]["holderIdentity"] == began["spec"]["holderIdentity"]
    assert time.parse(renewed["spec"]["renewTime"]) - time.parse(began["spec"]["renewTime"]) == timedelta(seconds=10)
    assert renewed["metadata"]["labels"]["mine"] == "yes"
    await IdentityLease(objects, clock, "192.0.2.1:6443").renew()
    assert own(objects)["spec"]["holderIdentity"] != began["spec"]["holderIdentity"]


def _labelled(lease: Object) -> Object:
    lease["metadata"]["labels"]["mine"] = "yes"
    return lease


async def test_leases_of_servers_that_are_gone_go() -> None:
    """An hour after the last renewal, and only such leases."""
    objects, clock = FakeObjects(), VirtualClock()
    server = IdentityLease(objects, clock, "192.0.2.1:6443")
    await server.renew()
    gone, other = own(objects), own(objects)
    objects.put(leases.RESOURCE, {**gone, "metadata": {**gone["metadata"], "name": "apiserver-gone"}})
    objects.put(leases.RESOURCE, {**other, "metadata": {"name": "kube-scheduler", "namespace": "kube-system"}})
    await server.sweep()
    assert len(list(objects.list(leases.RESOURCE))) == 3
    await clock.advance(3601)
    await server.renew()
    await server.sweep()
    assert {key_of(one).name for one in objects.list(leases.RESOURCE)} == {
        "kube-scheduler",
        key_of(gone).name,
    }


async def test_a_server_has_one() -> None:
    """`kubectl -n kube-system get leases` shows it, unless a feature gate says no."""
    async with api() as asked, asyncio.timeout(30):
        while not (found := (await asked.get(LEASES)).body["items"]):
            await asyncio.sleep(0)
    assert found[0]["metadata"]["name"].startswith("apiserver-")
    assert not Config(feature_gates=("APIServerIdentity=true", "APIServerIdentity=false")).enabled(identity.FEATURE)
