"""--cloud-config of the AWS provider: the INI file that upstream's reads, as far as its settings mean anything here.

    [Global]
    Zone = eu-central-1a            # or Region = eu-central-1
    VPC = vpc-0123                  # where load balancers are made
    SubnetID = subnet-0123          # their subnet, instead of those found by tags
    RouteTableID = rtb-0123         # instead of the one that carries the cluster's tag
    KubernetesClusterID = prod      # instead of --cluster-name
    ElbSecurityGroup = sg-0123      # for all classic load balancers, instead of one each

    [ServiceOverride "1"]
    Service = ec2                   # ec2, elasticloadbalancing
    Region = eu-central-1
    URL = https://ec2.example.com

Credentials are looked for where the SDK looks: the environment, ~/.aws, the instance's role.
"""

import configparser
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from pynetes.cloud.providers import BadCloud

#: What upstream's file calls a service → what boto3 calls it.
SERVICES = {"ec2": ("ec2",), "elasticloadbalancing": ("elb", "elbv2")}


@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings; "" for what is found out."""

    cluster: str
    region: str
    vpc: str = ""
    subnet: str = ""
    route_table: str = ""
    elb_security_group: str = ""
    #: boto3's service name → URL.
    endpoints: Mapping[str, str] = field(default_factory=dict)


def parse(text: str, cluster: str) -> Config:
    """Raises BadCloud."""
    reader = configparser.ConfigParser(strict=False, inline_comment_prefixes=("#", ";"), interpolation=None)
    try:
        reader.read_string(text)
    except configparser.Error as error:
        raise BadCloud(f"--cloud-config cannot be read: {error}", "write it as an INI file with [Global]") from None
    given = reader["Global"] if reader.has_section("Global") else {}
    zone = given.get("Zone", "")
    region = given.get("Region", "") or zone[:-1] or os.environ.get("AWS_REGION", "")
    if not region:
        raise BadCloud("the AWS region is not known", "set Zone or Region in [Global] of --cloud-config, or AWS_REGION")
    endpoints: dict[str, str] = {}
    for name in reader.sections():
        if name.startswith("ServiceOverride"):
            override = reader[name]
            if override.get("Region", region) == region:
                for service in SERVICES.get(override.get("Service", ""), ()):
                    endpoints[service] = override.get("URL", "")
    return Config(
        cluster=given.get("KubernetesClusterID", "") or cluster,
        region=region,
        vpc=given.get("VPC", ""),
        subnet=given.get("SubnetID", ""),
        route_table=given.get("RouteTableID", ""),
        elb_security_group=given.get("ElbSecurityGroup", ""),
        endpoints=endpoints,
    )
