"""AWS with something wrong: throttled, half done, not there yet, refused, and the traces each leaves."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from pynetes.cloud import names
from pynetes.cloud.inventory import Inventory
from pynetes.cloud.pace import Pace, patiently
from pynetes.cloud.provider import Absent, Balancer, CloudError, Denied, Health, Listener, Refused, Target, Throttled
from pynetes.machinery.meta import Key
from tests.cloud import aws
from tests.cloud.aws import Aws, Proxy

NAME = "a0123456789abcdef0123456789abcde"
NLB = {"service.beta.kubernetes.io/aws-load-balancer-type": "nlb"}


class Fast:
    """A clock on which sleeping takes no time, and is noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now = 0.0

    def now(self) -> None:  # type: ignore[override]
        raise NotImplementedError

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += seconds


@pytest.fixture
def clock() -> Fast:
    """A fresh one."""
    return Fast()


@pytest.fixture
async def site(moto_server: str, clock: Fast) -> AsyncIterator[Aws]:
    """A fresh AWS."""
    async with aws.aws(moto_server, clock=clock) as made:  # type: ignore[arg-type]
        yield made


async def wanted(site: Aws, **changes: object) -> Balancer:
    """A balancer over all nodes."""
    made = Balancer(
        name=NAME,
        service=Key("shop", "front"),
        listeners=(Listener("http", "TCP", 80, 30080),),
        targets=tuple(Target(node, id_, "10.0.0.9") for node, id_ in site.ids.items()),
        health=Health(10256, "/healthz"),
        annotations=NLB,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def hide(proxy: Proxy, action: str, code: str, times: int) -> None:
    """What was just made is not there yet, for so many looks."""
    proxy.spoil(action, code, times=times)


async def test_a_throttled_call_is_repeated_later_and_later(site: Aws, clock: Fast) -> None:
    """With back-off, a bounded number of times; then it is the controller's turn to wait."""
    site.proxy.spoil("DescribeInstances", "RequestLimitExceeded", times=3, status=503)
    assert len(await site.provider.instances.list()) == 3
    assert len(clock.slept) == 3 and clock.slept == sorted(clock.slept)
    site.proxy.spoil("DescribeInstances", "RequestLimitExceeded", times=99, status=503)
    before = site.proxy.count("DescribeInstances")
    with pytest.raises(Throttled):
        await site.provider.instances.list()
    assert site.proxy.count("DescribeInstances") - before == 5


async def test_wrong_credentials_are_told_and_not_repeated(site: Aws) -> None:
    """No back-off makes them right."""
    site.proxy.spoil("DescribeInstances", "AuthFailure", status=401)
    with pytest.raises(Denied, match="AuthFailure"):
        await site.provider.instances.list()
    assert site.proxy.count("DescribeInstances") == 1


@pytest.mark.parametrize("action", ["CreateLoadBalancer", "CreateTargetGroup", "RegisterTargets", "CreateListener"])
async def test_a_half_made_network_balancer_is_finished_by_the_next_call(site: Aws, action: str) -> None:
    """Whichever step failed: the next reconcile finishes it, and nothing is made twice."""
    balancers = site.provider.balancers
    assert balancers is not None
    site.proxy.spoil(action, "InternalError", status=500)
    with pytest.raises(CloudError):
        await balancers.ensure(await wanted(site))
    await balancers.ensure(await wanted(site))
    assert (await balancers.ensure(await wanted(site))).changes == ()
    (balancer,) = site.elbv2.describe_load_balancers()["LoadBalancers"]
    (group,) = site.elbv2.describe_target_groups()["TargetGroups"]
    (listener,) = site.elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert listener["DefaultActions"][0]["TargetGroupArn"] == group["TargetGroupArn"]
    health = site.elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    assert {each["Target"]["Id"] for each in health} == set(site.ids.values())


@pytest.mark.parametrize(
    "action",
    ["CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "CreateLoadBalancer", "ConfigureHealthCheck",
     "RegisterInstancesWithLoadBalancer"],
)  # fmt: skip
async def test_a_half_made_classic_balancer_is_finished_by_the_next_call(site: Aws, action: str) -> None:
    """The same for the older kind."""
    balancers = site.provider.balancers
    assert balancers is not None
    site.proxy.spoil(action, "InternalError", status=500)
    asked = await wanted(site, annotations={})
    with pytest.raises(CloudError):
        await balancers.ensure(asked)
    await balancers.ensure(asked)
    assert (await balancers.ensure(asked)).changes == ()
    (balancer,) = site.elb.describe_load_balancers()["LoadBalancerDescriptions"]
    assert {each["InstanceId"] for each in balancer["Instances"]} == set(site.ids.values())
    groups = site.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [f"k8s-elb-{NAME}"]}])
    assert len(groups["SecurityGroups"]) == 1


async def test_what_was_just_made_may_not_be_there_yet(site: Aws, clock: Fast) -> None:
    """Eventual consistency: a volume that describes as unknown is waited for, not made again."""
    volumes = site.provider.volumes
    assert volumes is not None
    hide(site.proxy, "DescribeVolumes", "InvalidVolume.NotFound", 0)
    seen = 0

    def later(asked: dict[str, str]) -> web.Response | None:
        nonlocal seen
        if asked.get("Action") == "DescribeVolumes" and asked.get("VolumeId.1"):
            seen += 1
            return aws.error("InvalidVolume.NotFound") if seen <= 3 else None
        return None

    site.proxy.faults.append(later)
    made = await volumes.create("pvc-1", size=1 << 30, zone=f"{aws.REGION}a", tags={})
    assert made.id and site.proxy.count("CreateVolume") == 1 and clock.slept.count(1.0) == 3


async def test_a_balancer_that_hides_after_it_was_made_is_tried_again(site: Aws) -> None:
    """The classic API's answer to its creation says nothing more than a name."""
    balancers = site.provider.balancers
    assert balancers is not None
    asked = await wanted(site, annotations={})
    left = 2

    def later(given: dict[str, str]) -> web.Response | None:
        nonlocal left
        if given.get("Action") == "DescribeLoadBalancers" and "LoadBalancerNames.member.1" in given and left:
            left -= 1
            return aws.error("LoadBalancerNotFound")
        return None

    site.proxy.faults.append(later)
    with pytest.raises(Absent):
        await balancers.ensure(asked)
    await balancers.ensure(asked)
    assert len(site.elb.describe_load_balancers()["LoadBalancerDescriptions"]) == 1


async def test_an_instance_that_vanishes_during_the_call(site: Aws) -> None:
    """Registering it fails; without it the balancer is finished."""
    balancers = site.provider.balancers
    assert balancers is not None
    asked = await wanted(site)
    site.proxy.spoil("RegisterTargets", "InvalidTarget")
    with pytest.raises(CloudError):
        await balancers.ensure(asked)
    node = site.nodes[2]
    await site.terminate(node)
    fewer = tuple(each for each in asked.targets if each.node != node)
    await balancers.ensure(replace(asked, targets=fewer))
    assert (await balancers.ensure(replace(asked, targets=fewer))).changes == ()


async def test_deleting_goes_on_where_it_stopped(site: Aws) -> None:
    """A security group that is still in use fails the deletion; the next one removes the rest."""
    balancers = site.provider.balancers
    assert balancers is not None
    await balancers.ensure(await wanted(site, annotations={}))
    site.proxy.spoil("DeleteSecurityGroup", "DependencyViolation")
    with pytest.raises(CloudError, match="DependencyViolation"):
        await balancers.delete(NAME)
    assert await balancers.delete(NAME) is False
    groups = site.ec2.describe_security_groups()["SecurityGroups"]
    assert not [each for each in groups if each["GroupName"].startswith("k8s-elb-")]
    (nodes,) = [each for each in groups if each["GroupId"] == site.group]
    assert nodes["IpPermissions"] == []


@pytest.mark.parametrize(
    "action", ["DeleteListener", "DeleteTargetGroup", "RevokeSecurityGroupIngress", "DeleteLoadBalancer"]
)
async def test_deleting_a_network_balancer_goes_on_where_it_stopped(site: Aws, action: str) -> None:
    """Whichever step failed, the next deletion removes the rest: no target group and no rule is orphaned."""
    balancers = site.provider.balancers
    assert balancers is not None
    await balancers.ensure(await wanted(site))
    site.proxy.spoil(action, "InternalError", status=500)
    with pytest.raises(CloudError):
        await balancers.delete(NAME)
    assert await balancers.names() == {NAME: Key("shop", "front")}
    assert await balancers.delete(NAME) is True
    assert site.elbv2.describe_target_groups()["TargetGroups"] == []
    assert site.elbv2.describe_load_balancers()["LoadBalancers"] == []
    (nodes,) = site.ec2.describe_security_groups(GroupIds=[site.group])["SecurityGroups"]
    assert nodes["IpPermissions"] == []


@pytest.mark.parametrize("kind", [NLB, {}], ids=["network", "classic"])
async def test_attributes_that_the_cloud_refuses_are_set_by_the_next_call(site: Aws, kind: dict[str, str]) -> None:
    """ModifyLoadBalancerAttributes fails: the balancer is there, and the next reconcile sets what is missing."""
    balancers = site.provider.balancers
    assert balancers is not None
    more = {"service.beta.kubernetes.io/aws-load-balancer-cross-zone-load-balancing-enabled": "true"}
    asked = await wanted(site, annotations={**kind, **more})
    site.proxy.spoil("ModifyLoadBalancerAttributes", "InternalError", status=500)
    with pytest.raises(CloudError):
        await balancers.ensure(asked)
    assert (await balancers.ensure(asked)).changes
    again = site.proxy.count("ModifyLoadBalancerAttributes")
    assert again == 2 and (await balancers.ensure(asked)).changes == ()
    if kind:
        (made,) = site.elbv2.describe_load_balancers()["LoadBalancers"]
        listed = site.elbv2.describe_load_balancer_attributes(LoadBalancerArn=made["LoadBalancerArn"])["Attributes"]
        assert {"Key": "load_balancing.cross_zone.enabled", "Value": "true"} in listed
    else:
        attributes = site.elb.describe_load_balancer_attributes(LoadBalancerName=NAME)["LoadBalancerAttributes"]
        assert attributes["CrossZoneLoadBalancing"] == {"Enabled": True}
    # The other way: what was set is taken back, in place.
    assert (await balancers.ensure(replace(asked, annotations=kind))).changes
    assert (await balancers.ensure(replace(asked, annotations=kind))).changes == ()


async def test_two_network_balancers_live_side_by_side(site: Aws) -> None:
    """A security group has no rule twice: what both need stays until the last of them goes."""
    balancers = site.provider.balancers
    assert balancers is not None
    names_ = [NAME, f"{NAME[:-1]}x"]
    for number, name in enumerate(names_):
        listeners = (Listener("http", "TCP", 80, 30080 + number),)
        asked = await wanted(site, name=name, service=Key("shop", f"s{number}"), listeners=listeners)
        await balancers.ensure(asked)
        assert (await balancers.ensure(asked)).changes == ()

    def open_ports() -> set[int]:
        (group,) = site.ec2.describe_security_groups(GroupIds=[site.group])["SecurityGroups"]
        return {each["FromPort"] for each in group["IpPermissions"]}

    assert open_ports() == {10256, 30080, 30081}
    await balancers.delete(names_[0])
    assert open_ports() == {10256, 30081}
    await balancers.delete(names_[1])
    assert open_ports() == set()


async def test_many_services_share_what_is_described_of_instances(site: Aws) -> None:
    """As after a restart: one DescribeInstances for all of them, not one each."""
    balancers = site.provider.balancers
    assert balancers is not None
    for number in range(5):
        asked = await wanted(site, name=f"{NAME[:-1]}{number}", service=Key("shop", f"s{number}"))
        await balancers.ensure(replace(asked, listeners=(Listener("http", "TCP", 80, 30080 + number),)))
    assert site.proxy.count("DescribeInstances") == 1


async def test_volumes_attached_at_once_get_devices_of_their_own(site: Aws) -> None:
    """Which names an instance has free is asked, and the chosen one taken, one after the other."""
    volumes = site.provider.volumes
    assert volumes is not None
    made = [await volumes.create(f"pvc-{n}", size=1 << 30, zone=f"{aws.REGION}a", tags={}) for n in range(4)]
    machine = next(each.id for each in await site.provider.instances.list() if each.zone == f"{aws.REGION}a")
    devices = await asyncio.gather(*(volumes.attach(each.id, machine) for each in made))
    assert len(set(devices)) == 4


async def test_nothing_of_others_is_deleted(site: Aws) -> None:
    """Target groups and rules that are not tagged or described as ours stay."""
    balancers = site.provider.balancers
    assert balancers is not None
    site.elbv2.create_target_group(Name="k8s-shop-front-mine", Protocol="TCP", Port=1, VpcId=site.vpc)
    permission = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}
    site.ec2.authorize_security_group_ingress(GroupId=site.group, IpPermissions=[permission])
    await balancers.ensure(await wanted(site))
    assert await balancers.delete(NAME)
    assert [each["TargetGroupName"] for each in site.elbv2.describe_target_groups()["TargetGroups"]] == [
        "k8s-shop-front-mine"
    ]
    (group,) = site.ec2.describe_security_groups(GroupIds=[site.group])["SecurityGroups"]
    assert [each["FromPort"] for each in group["IpPermissions"]] == [22]


async def test_names_tags_and_rules_are_the_documented_ones(site: Aws) -> None:
    """What other tools for AWS look for."""
    balancers = site.provider.balancers
    assert balancers is not None
    asked = await wanted(site, source_ranges=("192.0.2.0/24",))
    more = {
        "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
        "service.beta.kubernetes.io/aws-load-balancer-proxy-protocol": "*",
        "service.beta.kubernetes.io/aws-load-balancer-additional-resource-tags": "team=shop,cost=7",
    }
    await balancers.ensure(replace(asked, annotations={**NLB, **more}))
    (balancer,) = site.elbv2.describe_load_balancers()["LoadBalancers"]
    assert (balancer["Type"], balancer["Scheme"], balancer["LoadBalancerName"]) == ("network", "internal", NAME)
    listed = site.elbv2.describe_tags(ResourceArns=[balancer["LoadBalancerArn"]])["TagDescriptions"][0]["Tags"]
    carried = {each["Key"]: each["Value"] for each in listed}
    assert carried == {
        names.owned("trial"): "owned", "kubernetes.io/service-name": "shop/front", "team": "shop", "cost": "7"
    }  # fmt: skip
    (group,) = site.elbv2.describe_target_groups()["TargetGroups"]
    assert group["TargetGroupName"].startswith("k8s-shop-front-") and len(group["TargetGroupName"]) <= 32
    attributes = site.elbv2.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    assert {"Key": "proxy_protocol_v2.enabled", "Value": "true"} in attributes
    (nodes,) = site.ec2.describe_security_groups(GroupIds=[site.group])["SecurityGroups"]
    rules = {
        (each["FromPort"], one["CidrIp"], one["Description"].partition("=")[0])
        for each in nodes["IpPermissions"]
        for one in each["IpRanges"]
    }
    assert (30080, "192.0.2.0/24", "kubernetes.io/rule/nlb/client") in rules
    assert (10256, "10.0.0.0/24", "kubernetes.io/rule/nlb/health") in rules


@pytest.mark.parametrize(
    "annotation",
    [("type", "external"), ("type", "wonder"), ("proxy-protocol", "80"), ("connection-idle-timeout", "soon")],
)
async def test_annotations_that_cannot_be_meant(site: Aws, annotation: tuple[str, str]) -> None:
    """Refused, with the annotation's name; nothing is made."""
    name, value = annotation
    balancers = site.provider.balancers
    assert balancers is not None
    asked = await wanted(site, annotations={f"service.beta.kubernetes.io/aws-load-balancer-{name}": value})
    with pytest.raises(Refused, match=name):
        await balancers.ensure(asked)
    assert site.changes() == 0


async def test_a_thousand_instances_are_one_call(site: Aws) -> None:
    """A page has a thousand."""
    await site.provider.instances.list()
    assert site.proxy.count("DescribeInstances") == 1


async def test_a_pace_is_kept() -> None:
    """After the burst, calls come at the rate."""
    clock = Fast()
    pace = Pace(clock, rate=10.0, burst=5.0)  # type: ignore[arg-type]
    for _ in range(25):
        await pace.turn()
    assert sum(clock.slept) == pytest.approx(2.0)


async def test_patience_ends() -> None:
    """The last refusal is raised, with the cloud's own words."""
    clock = Fast()

    async def never() -> None:
        raise Throttled("no", 3.0)

    with pytest.raises(Throttled):
        await patiently(never, clock=clock, dice=random.Random(1), tries=3)  # type: ignore[arg-type]
    assert clock.slept == [3.0, 3.0]


async def test_a_cloud_that_fails_is_not_asked_harder() -> None:
    """Many readers of one inventory, one failing call until the pause is over."""
    clock, calls = Fast(), 0

    async def read() -> list[str]:
        nonlocal calls
        calls += 1
        raise Throttled("no", 5.0)

    inventory = Inventory("things", read, clock)  # type: ignore[arg-type]
    for _ in range(10):
        with pytest.raises(Throttled):
            await inventory.get()
    assert calls == 1
    await clock.sleep(6)
    with pytest.raises(Throttled):
        await inventory.get()
    assert calls == 2
