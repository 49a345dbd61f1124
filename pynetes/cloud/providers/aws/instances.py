"""EC2 instances: one DescribeInstances for all that carry the cluster's tag, a thousand a page."""

from collections.abc import Iterator, Sequence
from typing import Any

from pynetes.cloud.calls import NODES
from pynetes.cloud.provider import RUNNING, STOPPED, Address, Instance
from pynetes.cloud.providers.aws.sdk import Sdk, filters

#: EC2's states → ours; what is about to be gone is not listed.
STATES = {"pending": RUNNING, "running": RUNNING, "stopping": STOPPED, "stopped": STOPPED}


class Instances:
    """Those of one cluster."""

    def __init__(self, sdk: Sdk) -> None:
        self._sdk = sdk

    async def list(self) -> Sequence[Instance]:
        return [_instance(each) for each in await described(self._sdk)]


async def described(sdk: Sdk, *, path: int = NODES) -> list[dict[str, Any]]:
    """EC2's own documents."""
    wanted = filters(tag_key=sdk.cluster_tag, instance_state_name=list(STATES))
    reservations = await sdk.pages(
        "ec2", "describe_instances", "Reservations", path=path, Filters=wanted, PaginationConfig={"PageSize": 1000}
    )
    return [instance for reservation in reservations for instance in reservation["Instances"]]


def _instance(found: dict[str, Any]) -> Instance:
    placement = found["Placement"]
    zone = placement["AvailabilityZone"]
    zone_id = placement.get("AvailabilityZoneId")
    return Instance(
        id=found["InstanceId"],
        provider_id=f"aws:///{zone}/{found['InstanceId']}",
        name=found.get("PrivateDnsName") or found["InstanceId"],
        type=found["InstanceType"],
        zone=zone,
        region=zone.rstrip("abcdefghijklmnopqrstuvwxyz"),
        addresses=tuple(_addresses(found)),
        state=STATES[found["State"]["Name"]],
        labels={"topology.k8s.aws/zone-id": zone_id} if zone_id else {},
    )


def _addresses(found: dict[str, Any]) -> Iterator[Address]:
    """In the order in which upstream lists them."""
    private = [found["PrivateIpAddress"]] if found.get("PrivateIpAddress") else []
    interfaces = sorted(
        found.get("NetworkInterfaces") or (), key=lambda one: one.get("Attachment", {}).get("DeviceIndex", 0)
    )
    for interface in interfaces:
        if interface.get("Status") == "in-use":
            private += [one["PrivateIpAddress"] for one in interface.get("PrivateIpAddresses") or ()]
    yield from (Address("InternalIP", ip) for ip in dict.fromkeys(private))
    if found.get("PublicIpAddress"):
        yield Address("ExternalIP", found["PublicIpAddress"])
    if found.get("PrivateDnsName"):
        yield Address("InternalDNS", found["PrivateDnsName"])
        yield Address("Hostname", found["PrivateDnsName"])
    if found.get("PublicDnsName"):
        yield Address("ExternalDNS", found["PublicDnsName"])
