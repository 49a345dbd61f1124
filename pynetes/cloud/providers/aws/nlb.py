"""Network load balancers: a balancer, a listener and a target group per port, and rules on the nodes' own groups."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from pynetes.cloud import names
from pynetes.cloud.calls import BALANCERS
from pynetes.cloud.provider import Absent, Balancer, Ensured, Listener, Refused, fingerprint
from pynetes.cloud.providers.aws.annotations import Settings
from pynetes.cloud.providers.aws.network import Network, rule
from pynetes.cloud.providers.aws.sdk import Sdk, tag_list, tags

BATCH = 20
EVERYONE = ("0.0.0.0/0",)
#: How rules that are ours are described on the nodes' groups.
CLIENTS, CHECKS = "kubernetes.io/rule/nlb/client=", "kubernetes.io/rule/nlb/health="
#: Nodes are asked on one port for all Services without healthCheckNodePort, and a group has no rule twice.
SHARED = f"{CHECKS}shared"


class NetworkBalancers:
    """Those of one cluster."""

    def __init__(self, sdk: Sdk, network: Network) -> None:
        self._sdk, self._network = sdk, network
        #: Held while it is decided whether somebody still needs the shared rules.
        self._opening = asyncio.Lock()

    async def listed(self) -> dict[str, dict[str, str]]:
        """Name → tags."""
        found = await self._sdk.pages("elbv2", "describe_load_balancers", "LoadBalancers", path=BALANCERS)
        carried = await self._carried([each["LoadBalancerArn"] for each in found])
        return {each["LoadBalancerName"]: carried.get(each["LoadBalancerArn"], {}) for each in found}

    async def _carried(self, arns: Sequence[str]) -> dict[str, dict[str, str]]:
        carried: dict[str, dict[str, str]] = {}
        for start in range(0, len(arns), BATCH):
            answer = await self._read("describe_tags", ResourceArns=list(arns[start : start + BATCH]))
            carried |= {each["ResourceArn"]: tags(each["Tags"]) for each in answer["TagDescriptions"]}
        return carried

    async def ensure(self, wanted: Balancer, settings: Settings, vpc: str, machines: list[dict[str, Any]]) -> Ensured:
        """Make it so."""
        changes: list[str] = []
        subnets = await self._network.subnets(settings, vpc)
        found = await self.found(wanted.name)
        if found is None:
            found = await self._made(wanted, settings, subnets)
            changes.append(f"made the load balancer {wanted.name}")
        arn = found["LoadBalancerArn"]
        await self._attributes(arn, settings, changes)
        groups = await self._target_groups(wanted)
        kept = {
            each: await self._target_group(wanted, each, settings, vpc, groups, changes) for each in wanted.listeners
        }
        await self._listeners(arn, wanted, settings, kept, changes)
        for name, group in groups.items():
            if group["TargetGroupArn"] not in kept.values():
                await self._change("delete_target_group", TargetGroupArn=group["TargetGroupArn"])
                changes.append(f"removed the target group {name}")
        changes += await self._open(wanted, subnets, machines)
        return Ensured(({"hostname": found["DNSName"]},), tuple(changes))

    async def _made(self, wanted: Balancer, settings: Settings, subnets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        given: dict[str, Any] = {"Subnets": [each["SubnetId"] for each in subnets]}
        if settings.allocations:
            if len(settings.allocations) != len(subnets):
                raise Refused(f"{len(settings.allocations)} eip-allocations for {len(subnets)} subnets: one each")
            pairs = zip(given.pop("Subnets"), settings.allocations, strict=True)
            given["SubnetMappings"] = [{"SubnetId": subnet, "AllocationId": one} for subnet, one in pairs]
        answer = await self._change(
            "create_load_balancer",
            Name=wanted.name,
            Type="network",
            Scheme="internal" if settings.internal else "internet-facing",
            Tags=tag_list({**settings.tags, **self._tags(wanted)}),
            **given,
        )
        made: dict[str, Any] = answer["LoadBalancers"][0]
        return made

    def _tags(self, wanted: Balancer) -> dict[str, str]:
        return {names.SERVICE_TAG: str(wanted.service), self._sdk.cluster_tag: "owned"}

    async def _attributes(self, arn: str, settings: Settings, changes: list[str]) -> None:
        wanted = {"load_balancing.cross_zone.enabled": str(settings.cross_zone).lower()}
        have = _pairs((await self._read("describe_load_balancer_attributes", LoadBalancerArn=arn))["Attributes"])
        if any(have.get(key, "false") != value for key, value in wanted.items()):
            await self._change("modify_load_balancer_attributes", LoadBalancerArn=arn, Attributes=tag_list(wanted))
            changes.append("attributes")

    async def _target_groups(self, wanted: Balancer) -> dict[str, dict[str, Any]]:
        """Those made for the Service, by name: found by name's beginning, kept by their tags."""
        found = await self._sdk.pages("elbv2", "describe_target_groups", "TargetGroups", path=BALANCERS)
        likely = [each for each in found if each["TargetGroupName"].startswith(_prefix(wanted))]
        carried = await self._carried([each["TargetGroupArn"] for each in likely])
        mine = self._tags(wanted)
        return {
            each["TargetGroupName"]: each
            for each in likely
            if mine.items() <= carried.get(each["TargetGroupArn"], {}).items()
        }

    async def _target_group(
        self,
        wanted: Balancer,
        listener: Listener,
        settings: Settings,
        vpc: str,
        groups: Mapping[str, dict[str, Any]],
        changes: list[str],
    ) -> str:
        """The ARN of a port's target group, its health check, attributes and targets as wanted."""
        name = _prefix(wanted) + fingerprint(self._sdk.config.cluster, wanted.name, listener)
        check = _health(wanted, settings)
        group = groups.get(name)
        if group is None:
            answer = await self._change(
                "create_target_group",
                Name=name,
                Protocol=listener.protocol,
                Port=listener.node_port,
                VpcId=vpc,
                TargetType="instance",
                Tags=tag_list(self._tags(wanted)),
                **check,
            )
            group = answer["TargetGroups"][0]
            changes.append(f"made the target group {name}")
        elif any(group.get(key) != value for key, value in check.items()):
            await self._change("modify_target_group", TargetGroupArn=group["TargetGroupArn"], **check)
            changes.append(f"health check of {name}")
        arn: str = group["TargetGroupArn"]
        await self._group_attributes(arn, wanted, settings, changes)
        await self._register(arn, wanted, listener, changes)
        return arn

    async def _group_attributes(self, arn: str, wanted: Balancer, settings: Settings, changes: list[str]) -> None:
        want = {
            "proxy_protocol_v2.enabled": str(settings.proxy_protocol).lower(),
            "stickiness.enabled": str(wanted.sticky).lower(),
        }
        have = _pairs((await self._read("describe_target_group_attributes", TargetGroupArn=arn))["Attributes"])
        differ = {key: value for key, value in want.items() if have.get(key, "false") != value}
        if differ:
            differ |= {"stickiness.type": "source_ip"} if wanted.sticky else {}
            await self._change("modify_target_group_attributes", TargetGroupArn=arn, Attributes=tag_list(differ))
            changes.append(f"attributes {', '.join(differ)}")

    async def _register(self, arn: str, wanted: Balancer, listener: Listener, changes: list[str]) -> None:
        answer = await self._read("describe_target_health", TargetGroupArn=arn)
        have = {
            each["Target"]["Id"]
            for each in answer["TargetHealthDescriptions"]
            if each["TargetHealth"]["State"] != "draining"
        }
        want = {each.instance for each in wanted.targets}
        for operation, ids in (("register_targets", want - have), ("deregister_targets", have - want)):
            if ids:
                listed = [{"Id": each, "Port": listener.node_port} for each in sorted(ids)]
                await self._change(operation, TargetGroupArn=arn, Targets=listed)
                changes.append(f"{operation} {', '.join(sorted(ids))}")

    async def _listeners(
        self, arn: str, wanted: Balancer, settings: Settings, groups: Mapping[Listener, str], changes: list[str]
    ) -> None:
        found = await self._sdk.pages("elbv2", "describe_listeners", "Listeners", path=BALANCERS, LoadBalancerArn=arn)
        have = {each["Port"]: each for each in found}
        for each in wanted.listeners:
            tls = settings.has_tls(each.name, each.port)
            want: dict[str, Any] = {
                "Protocol": "TLS" if tls else each.protocol,
                "Port": each.port,
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": groups[each]}],
            }
            want |= {"Certificates": [{"CertificateArn": settings.certificate}]} if tls else {}
            old = have.pop(each.port, None)
            if old is None:
                await self._change("create_listener", LoadBalancerArn=arn, **want)
                changes.append(f"made the listener {each.port}")
            elif _listening(old) != _listening(want):
                await self._change("modify_listener", ListenerArn=old["ListenerArn"], **want)
                changes.append(f"changed the listener {each.port}")
        for port, old in have.items():
            await self._change("delete_listener", ListenerArn=old["ListenerArn"])
            changes.append(f"removed the listener {port}")

    async def _open(
        self, wanted: Balancer, subnets: Sequence[Mapping[str, Any]], machines: list[dict[str, Any]]
    ) -> list[str]:
        """A network load balancer has no group of its own: the nodes must let its clients and its checks in."""
        done: list[str] = []
        clients, checks = CLIENTS + wanted.name, CHECKS + wanted.name if wanted.local else SHARED
        open_ports = {
            rule(each.protocol.lower(), each.node_port, each.node_port, source, clients)
            for each in wanted.listeners
            for source in wanted.source_ranges or EVERYONE
        }
        health = {rule("tcp", wanted.health.port, wanted.health.port, each["CidrBlock"], checks) for each in subnets}
        async with self._opening:
            for group in await self._network.node_groups(machines):
                done += await self._network.set_rules(group, open_ports, described=clients)
                # Others' subnets need theirs.
                done += await self._network.set_rules(group, health, described=checks, drop=wanted.local)
        return done

    async def delete(self, name: str) -> bool:
        """What hangs on the balancer goes before it, so that a deletion that failed half-way finds its way again.

        Raises Refused."""
        found = await self.found(name)
        if found is None:
            return False
        arn = found["LoadBalancerArn"]
        service = (await self._carried([arn])).get(arn, {}).get(names.SERVICE_TAG, "")
        groups = await self._groups_of(arn, {names.SERVICE_TAG: service, self._sdk.cluster_tag: "owned"})
        for each in await self._sdk.pages(
            "elbv2", "describe_listeners", "Listeners", path=BALANCERS, LoadBalancerArn=arn
        ):
            with contextlib.suppress(Absent):
                await self._change("delete_listener", ListenerArn=each["ListenerArn"])
        for group in groups:
            with contextlib.suppress(Absent):
                await self._change("delete_target_group", TargetGroupArn=group)
        await self._network.clear_rules(CLIENTS + name)
        await self._network.clear_rules(CHECKS + name)
        async with self._opening:
            if not any(self._sdk.is_ours(carried) for each, carried in (await self.listed()).items() if each != name):
                await self._network.clear_rules(SHARED)
        await self._change("delete_load_balancer", LoadBalancerArn=arn)
        return True

    async def _groups_of(self, arn: str, mine: Mapping[str, str]) -> list[str]:
        """The Service's target groups that no other balancer uses: once its listeners are gone, only tags tell."""
        found = await self._sdk.pages("elbv2", "describe_target_groups", "TargetGroups", path=BALANCERS)
        free = [each["TargetGroupArn"] for each in found if set(each.get("LoadBalancerArns") or ()) <= {arn}]
        carried = await self._carried(free)
        return [group for group in free if mine.items() <= carried.get(group, {}).items()]

    async def found(self, name: str) -> dict[str, Any] | None:
        """None when there is none. Raises Refused when it is somebody else's."""
        try:
            answer = await self._read("describe_load_balancers", Names=[name])
        except Absent:
            return None
        document: dict[str, Any] = answer["LoadBalancers"][0]
        arn = document["LoadBalancerArn"]
        if not self._sdk.is_ours((await self._carried([arn])).get(arn, {})):
            raise Refused(f"the load balancer {name} carries no tag of this cluster")
        return document

    async def _read(self, operation: str, **given: Any) -> Any:
        return await self._sdk.call("elbv2", operation, path=BALANCERS, **given)

    async def _change(self, operation: str, **given: Any) -> Any:
        return await self._sdk.call("elbv2", operation, path=BALANCERS, write=True, **given)


def _prefix(wanted: Balancer) -> str:
    """k8s-NAMESPACE-NAME-, cut as the AWS cloud provider cuts it: a name has 32 characters."""
    return f"k8s-{_plain(wanted.service.namespace)}-{_plain(wanted.service.name)}-"


def _plain(text: str) -> str:
    return "".join(character for character in text if character.isalnum())[:8]


def _health(wanted: Balancer, settings: Settings) -> dict[str, Any]:
    protocol = settings.health_protocol or ("HTTP" if wanted.health.path else "TCP")
    path = {"HealthCheckPath": settings.health_path or wanted.health.path} if protocol != "TCP" else {}
    return {
        "HealthCheckProtocol": protocol,
        "HealthCheckPort": settings.health_port or str(wanted.health.port),
        "HealthCheckIntervalSeconds": settings.health_interval,
        "HealthyThresholdCount": settings.healthy,
        "UnhealthyThresholdCount": settings.unhealthy,
        **path,
    }


def _pairs(listed: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in listed}


def _listening(listener: Mapping[str, Any]) -> tuple[Any, ...]:
    certificates = [each["CertificateArn"] for each in listener.get("Certificates") or ()]
    groups = [each.get("TargetGroupArn") for each in listener["DefaultActions"]]
    return listener["Protocol"], listener["Port"], groups, certificates
