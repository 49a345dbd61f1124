"""What balancers need around them: the VPC, subnets by their tags, and rules in security groups."""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pynetes.cloud.calls import BALANCERS
from pynetes.cloud.provider import Absent, CloudError, Refused
from pynetes.cloud.providers.aws.annotations import Settings
from pynetes.cloud.providers.aws.sdk import Sdk, filters, tag_list, tags

PUBLIC_ROLE, INTERNAL_ROLE = "kubernetes.io/role/elb", "kubernetes.io/role/internal-elb"
Rule = tuple[str, int, int, str, str]


def rule(protocol: str, first: int, last: int, source: str, description: str = "") -> Rule:
    """An ingress rule; source is a network or a security group's ID."""
    return protocol, first, last, source, description


class Network:
    """The part of a VPC that a cluster uses."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    async def vpc(self, instances: Sequence[Mapping[str, Any]]) -> str:
        """The configured one, or that of the cluster's instances."""
        if self._sdk.config.vpc:
            return self._sdk.config.vpc
        found = {each["VpcId"] for each in instances if each.get("VpcId")}
        if len(found) != 1:
            raise CloudError(f"the cluster's instances are in {len(found)} VPCs; set VPC in --cloud-config")
        return str(found.pop())

    async def subnets(self, settings: Settings, vpc: str) -> list[dict[str, Any]]:
        """One per zone: those named, or those tagged for the cluster, by role and then by name. Raises Refused."""
        chosen = settings.subnets or ((self._sdk.config.subnet,) if self._sdk.config.subnet else ())
        if chosen:
            found = await self._sdk.pages(
                "ec2", "describe_subnets", "Subnets", path=BALANCERS, Filters=filters(subnet_id=chosen)
            )
            if len(found) != len(set(chosen)):
                raise Refused(f"not all of the subnets {', '.join(chosen)} exist")
            return sorted(found, key=lambda each: str(each["SubnetId"]))
        found = await self._sdk.pages("ec2", "describe_subnets", "Subnets", path=BALANCERS, Filters=filters(vpc_id=vpc))
        role, cluster = INTERNAL_ROLE if settings.internal else PUBLIC_ROLE, self._sdk.cluster_tag
        usable = [each for each in found if {cluster, role} & tags(each.get("Tags")).keys()]
        best: dict[str, dict[str, Any]] = {}
        for subnet in sorted(usable, key=lambda each: (role not in tags(each.get("Tags")), str(each["SubnetId"]))):
            best.setdefault(subnet["AvailabilityZone"], subnet)
        if not best:
            raise Refused(f"no subnet of {vpc} carries the tag {cluster} or {role}, so no load balancer can be made")
        return [best[zone] for zone in sorted(best)]

    async def group(self, name: str, vpc: str, service: str) -> str:
        """A security group of our own, made when it is not there."""
        found = await self._groups(filters(group_name=name, vpc_id=vpc))
        if found:
            if not self._sdk.is_ours(tags(found[0].get("Tags"))):
                raise Refused(f"the security group {name} carries no tag of this cluster")
            return str(found[0]["GroupId"])
        made = await self._change(
            "create_security_group",
            GroupName=name,
            VpcId=vpc,
            Description=f"Security group for Kubernetes ELB {name} ({service})",
            TagSpecifications=[{"ResourceType": "security-group", "Tags": tag_list({self._sdk.cluster_tag: "owned"})}],
        )
        return str(made["GroupId"])

    async def remove_group(self, name: str) -> None:
        """Our security group of this name, and the rules of nodes that speak of it."""
        for group in await self._groups(filters(group_name=name)):
            if self._sdk.is_ours(tags(group.get("Tags"))):
                await self.allow_from_group(group["GroupId"], ())
                try:
                    await self._change("delete_security_group", GroupId=group["GroupId"])
                except Absent:
                    continue

    async def node_groups(self, instances: Iterable[Mapping[str, Any]]) -> list[str]:
        """Per instance the group that carries the cluster's tag, or its only one."""
        per = [[each["GroupId"] for each in machine.get("SecurityGroups") or ()] for machine in instances]
        everything = sorted({group for groups in per for group in groups})
        if not everything:
            return []
        listed = await self._groups(filters(group_id=everything))
        tagged = {each["GroupId"] for each in listed if self._sdk.cluster_tag in tags(each.get("Tags"))}
        chosen: set[str] = set()
        for groups in per:
            ours = [group for group in groups if group in tagged] or groups
            if len(ours) > 1 and ours[0] in tagged:
                raise Refused(f"several security groups of one instance carry {self._sdk.cluster_tag}: {ours}")
            chosen |= set(ours[:1])
        return sorted(chosen)

    async def allow_from_group(self, balancer: str, groups: Sequence[str]) -> list[str]:
        """All traffic from a balancer's group into these groups of nodes, and into no others of ours."""
        done = []
        there = await self._groups(filters(**{"ip_permission.group_id": balancer}))
        present = {each["GroupId"] for each in there}
        permission = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": balancer}]}
        for group in sorted(set(groups) - present):
            await self._change("authorize_security_group_ingress", GroupId=group, IpPermissions=[permission])
            done.append(f"opened {group} to {balancer}")
        for group in sorted(present - set(groups)):
            await self._change("revoke_security_group_ingress", GroupId=group, IpPermissions=[permission])
            done.append(f"closed {group} to {balancer}")
        return done

    async def set_rules(self, group: str, wanted: set[Rule], *, described: str = "", drop: bool = True) -> list[str]:
        """Make the group's rules from networks exactly these, or have these among them (not drop).

        described: only those that begin so are ours."""
        found = await self._groups(filters(group_id=group))
        if not found:
            raise Absent(f"there is no security group {group}")
        present = {each for each in _rules(found[0]) if each[4].startswith(described)}
        if add := wanted - present:
            await self._change("authorize_security_group_ingress", GroupId=group, IpPermissions=_permissions(add))
        if less := present - wanted if drop else set():
            await self._change("revoke_security_group_ingress", GroupId=group, IpPermissions=_permissions(less))
        return [f"{group}: {len(add)} rules added, {len(less)} removed"] if add or less else []

    async def clear_rules(self, described: str) -> None:
        """Remove from the cluster's groups all rules that are described so."""
        for group in await self._groups(filters(tag_key=self._sdk.cluster_tag)):
            if any(each[4].startswith(described) for each in _rules(group)):
                await self.set_rules(group["GroupId"], set(), described=described)

    async def _groups(self, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return await self._sdk.pages(
            "ec2", "describe_security_groups", "SecurityGroups", path=BALANCERS, Filters=wanted
        )

    async def _change(self, operation: str, **given: Any) -> Any:
        return await self._sdk.call("ec2", operation, path=BALANCERS, write=True, **given)


def _rules(group: Mapping[str, Any]) -> set[Rule]:
    return {
        rule(
            each["IpProtocol"],
            each.get("FromPort", -1),
            each.get("ToPort", -1),
            one["CidrIp"],
            one.get("Description", ""),
        )
        for each in group.get("IpPermissions") or ()
        for one in each.get("IpRanges") or ()
    }


def _permissions(rules: Iterable[Rule]) -> list[dict[str, Any]]:
    made = []
    for protocol, first, last, source, description in sorted(rules):
        said = {"Description": description} if description else {}
        ranges = [{"CidrIp": str(ipaddress.ip_network(source)), **said}]
        made.append({"IpProtocol": protocol, "FromPort": first, "ToPort": last, "IpRanges": ranges})
    return made
