"""The local cloud's namespace and wires: made, answering, and gone by the cluster's name alone."""

import asyncio
import shutil
import subprocess

import pytest

from pynetes.cloud.localcloud.app import listening
from pynetes.cluster import cloud, netns, network

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nftables")]
NAME = "cloudtest"
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 3).recv(9).decode())"


def there() -> set[str]:
    """Interfaces and namespaces of clusters on the machine; those of pods come and go."""
    return {name for name in (*netns.links(), *netns.namespaces()) if name.startswith("py")}


def asked(namespace: str, host: str, port: int) -> str:
    """What a client in a namespace is told."""
    inside = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
    done = subprocess.run([*inside, "python3", "-c", ASK, host, str(port)], capture_output=True, text=True, check=False)
    return done.stdout.strip()


async def test_wires_lead_to_the_cloud_and_leave_nothing(tmp_path: object) -> None:
    """Any address of the pool answers from the machine and from a node; each node has a metadata service of its own."""
    before = await asyncio.to_thread(there)
    plan = await network.plan(
        NAME, ["machine", f"{NAME}-node-2"], pod_cidr="10.250.0.0/16", service_cidr="10.251.0.0/16", cloud=True
    )
    try:
        for node in plan.nodes:
            await network.create(plan, node)
        await cloud.create(plan)
        await cloud.create(plan)
        space, address = cloud.namespace(plan), plan.cloud_cidr.replace(".0/24", ".77")
        sockets = {
            "balancer": listening(space, address, 8080),
            "first": listening(space, cloud.METADATA, 80, device="md1"),
            "second": listening(space, cloud.METADATA, 80, device="md2"),
        }
        async with asyncio.TaskGroup() as group:
            servers = [await asyncio.start_server(_say(name), sock=channel) for name, channel in sockets.items()]
            node = plan.nodes[1].namespace
            told = [
                group.create_task(asyncio.to_thread(asked, *question))
                for question in (
                    ("", address, 8080), (node, address, 8080), ("", cloud.METADATA, 80), (node, cloud.METADATA, 80)
                )
            ]  # fmt: skip
        assert [each.result() for each in told] == ["balancer", "balancer", "first", "second"]
        for server in servers:
            server.close()
        await cloud.remove(plan)
        left = await asyncio.to_thread(there)
        assert not {space, f"pyl-{plan.tag}", f"pym{plan.tag}-1"} & left
    finally:
        await network.cleanup(NAME)
    assert await asyncio.to_thread(there) == before


def _say(name: str):  # type: ignore[no-untyped-def]
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode())
        writer.close()

    return serve
