"""AWS for tests: moto's server as a process of its own, and a proxy before it that counts, delays and spoils calls."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import aiohttp
from aiohttp import web

from pynetes.cloud import names, providers
from pynetes.cloud.provider import Provider
from pynetes.cloud.providers import Settings
from pynetes.component import serving
from pynetes.component.clock import Clock, SystemClock
from tests.cloud.clouds import CLUSTER

REGION = "eu-central-1"
#: The SDK's own way to be told who one is; moto believes everybody.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true"}


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """The server's URL while the block runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # What is made is there after a while only, as at AWS; the proxy plays that, so moto need not.
    quiet = {"MOTO_ENABLE_ISO_REGIONS": "false", **os.environ}
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=quiet) as server:
        try:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(f"{url}/moto-api/", timeout=5).close()
                    break
                time.sleep(0.05)
            yield url
        finally:
            server.terminate()


def reset(url: str) -> None:
    """An empty AWS."""
    urllib.request.urlopen(urllib.request.Request(f"{url}/moto-api/reset", method="POST"), timeout=30).close()


Fault = Callable[[dict[str, str]], web.Response | None]


class Proxy:
    """Passes requests on, unless a fault answers them. Actions are those of the APIs: CreateLoadBalancer, …"""

    def __init__(self, target: str) -> None:
        self._target = target
        self.seen: list[str] = []
        self.faults: list[Fault] = []
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{tail:.*}", self._pass)

        async def close(_app: web.Application) -> None:
            if self._session:
                await self._session.close()

        app.on_cleanup.append(close)
        return app

    async def _pass(self, request: web.Request) -> web.Response:
        body = await request.read()
        asked = dict(urllib.parse.parse_qsl(body.decode()))
        self.seen.append(asked.get("Action", ""))
        for fault in tuple(self.faults):
            if (spoiled := fault(asked)) is not None:
                return spoiled
        self._session = self._session or aiohttp.ClientSession(auto_decompress=False)
        headers = {key: value for key, value in request.headers.items() if key != "Host"}
        async with self._session.request(
            request.method, f"{self._target}{request.path_qs}", data=body, headers=headers
        ) as answer:
            kind = answer.headers.get("Content-Type", "text/xml").partition(";")[0]
            return web.Response(status=answer.status, body=await answer.read(), content_type=kind)

    def changes(self) -> int:
        """Calls so far that were no description."""
        return sum(bool(action) and not action.startswith("Describe") for action in self.seen)

    def count(self, action: str) -> int:
        """Calls of one action."""
        return self.seen.count(action)

    def spoil(self, action: str, code: str, *, times: int = 1, status: int = 400) -> None:
        """Answer the next calls of an action with an error."""
        left = times

        def fault(asked: dict[str, str]) -> web.Response | None:
            nonlocal left
            if asked.get("Action") != action or left <= 0:
                return None
            left -= 1
            return error(code, status)

        self.faults.append(fault)


def error(code: str, status: int = 400) -> web.Response:
    """An error as both the EC2 and the query protocol understand it."""
    inner = f"<Error><Code>{code}</Code><Message>spoiled by the test</Message></Error>"
    text = f"<Response><Errors>{inner}</Errors>{inner}<RequestID>r</RequestID></Response>"
    if code.startswith(("Throttling", "LoadBalancer", "TargetGroup", "Access")):
        text = f"<ErrorResponse>{inner}<RequestId>r</RequestId></ErrorResponse>"
    return web.Response(status=status, text=text, content_type="text/xml")


@dataclass
class Aws:
    """A VPC with three instances, their subnets, security group and route table, all tagged for the cluster."""

    provider: Provider
    proxy: Proxy
    url: str
    nodes: tuple[str, ...]
    ids: dict[str, str]
    ec2: Any
    elb: Any
    elbv2: Any
    vpc: str
    group: str
    clock: Clock
    stack: AsyncExitStack = field(repr=False)

    async def instance_id(self, node: str) -> str:
        return self.ids[node]

    async def stop(self, node: str) -> None:
        await asyncio.to_thread(self.ec2.stop_instances, InstanceIds=[self.ids[node]])

    async def terminate(self, node: str) -> None:
        await asyncio.to_thread(self.ec2.terminate_instances, InstanceIds=[self.ids[node]])

    async def another(self, cluster: str) -> Provider:
        return await connected(self.stack, self.url, cluster, self.clock)

    def changes(self) -> int:
        return self.proxy.changes()


async def connected(stack: AsyncExitStack, url: str, cluster: str, clock: Clock) -> Provider:
    """A provider that calls AWS at url."""
    text = f"[Global]\nZone = {REGION}a\n"
    for number, service in enumerate(("ec2", "elasticloadbalancing"), 1):
        text += f'[ServiceOverride "{number}"]\nService = {service}\nRegion = {REGION}\nURL = {url}\n'
    provider = await providers.connect("aws", Settings(config=text, cluster=cluster, clock=clock))
    stack.push_async_callback(provider.close)
    return provider


@cache
def clients(server: str) -> tuple[Any, Any, Any]:
    """ec2, elb and elbv2, past the proxy."""
    import boto3

    session = boto3.session.Session("AKIATEST", "secret", region_name=REGION)
    ec2, elb, elbv2 = (session.client(name, endpoint_url=server) for name in ("ec2", "elb", "elbv2"))
    return ec2, elb, elbv2


@asynccontextmanager
async def aws(server: str, *, clock: Clock | None = None) -> AsyncIterator[Aws]:
    """A fresh AWS behind a proxy."""
    await asyncio.to_thread(reset, server)
    ec2, elb, elbv2 = clients(server)
    made = await asyncio.to_thread(_build, ec2)
    async with AsyncExitStack() as stack:
        proxy = Proxy(server)
        port = await stack.enter_async_context(serving.serve(proxy.application()))
        url, clock = f"http://127.0.0.1:{port}", clock or SystemClock()
        provider = await connected(stack, url, CLUSTER, clock)
        yield Aws(
            provider, proxy, url, tuple(made["ids"]), ec2=ec2, elb=elb, elbv2=elbv2, clock=clock, stack=stack, **made
        )


def _build(ec2: Any) -> dict[str, Any]:
    """The VPC and what is in it; the second cluster shares it."""
    tag = [{"Key": names.owned(CLUSTER), "Value": "owned"}]
    shared = [*tag, {"Key": names.owned("other"), "Value": "shared"}]
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.create_tags(Resources=[group, table], Tags=tag)
    ids: dict[str, str] = {}
    for number, zone in enumerate("abc"):
        subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=REGION + zone)
        subnet_id = subnet["Subnet"]["SubnetId"]
        ec2.create_tags(Resources=[subnet_id], Tags=shared)
        made = ec2.run_instances(
            ImageId="ami-12c6146b",
            InstanceType="t3.medium",
            MinCount=1,
            MaxCount=1,
            SubnetId=subnet_id,
            SecurityGroupIds=[group],
            TagSpecifications=[{"ResourceType": "instance", "Tags": shared}],
        )["Instances"][0]
        ids[made["PrivateDnsName"]] = made["InstanceId"]
    return {"ids": ids, "vpc": vpc, "group": group}
