"""What every provider must do, whichever cloud is behind it: one suite, each test run over each."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pynetes.cloud.provider import (
    RUNNING,
    STOPPED,
    Absent,
    Balancer,
    Health,
    Listener,
    Provider,
    Refused,
    Route,
    Target,
    balancer_name,
)
from pynetes.machinery.meta import Key
from tests.cloud import clouds
from tests.cloud.clouds import Site

GIB = 1 << 30
NAME = balancer_name("0b5f2f7e-7a5b-4a4c-9b0e-0123456789ab")


@pytest.fixture(params=["local", "aws", "aws-nlb"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """A fresh cloud."""
    if request.param == "local":
        async with clouds.local(tmp_path) as local:
            yield local
        return
    from tests.cloud import aws

    async with aws.aws(request.getfixturevalue("moto_server")) as amazon:
        yield amazon


@pytest.fixture
def annotations(request: pytest.FixtureRequest) -> dict[str, str]:
    """What makes the balancers of this round of the kind that is meant."""
    network = "aws-nlb" in request.node.name
    return {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"} if network else {}


Wanted = Callable[..., Awaitable[Balancer]]


@pytest.fixture
def wanted(site: Site, annotations: dict[str, str]) -> Wanted:
    """A balancer for default/web over the nodes with these numbers."""

    async def make(*numbers: int, **changes: object) -> Balancer:
        nodes = [site.nodes[number - 1] for number in numbers]
        made = Balancer(
            name=NAME,
            service=Key("default", "web"),
            listeners=(Listener("http", "TCP", 80, 30080),),
            targets=tuple([Target(node, await site.instance_id(node), "10.0.0.9") for node in nodes]),
            health=Health(10256, "/healthz"),
            annotations=annotations,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    return make


async def test_instances_say_where_they_are(site: Site) -> None:
    """Every node's instance, with provider ID, type, zone, region and addresses."""
    n1, _n2, _n3 = site.nodes
    listed = {each.name: each for each in await site.provider.instances.list()}
    assert set(listed) == set(site.nodes)
    first = listed[n1]
    assert first.provider_id.startswith(f"{site.provider.name}:///{first.zone}/")
    assert first.provider_id.endswith(await site.instance_id(n1))
    assert first.type and first.zone.startswith(first.region) and first.state == RUNNING
    assert {each.type for each in first.addresses} >= {"InternalIP"}


async def test_a_stopped_instance_stays_listed_and_a_terminated_one_goes(site: Site) -> None:
    """The difference between a taint and a deleted node."""
    n1, n2, n3 = site.nodes
    await site.stop(n2)
    await site.terminate(n3)
    listed = {each.name: each.state for each in await site.provider.instances.list()}
    assert listed == {n1: RUNNING, n2: STOPPED}


def balancers_of(provider: Provider):  # type: ignore[no-untyped-def]
    assert provider.balancers is not None
    return provider.balancers


async def test_a_balancer_is_made_once_changed_by_difference_and_removed(site: Site, wanted: Wanted) -> None:
    """The second call for the same balancer changes nothing; its address stays through changes."""
    balancers = balancers_of(site.provider)
    first = await balancers.ensure(await wanted(1, 2))
    assert first.changes and first.ingress
    before = site.changes()
    again = await balancers.ensure(await wanted(1, 2))
    assert again == (first.ingress, ())
    assert site.changes() == before
    moved = await balancers.ensure(await wanted(2, 3))
    assert moved.changes and moved.ingress == first.ingress
    more = (Listener("http", "TCP", 80, 30081), Listener("https", "TCP", 443, 30443))
    wider = await balancers.ensure(await wanted(2, 3, listeners=more))
    assert wider.changes and [each.get("ip") for each in wider.ingress] == [each.get("ip") for each in first.ingress]
    assert (await balancers.ensure(await wanted(2, 3, listeners=more))).changes == ()
    fewer = await balancers.ensure(await wanted(2, listeners=more[1:]))
    assert fewer.changes
    assert await balancers.names() == {NAME: Key("default", "web")}
    assert await balancers.delete(NAME) is True
    assert await balancers.delete(NAME) is False
    assert await balancers.names() == {}


async def test_source_ranges_and_health_change_in_place(site: Site, wanted: Wanted) -> None:
    """A change of who may connect, or of how nodes are asked, keeps the balancer."""
    balancers = balancers_of(site.provider)
    first = await balancers.ensure(await wanted(1))
    narrowed = await balancers.ensure(await wanted(1, source_ranges=("10.1.0.0/16", "192.0.2.0/24")))
    assert narrowed.changes and narrowed.ingress == first.ingress
    assert not (await balancers.ensure(await wanted(1, source_ranges=("10.1.0.0/16", "192.0.2.0/24")))).changes
    local = await balancers.ensure(await wanted(1, health=Health(31000, "/healthz"), local=True))
    assert local.changes


async def test_a_balancer_of_another_cluster_is_not_touched(site: Site, wanted: Wanted) -> None:
    """Ownership is what the tag says: another cluster neither lists nor changes nor deletes it."""
    await balancers_of(site.provider).ensure(await wanted(1))
    before = site.changes()
    other = balancers_of(await site.another("other"))
    assert await other.names() == {}
    with pytest.raises(Refused):
        await other.ensure(await wanted(2))
    with pytest.raises(Refused):
        await other.delete(NAME)
    assert site.changes() == before
    assert NAME in await balancers_of(site.provider).names()


async def test_a_route_is_made_moved_and_removed(site: Site) -> None:
    """The table has one entry per pod network, pointing at the node's instance."""
    n1, n2, n3 = site.nodes
    routes = site.provider.routes
    assert routes is not None
    machines = await site.provider.instances.list()
    await routes.create(Route("10.244.2.0/24", n2), machines)
    await routes.create(Route("10.244.3.0/24", n3), machines)
    assert {(each.cidr, each.node, each.dead) for each in await routes.list(await site.provider.instances.list())} == {
        ("10.244.2.0/24", n2, False),
        ("10.244.3.0/24", n3, False),
    }
    await routes.create(Route("10.244.3.0/24", n1), machines)
    listed = {each.cidr: each for each in await routes.list(await site.provider.instances.list())}
    assert listed["10.244.3.0/24"].node == n1
    await routes.delete(listed["10.244.3.0/24"])
    await routes.delete(listed["10.244.3.0/24"])
    assert [each.cidr for each in await routes.list(await site.provider.instances.list())] == ["10.244.2.0/24"]
    with pytest.raises(Absent):
        await routes.create(Route("10.244.4.0/24", "nobody"), machines)


async def test_the_route_of_a_vanished_instance_is_dead(site: Site) -> None:
    """So that the controller removes it."""
    _n1, _n2, n3 = site.nodes
    routes = site.provider.routes
    assert routes is not None
    machines = await site.provider.instances.list()
    await routes.create(Route("10.244.3.0/24", n3), machines)
    await site.terminate(n3)
    assert [each.dead for each in await routes.list(await site.provider.instances.list())] == [True]


async def test_the_life_of_a_volume(site: Site) -> None:
    """Created once per name, attached to one instance at a time, grown, copied, detached and removed."""
    n1, n2, _n3 = site.nodes
    volumes = site.provider.volumes
    assert volumes is not None
    zone = next(each.zone for each in await site.provider.instances.list() if each.name == n1)
    made = await volumes.create("pvc-1", size=GIB, zone=zone, tags={"purpose": "test"})
    assert (await volumes.create("pvc-1", size=GIB, zone=zone, tags={"purpose": "test"})).id == made.id
    with pytest.raises(Refused):
        await volumes.create("pvc-1", size=2 * GIB, zone=zone, tags={})
    assert made.size == GIB and made.zone == zone and made.tags["purpose"] == "test"
    one, other = await site.instance_id(n1), await site.instance_id(n2)
    device = await volumes.attach(made.id, one)
    assert device.startswith("/dev/") and await volumes.attach(made.id, one) == device
    with pytest.raises(Refused):
        await volumes.attach(made.id, other)
    with pytest.raises(Refused):
        await volumes.delete(made.id)
    assert await volumes.expand(made.id, 3 * GIB) >= 3 * GIB
    assert (await volumes.get(made.id)).attached == {one: device}
    copy = await volumes.snapshot("snap-a", made.id)
    assert (await volumes.snapshot("snap-a", made.id)).id == copy.id
    await volumes.detach(made.id, one)
    await volumes.detach(made.id, one)
    restored = await volumes.create("pvc-2", size=3 * GIB, zone=zone, snapshot=copy.id, tags={})
    assert restored.size >= 3 * GIB and restored.snapshot == copy.id
    for each in (made, restored):
        await volumes.delete(each.id)
        await volumes.delete(each.id)
    await volumes.delete_snapshot(copy.id)
    await volumes.delete_snapshot(copy.id)
    assert await volumes.list() == [] and await volumes.snapshots() == []
    with pytest.raises(Absent):
        await volumes.get(made.id)


async def test_a_volume_of_another_cluster_is_not_touched(site: Site) -> None:
    """It is not listed, and is neither attached nor removed."""
    n1, _n2, _n3 = site.nodes
    volumes = site.provider.volumes
    assert volumes is not None
    zone = next(each.zone for each in await site.provider.instances.list() if each.name == n1)
    made = await volumes.create("pvc-1", size=GIB, zone=zone, tags={})
    other = (await site.another("other")).volumes
    assert other is not None and await other.list() == []
    with pytest.raises(Refused):
        await other.delete(made.id)
    with pytest.raises(Refused):
        await other.attach(made.id, await site.instance_id(n1))
    assert [each.id for each in await volumes.list()] == [made.id]
