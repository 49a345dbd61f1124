"""The nodes' networks for real: namespaces, bridges, CNI plugins and packets."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.cluster import netns, network
from tests.cluster import cni

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nftables")]
CLUSTER = "nettest"

SERVE = """
import socket, sys
server = socket.create_server(("0.0.0.0", 8080)); print("ready", flush=True)
while True:
    connection, (peer, _) = server.accept()
    connection.sendall(peer.encode()); connection.close()
"""
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], 8080), timeout=5).recv(99).decode())"


@pytest.fixture
async def net() -> AsyncIterator[network.ClusterNetwork]:
    planned = await network.plan(
        CLUSTER, ["one", "two", "three"], pod_cidr="10.251.0.0/16", service_cidr="10.252.0.0/16"
    )
    try:
        for node in planned.nodes:
            await network.create(planned, node)
        yield planned
    finally:
        await network.cleanup(CLUSTER)


def test_pods_on_different_nodes_see_each_others_own_addresses(net: network.ClusterNetwork, tmp_path: Path) -> None:
    """Between any two nodes, and on the same node, the server sees the client pod's address."""
    one, two, three = net.nodes
    with (
        cni.pod(net, one, "a", tmp_path / "1") as (pod_a, address_a),
        cni.pod(net, two, "b", tmp_path / "2") as (pod_b, address_b),
        cni.pod(net, three, "c", tmp_path / "3") as (pod_c, address_c),
        cni.pod(net, three, "d", tmp_path / "3") as (pod_d, address_d),
        subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{pod_c}", sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        try:
            assert server.stdout is not None and server.stdout.readline() == "ready\n"
            for pod, address in ((pod_a, address_a), (pod_b, address_b), (pod_d, address_d)):
                assert cni.inside(pod, [sys.executable, "-c", ASK, address_c]) == address
            assert cni.inside("", [sys.executable, "-c", ASK, address_c]) == net.gateway
            assert cni.inside(two.namespace, [sys.executable, "-c", ASK, address_c]) == two.address
        finally:
            server.kill()


def test_the_machine_answers_from_every_namespace(net: network.ClusterNetwork, tmp_path: Path) -> None:
    """The API server's address works from nodes and pods, and it sees who asks."""
    two = net.nodes[1]
    with (
        cni.pod(net, two, "b", tmp_path) as (pod, address),
        socket.create_server(("0.0.0.0", 0)) as server,
    ):
        for target in (net.gateway, net.nodes[0].address):
            program = f"import socket; socket.create_connection(('{target}', {server.getsockname()[1]}), timeout=5)"
            for space, source in ((two.namespace, two.address), (pod, address)):
                cni.inside(space, [sys.executable, "-c", program])
                assert server.accept()[1][0] == source


async def test_create_is_repeatable_and_cleanup_leaves_nothing(net: network.ClusterNetwork) -> None:
    """A second create changes nothing; after cleanup neither interface, namespace nor table is left."""
    again = await network.plan(CLUSTER, ["one", "two", "three"], pod_cidr="10.251.0.0/16", service_cidr="10.252.0.0/16")
    assert again == net
    for node in again.nodes:
        await network.create(again, node)
    assert await network.ensure_routes(again) == []
    assert await network.ensure_routes(again, {"two": "10.251.9.0/24"}) != []
    removed = await network.cleanup(CLUSTER)
    assert f"table {net.label}" in removed and f"namespace {net.label}-3" in removed
    assert not [name for name in await asyncio.to_thread(netns.links) if net.tag in name]
    assert not [name for name in netns.namespaces() if name.startswith(net.label)]
    assert await network.cleanup(CLUSTER) == []
