"""Services: addresses and ports are given out once, kept over replacement, and given back."""

import asyncio
import copy
from ipaddress import ip_network

import pytest

from pynetes.apis.core import services
from pynetes.apis.networking import ipaddresses, servicecidrs
from pynetes.apiserver.admission.attributes import CREATE, DELETE, UPDATE, Attributes
from pynetes.apiserver.objects import Context, Settings
from pynetes.apiserver.registry.services import ServiceStrategy
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from tests.apiserver.fakes import ADMIN, context, obj

PORT = {"port": 80, "protocol": "TCP", "targetPort": 80}


@pytest.fixture
def ctx() -> Context:
    return context()


@pytest.fixture
def strategy() -> ServiceStrategy:
    return ServiceStrategy()


def service(name: str, **spec: object) -> Object:
    return obj(services.RESOURCE, name, "shop", spec={"type": "ClusterIP", "ports": [dict(PORT)], **spec})


def attributes(operation: str, new: Object | None, old: Object | None = None, *, dry_run: bool = False) -> Attributes:
    return Attributes(
        user=ADMIN, operation=operation, resource=services.RESOURCE, obj=new, old=old, dry_run=dry_run, namespace="shop"
    )


def prepare(new: Object, old: Object) -> None:
    """What the update verb does first: the record's own, pure part."""
    assert services.RESOURCE.prepare is not None
    services.RESOURCE.prepare(new, old)


async def create(ctx: Context, strategy: ServiceStrategy, new: Object) -> Object:
    """What the create verb does around storage."""
    asked = attributes(CREATE, new)
    allocation = await strategy.before(ctx, asked)
    stored = await ctx.objects.create(services.RESOURCE, new)
    if allocation is not None:
        await allocation.done()
    await strategy.after(ctx, asked)
    return stored


def addresses(ctx: Context) -> set[str]:
    return {found["metadata"]["name"] for found in ctx.objects.list(ipaddresses.RESOURCE)}


async def test_address_and_families(ctx: Context, strategy: ServiceStrategy) -> None:
    """A plain Service gets one address of the range, and says of which family."""
    spec = (await create(ctx, strategy, service("web")))["spec"]
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")
    assert addresses(ctx) == {spec["clusterIP"]}


async def test_concurrent_creates_in_a_small_range(strategy: ServiceStrategy) -> None:
    """Every address is used, none twice, and then the range is full."""
    settings = Settings(service_ranges=(ip_network("10.0.0.0/28"),))
    ctx = context(settings=settings)
    made = await asyncio.gather(*(create(ctx, strategy, service(f"s{n}")) for n in range(14)))
    assert len({found["spec"]["clusterIP"] for found in made}) == 14
    with pytest.raises(StatusError, match="range is full"):
        await create(ctx, strategy, service("more"))


@pytest.mark.parametrize("address", ["1.2.3.4", "10.96.0.0", "10.96.255.255", "fd00::1"])
async def test_addresses_outside(ctx: Context, strategy: ServiceStrategy, address: str) -> None:
    """Not of the range, or not usable for a host in it."""
    with pytest.raises(StatusError) as caught:
        await create(ctx, strategy, service("web", clusterIP=address))
    assert caught.value.code == 422
    assert addresses(ctx) == set()


async def test_taken_address(ctx: Context, strategy: ServiceStrategy) -> None:
    """The second one to ask for an address is refused, with upstream's words."""
    await create(ctx, strategy, service("web", clusterIP="10.96.0.77"))
    text = "failed to allocate IP 10.96.0.77: provided IP is already allocated"
    with pytest.raises(StatusError, match=text):
        await create(ctx, strategy, service("other", clusterIP="10.96.0.77"))


async def test_failed_write_gives_everything_back(ctx: Context, strategy: ServiceStrategy) -> None:
    """An address and a port taken for a write that failed are free again."""
    new = service("web", type="NodePort", ports=[{**PORT, "nodePort": 30080}])
    held = await strategy.before(ctx, attributes(CREATE, new))
    assert held is not None
    await held.release()
    assert addresses(ctx) == set()
    await create(ctx, strategy, service("other", type="NodePort", ports=[{**PORT, "nodePort": 30080}]))


async def test_orphaned_address(ctx: Context, strategy: ServiceStrategy) -> None:
    """An address whose Service never came is taken over after a minute, not before."""
    await strategy.before(ctx, attributes(CREATE, service("lost", clusterIP="10.96.0.77")))
    with pytest.raises(StatusError, match="already allocated"):
        await create(ctx, strategy, service("web", clusterIP="10.96.0.77"))
    ctx.clock.advance(61)  # type: ignore[attr-defined]
    stored = await create(ctx, strategy, service("web", clusterIP="10.96.0.77"))
    assert stored["spec"]["clusterIP"] == "10.96.0.77"


async def test_dry_run_takes_nothing(ctx: Context, strategy: ServiceStrategy) -> None:
    """A dry run shows an address and leaves none behind."""
    new = service("web")
    await strategy.before(ctx, attributes(CREATE, new, dry_run=True))
    assert new["spec"]["clusterIP"]
    assert addresses(ctx) == set()


async def test_replacement_keeps_what_was_allocated(ctx: Context, strategy: ServiceStrategy) -> None:
    """A PUT without addresses and ports keeps them."""
    old = await create(ctx, strategy, service("web", type="NodePort"))
    new = service("web", type="NodePort")
    prepare(new, old)
    await strategy.before(ctx, attributes(UPDATE, new, old))
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    assert new["spec"]["ports"][0]["nodePort"] == old["spec"]["ports"][0]["nodePort"]


async def test_type_changes(ctx: Context, strategy: ServiceStrategy) -> None:
    """ClusterIP → NodePort → ClusterIP → ExternalName takes and gives back what each needs."""
    old = await create(ctx, strategy, service("web"))

    async def update(old: Object, **spec: object) -> Object:
        new = copy.deepcopy(old)
        new["spec"] |= spec
        prepare(new, old)
        asked = attributes(UPDATE, new, old)
        await strategy.before(ctx, asked)
        stored = await ctx.objects.update(services.RESOURCE, Key("shop", "web"), lambda _: new)
        await strategy.after(ctx, asked)
        return stored

    opened = await update(old, type="NodePort")
    assert opened["spec"]["ports"][0]["nodePort"] in range(30000, 32768)
    closed = await update(opened, type="ClusterIP")
    assert "nodePort" not in closed["spec"]["ports"][0]
    assert addresses(ctx) == {old["spec"]["clusterIP"]}
    named = await update(closed, type="ExternalName", externalName="a.example.com")
    assert "clusterIP" not in named["spec"]
    assert addresses(ctx) == set()


async def test_delete_gives_back(ctx: Context, strategy: ServiceStrategy) -> None:
    """Address and port of a deleted Service can be had again."""
    ports = [{**PORT, "nodePort": 30080}]
    old = await create(ctx, strategy, service("web", type="NodePort", clusterIP="10.96.0.77", ports=ports))
    await ctx.objects.delete(services.RESOURCE, Key("shop", "web"))
    await strategy.after(ctx, attributes(DELETE, None, old))
    again = [{**PORT, "nodePort": 30080}]
    await create(ctx, strategy, service("other", type="NodePort", clusterIP="10.96.0.77", ports=again))


async def test_node_ports(ctx: Context, strategy: ServiceStrategy) -> None:
    """TCP and UDP on one port share a number, which no other Service gets."""
    both = [{**PORT, "name": "t", "port": 53}, {**PORT, "name": "u", "port": 53, "protocol": "UDP"}]
    spec = (await create(ctx, strategy, service("dns", type="NodePort", ports=both)))["spec"]
    number = spec["ports"][0]["nodePort"]
    assert spec["ports"][1]["nodePort"] == number
    with pytest.raises(StatusError, match="provided port is already allocated"):
        await create(ctx, strategy, service("b", type="NodePort", ports=[{**PORT, "nodePort": number}]))
    with pytest.raises(StatusError, match="The range of valid ports is 30000-32767"):
        await create(ctx, strategy, service("c", type="NodePort", ports=[{**PORT, "nodePort": 80}]))


async def test_headless(ctx: Context, strategy: ServiceStrategy) -> None:
    """None is kept; without a selector the endpoints may be of any family."""
    spec = (await create(ctx, strategy, service("a", clusterIP="None", selector={"a": "b"})))["spec"]
    assert (spec["clusterIPs"], spec["ipFamilies"]) == (["None"], ["IPv4"])
    spec = (await create(ctx, strategy, service("b", clusterIP="None")))["spec"]
    assert (spec["ipFamilyPolicy"], spec["ipFamilies"]) == ("RequireDualStack", ["IPv4", "IPv6"])
    assert addresses(ctx) == set()


async def test_dual_stack(strategy: ServiceStrategy) -> None:
    """Two ranges give two addresses to who prefers or requires them."""
    ranges = (ip_network("10.96.0.0/16"), ip_network("fd00:10:96::/112"))
    ctx = context(settings=Settings(service_ranges=ranges))
    spec = (await create(ctx, strategy, service("web", ipFamilyPolicy="PreferDualStack")))["spec"]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert len(spec["clusterIPs"]) == 2
    single = context()
    with pytest.raises(StatusError, match="not configured for dual-stack"):
        await create(single, ServiceStrategy(), service("web", ipFamilyPolicy="RequireDualStack"))


async def test_a_node_port_is_one_services_whatever_the_protocol(ctx: Context, strategy: ServiceStrategy) -> None:
    """Upstream's allocator knows numbers only."""
    await create(ctx, strategy, service("tcp", type="NodePort", ports=[{**PORT, "nodePort": 30080}]))
    other = [{**PORT, "protocol": "UDP", "nodePort": 30080}]
    with pytest.raises(StatusError, match="provided port is already allocated"):
        await create(ctx, strategy, service("udp", type="NodePort", ports=other))


DUAL = Settings(service_ranges=(ip_network("10.0.0.0/24"), ip_network("fd00::/112")))


async def replace(ctx: Context, strategy: ServiceStrategy, old: Object, **spec: object) -> Object:
    """What the update verb does around storage."""
    new = copy.deepcopy(old)
    new["spec"] |= spec
    prepare(new, old)
    asked = attributes(UPDATE, new, old)
    allocation = await strategy.before(ctx, asked)
    assert allocation is not None
    await allocation.done()
    await strategy.after(ctx, asked)
    return new


async def test_a_second_family_comes_and_goes(strategy: ServiceStrategy) -> None:
    """The policy asks for it, and gives it back with its address."""
    ctx = context(settings=DUAL)
    one = await create(ctx, strategy, service("web"))
    both = await replace(ctx, strategy, one, ipFamilyPolicy="PreferDualStack")
    assert both["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert both["spec"]["clusterIPs"][0] == one["spec"]["clusterIP"]
    assert addresses(ctx) == set(both["spec"]["clusterIPs"])
    again = await replace(ctx, strategy, both, ipFamilyPolicy="SingleStack")
    assert (again["spec"]["ipFamilies"], again["spec"]["clusterIPs"]) == (["IPv4"], [one["spec"]["clusterIP"]])
    assert addresses(ctx) == {one["spec"]["clusterIP"]}


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"ipFamilies": ["IPv4", "IPv6"]}, "when multiple IP families are specified"),
        ({"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9", "fd00::9"]}, "when multiple cluster IPs are specified"),
    ],
)
async def test_two_of_a_kind_need_a_policy(strategy: ServiceStrategy, spec: Object, text: str) -> None:
    """Nobody gets two families without asking for them by the policy."""
    with pytest.raises(StatusError, match=text):
        await create(context(settings=DUAL), strategy, service("web", **spec))


async def test_the_secondary_is_released_by_the_policy(strategy: ServiceStrategy) -> None:
    """Leaving it out of the list alone is a mistake."""
    ctx = context(settings=DUAL)
    both = await create(ctx, strategy, service("web", ipFamilyPolicy="RequireDualStack"))
    with pytest.raises(StatusError, match="must be 'SingleStack' to release the secondary cluster IP"):
        await replace(ctx, strategy, both, clusterIPs=both["spec"]["clusterIPs"][:1])


async def test_an_address_of_no_family_here(ctx: Context, strategy: ServiceStrategy) -> None:
    """An address that the cluster has no range for says so."""
    with pytest.raises(StatusError, match="IPv6 is not configured on this cluster"):
        await create(ctx, strategy, service("web", clusterIP="fd00::1", clusterIPs=["fd00::1"]))


def test_ports_keep_their_numbers_by_name() -> None:
    """A port may change all but its name and keeps its number."""
    old = service("web", type="NodePort", ports=[{**PORT, "name": "a", "nodePort": 30001}])
    new = service("web", type="NodePort", ports=[{**PORT, "name": "a", "port": 81}, {**PORT, "name": "b"}])
    prepare(new, old)
    assert [port.get("nodePort") for port in new["spec"]["ports"]] == [30001, None]


@pytest.mark.parametrize(
    ("status", "taken"), [({}, True), ({"conditions": [{"type": "Ready", "status": "False"}]}, False)]
)
async def test_ranges_of_service_cidrs(ctx: Context, strategy: ServiceStrategy, status: Object, taken: bool) -> None:
    """An object adds a range, unless it is not ready."""
    made = obj(servicecidrs.RESOURCE, "more", spec={"cidrs": ["10.211.0.0/24"]}, status=status)
    ctx.objects.put(servicecidrs.RESOURCE, made)  # type: ignore[attr-defined]
    wanted = service("web", clusterIP="10.211.0.9", clusterIPs=["10.211.0.9"])
    if taken:
        assert (await create(ctx, strategy, wanted))["spec"]["clusterIP"] == "10.211.0.9"
    else:
        with pytest.raises(StatusError, match="does not match the current range"):
            await create(ctx, strategy, wanted)


async def test_a_full_range_is_followed_by_the_next(strategy: ServiceStrategy) -> None:
    """Addresses go on where another range has some."""
    ctx = context(settings=Settings(service_ranges=(ip_network("10.0.0.0/30"),)))
    made = obj(servicecidrs.RESOURCE, "more", spec={"cidrs": ["10.9.0.0/28"]})
    ctx.objects.put(servicecidrs.RESOURCE, made)  # type: ignore[attr-defined]
    found = [(await create(ctx, strategy, service(f"s{number}")))["spec"]["clusterIP"] for number in range(3)]
    assert [address.startswith("10.9.") for address in found] == [False, False, True]


@pytest.mark.parametrize(
    ("spec", "path", "why"),
    [
        (
            {"type": "NodePort", "ports": [{**PORT, "nodePort": 30080}, {**PORT, "port": 81, "nodePort": 30080}]},
            "spec.ports[1].nodePort",
            "provided port is already allocated",
        ),
        ({"clusterIP": "10.96.0.010"}, "spec.clusterIPs[0]", "must not have leading 0s"),
        ({"ipFamilyPolicy": "Bogus"}, "spec.ipFamilyPolicy", "Unsupported value"),
    ],
)
async def test_what_cannot_be_given_is_all_that_is_said(
    ctx: Context, strategy: ServiceStrategy, spec: Object, path: str, why: str
) -> None:
    """Addresses and ports are given before the rest is looked at: one fault, and nothing is kept."""
    with pytest.raises(StatusError) as refused:
        await strategy.before(ctx, attributes(CREATE, service("web", **spec)))
    (cause,) = refused.value.status["details"]["causes"]
    assert (cause["field"], why in cause["message"]) == (path, True)
    assert not addresses(ctx)


async def test_ports_of_one_number_share_what_was_asked_for(ctx: Context, strategy: ServiceStrategy) -> None:
    """Whichever of them asked: DNS over TCP and UDP is one port of the node."""
    ports = [{**PORT, "name": "a", "port": 53}, {**PORT, "name": "b", "port": 53, "protocol": "UDP", "nodePort": 30053}]
    new = service("dns", type="NodePort", ports=ports)
    await strategy.before(ctx, attributes(CREATE, new))
    assert [port["nodePort"] for port in new["spec"]["ports"]] == [30053, 30053]


async def test_a_health_check_port_that_cannot_be_had_is_our_fault(ctx: Context, strategy: ServiceStrategy) -> None:
    """500, as upstream has it."""
    new = service("web", type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=80)
    with pytest.raises(StatusError, match="failed to allocate requested HealthCheck NodePort 80") as refused:
        await strategy.before(ctx, attributes(CREATE, new))
    assert refused.value.code == 500
