"""Classic load balancers: one API object with listeners, a health check, a security group and instances."""

from collections.abc import Mapping
from typing import Any

from pynetes.cloud import names
from pynetes.cloud.calls import BALANCERS
from pynetes.cloud.provider import Absent, Balancer, Ensured, Refused
from pynetes.cloud.providers.aws.annotations import Settings
from pynetes.cloud.providers.aws.network import Network, rule
from pynetes.cloud.providers.aws.sdk import Sdk, tag_list, tags

PROXY_POLICY = "k8s-proxyprotocol-enabled"
#: ELB takes tags for so many balancers in one call.
BATCH = 20
EVERYONE = ("0.0.0.0/0",)
_TLS = {
    "": ("SSL", "TCP"),
    "tcp": ("SSL", "TCP"),
    "ssl": ("SSL", "SSL"),
    "http": ("HTTPS", "HTTP"),
    "https": ("HTTPS", "HTTPS"),
}


class Classic:
    """Those of one cluster."""

    def __init__(self, sdk: Sdk, network: Network) -> None:
        self._sdk, self._network = sdk, network

    async def listed(self) -> dict[str, dict[str, str]]:
        """Name → tags."""
        found = await self._sdk.pages("elb", "describe_load_balancers", "LoadBalancerDescriptions", path=BALANCERS)
        every = [each["LoadBalancerName"] for each in found]
        carried: dict[str, dict[str, str]] = {}
        for start in range(0, len(every), BATCH):
            answer = await self._read("describe_tags", LoadBalancerNames=every[start : start + BATCH])
            carried |= {each["LoadBalancerName"]: tags(each["Tags"]) for each in answer["TagDescriptions"]}
        return carried

    async def ensure(self, wanted: Balancer, settings: Settings, vpc: str, machines: list[dict[str, Any]]) -> Ensured:
        """Make it so."""
        udp = [each for each in wanted.listeners if each.protocol != "TCP"]
        if udp:
            raise Refused(
                f"port {udp[0].port} is {udp[0].protocol}: classic load balancers speak TCP; set the type nlb"
            )
        changes: list[str] = []
        subnets = [each["SubnetId"] for each in await self._network.subnets(settings, vpc)]
        groups = await self._groups(wanted, settings, vpc, changes)
        listeners = [_listener(wanted, settings, index) for index in range(len(wanted.listeners))]
        found = await self._found(wanted.name)
        if found is None:
            await self._change(
                "create_load_balancer",
                LoadBalancerName=wanted.name,
                Listeners=listeners,
                Subnets=subnets,
                SecurityGroups=groups,
                Tags=tag_list(self._tags(wanted, settings)),
                **({"Scheme": "internal"} if settings.internal else {}),
            )
            changes.append(f"made the load balancer {wanted.name}")
            found = await self._found(wanted.name)
            if found is None:
                raise Absent(f"the load balancer {wanted.name} was just made and is not there yet")
        else:
            await self._adjust(found, wanted.name, listeners, subnets, groups, changes)
        await self._proxy_protocol(found, wanted, settings, changes)
        await self._health(found, wanted, settings, changes)
        await self._attributes(wanted.name, settings, changes)
        await self._instances(found, wanted, changes)
        if not settings.security_groups:
            nodes = await self._network.node_groups(machines)
            changes += await self._network.allow_from_group(groups[0], nodes)
        return Ensured(({"hostname": found["DNSName"]},), tuple(changes))

    async def _groups(self, wanted: Balancer, settings: Settings, vpc: str, changes: list[str]) -> list[str]:
        if settings.security_groups:
            return list(settings.security_groups)
        own = self._sdk.config.elb_security_group
        group = own or await self._network.group(f"k8s-elb-{wanted.name}", vpc, str(wanted.service))
        rules = {
            rule("tcp", each.port, each.port, source)
            for each in wanted.listeners
            for source in wanted.source_ranges or EVERYONE
        }
        # Answers that a packet is too large must come through, or connections hang.
        rules |= {rule("icmp", 3, 4, source) for source in wanted.source_ranges or EVERYONE}
        changes += [] if own else await self._network.set_rules(group, rules)
        return [group, *settings.extra_security_groups]

    def _tags(self, wanted: Balancer, settings: Settings) -> dict[str, str]:
        return {**settings.tags, names.SERVICE_TAG: str(wanted.service), self._sdk.cluster_tag: "owned"}

    async def _adjust(
        self,
        found: Mapping[str, Any],
        name: str,
        listeners: list[dict[str, Any]],
        subnets: list[str],
        groups: list[str],
        changes: list[str],
    ) -> None:
        have = {each["Listener"]["LoadBalancerPort"]: each["Listener"] for each in found["ListenerDescriptions"]}
        want = {each["LoadBalancerPort"]: each for each in listeners}
        drop = [port for port, each in have.items() if _shown(each) != _shown(want.get(port))]
        add = [each for port, each in want.items() if _shown(each) != _shown(have.get(port))]
        if drop:
            await self._change("delete_load_balancer_listeners", LoadBalancerName=name, LoadBalancerPorts=drop)
        if add:
            await self._change("create_load_balancer_listeners", LoadBalancerName=name, Listeners=add)
        if drop or add:
            changes.append(f"{name}: listeners {sorted(want)}")
        if set(found.get("Subnets") or ()) != set(subnets):
            if more := sorted(set(subnets) - set(found.get("Subnets") or ())):
                await self._change("attach_load_balancer_to_subnets", LoadBalancerName=name, Subnets=more)
            if less := sorted(set(found.get("Subnets") or ()) - set(subnets)):
                await self._change("detach_load_balancer_from_subnets", LoadBalancerName=name, Subnets=less)
            changes.append(f"{name}: subnets {subnets}")
        if set(found.get("SecurityGroups") or ()) != set(groups):
            await self._change("apply_security_groups_to_load_balancer", LoadBalancerName=name, SecurityGroups=groups)
            changes.append(f"{name}: security groups {groups}")

    async def _proxy_protocol(
        self, found: Mapping[str, Any], wanted: Balancer, settings: Settings, changes: list[str]
    ) -> None:
        policies = {each["InstancePort"]: each["PolicyNames"] for each in found.get("BackendServerDescriptions") or ()}
        ports = {each.node_port for each in wanted.listeners} if settings.proxy_protocol else set()
        have = {port for port, listed in policies.items() if PROXY_POLICY in listed}
        if ports - have and not have:
            await self._change(
                "create_load_balancer_policy",
                LoadBalancerName=wanted.name,
                PolicyName=PROXY_POLICY,
                PolicyTypeName="ProxyProtocolPolicyType",
                PolicyAttributes=[{"AttributeName": "ProxyProtocol", "AttributeValue": "true"}],
            )
        for port in sorted(ports ^ have):
            listed = [PROXY_POLICY] if port in ports else []
            await self._change(
                "set_load_balancer_policies_for_backend_server",
                LoadBalancerName=wanted.name,
                InstancePort=port,
                PolicyNames=listed,
            )
            changes.append(f"{wanted.name}: proxy protocol {'on' if listed else 'off'} for {port}")

    async def _health(self, found: Mapping[str, Any], wanted: Balancer, settings: Settings, changes: list[str]) -> None:
        protocol = settings.health_protocol or ("HTTP" if wanted.health.path else "TCP")
        path = (settings.health_path or wanted.health.path) if protocol != "TCP" else ""
        port = settings.health_port if settings.health_port.isdecimal() else wanted.health.port
        check = {
            "Target": f"{protocol}:{port}{path}",
            "Interval": settings.health_interval,
            "Timeout": settings.health_timeout,
            "UnhealthyThreshold": settings.unhealthy,
            "HealthyThreshold": settings.healthy,
        }
        if found.get("HealthCheck") != check:
            await self._change("configure_health_check", LoadBalancerName=wanted.name, HealthCheck=check)
            changes.append(f"{wanted.name}: health check {check['Target']}")

    async def _attributes(self, name: str, settings: Settings, changes: list[str]) -> None:
        wanted: dict[str, dict[str, Any]] = {
            "CrossZoneLoadBalancing": {"Enabled": settings.cross_zone},
            "ConnectionDraining": {
                "Enabled": bool(settings.draining_timeout),
                "Timeout": settings.draining_timeout or 300,
            },
            "ConnectionSettings": {"IdleTimeout": settings.idle_timeout},
        }
        answer = await self._read("describe_load_balancer_attributes", LoadBalancerName=name)
        have = answer["LoadBalancerAttributes"]
        if any(not _covers(have.get(key) or {}, value) for key, value in wanted.items()):
            await self._change("modify_load_balancer_attributes", LoadBalancerName=name, LoadBalancerAttributes=wanted)
            changes.append(f"{name}: attributes")

    async def _instances(self, found: Mapping[str, Any], wanted: Balancer, changes: list[str]) -> None:
        have = {each["InstanceId"] for each in found.get("Instances") or ()}
        want = {each.instance for each in wanted.targets}
        for operation, ids in (
            ("register_instances_with_load_balancer", want - have),
            ("deregister_instances_from_load_balancer", have - want),
        ):
            if ids:
                listed = [{"InstanceId": each} for each in sorted(ids)]
                await self._change(operation, LoadBalancerName=wanted.name, Instances=listed)
                changes.append(f"{wanted.name}: {operation.partition('_')[0]} {', '.join(sorted(ids))}")

    async def delete(self, name: str) -> bool:
        """The balancer, then its security group. Raises Refused for what is not ours."""
        found = await self._found(name)
        if found is not None:
            await self._change("delete_load_balancer", LoadBalancerName=name)
        await self._network.remove_group(f"k8s-elb-{name}")
        return found is not None

    async def _found(self, name: str) -> dict[str, Any] | None:
        """None when there is none. Raises Refused when it is somebody else's."""
        try:
            answer = await self._read("describe_load_balancers", LoadBalancerNames=[name])
            carried = await self._read("describe_tags", LoadBalancerNames=[name])
        except Absent:
            return None
        if not self._sdk.is_ours(tags(carried["TagDescriptions"][0]["Tags"])):
            raise Refused(f"the load balancer {name} carries no tag of this cluster")
        document: dict[str, Any] = answer["LoadBalancerDescriptions"][0]
        return document

    async def _read(self, operation: str, **given: Any) -> Any:
        return await self._sdk.call("elb", operation, path=BALANCERS, **given)

    async def _change(self, operation: str, **given: Any) -> Any:
        return await self._sdk.call("elb", operation, path=BALANCERS, write=True, **given)


def _covers(have: Mapping[str, Any], want: Mapping[str, Any]) -> bool:
    """Whether it is as wanted; what goes with something that is off does not count."""
    if want.get("Enabled") is False:
        return not have.get("Enabled")
    return all(have.get(key) == value for key, value in want.items())


def _listener(wanted: Balancer, settings: Settings, index: int) -> dict[str, Any]:
    each = wanted.listeners[index]
    made: dict[str, Any] = {"LoadBalancerPort": each.port, "InstancePort": each.node_port}
    if settings.has_tls(each.name, each.port):
        front, back = _TLS.get(settings.backend_protocol, _TLS[""])
        made |= {"Protocol": front, "InstanceProtocol": back, "SSLCertificateId": settings.certificate}
    else:
        plain = "HTTP" if settings.backend_protocol == "http" else "TCP"
        made |= {"Protocol": plain, "InstanceProtocol": plain}
    return made


def _shown(listener: Mapping[str, Any] | None) -> tuple[Any, ...]:
    fields = ("LoadBalancerPort", "InstancePort", "Protocol", "InstanceProtocol", "SSLCertificateId")
    return tuple((listener or {}).get(field) or "" for field in fields)
