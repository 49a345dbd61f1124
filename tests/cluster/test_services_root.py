"""Pods of two nodes and Services between them: CNI bridges, routes and kube-proxy's rules together."""

import asyncio
import contextlib
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pyroute2 import netns as namespaces

from pynetes.cluster import network
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group
from pynetes.dns import server as dns
from pynetes.dns.answers import Answers
from pynetes.dns.forward import Forwarder
from pynetes.dns.tracker import Tracker as DnsTracker
from pynetes.proxy import backend
from pynetes.proxy.nftables import Settings
from pynetes.proxy.sync import Proxier
from pynetes.proxy.tracker import Tracker
from tests.cluster import cni
from tests.dns.objects import question
from tests.proxy.objects import endpoint, endpoint_slice, service

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nftables")]
CLUSTER, PODS, SERVICES, VIP = "svctest", "10.251.0.0/16", "10.252.0.0/16", "10.252.0.10"


@contextlib.contextmanager
def within(space: str) -> Iterator[None]:
    """What this thread makes meanwhile belongs to the namespace."""
    namespaces.pushns(space)
    try:
        yield
    finally:
        namespaces.popns()


@pytest.fixture
async def net() -> AsyncIterator[network.ClusterNetwork]:
    planned = await network.plan(CLUSTER, ["one", "two", "three"], pod_cidr=PODS, service_cidr=SERVICES)
    try:
        for node in planned.nodes:
            await network.create(planned, node)
        yield planned
    finally:
        await network.cleanup(CLUSTER)


@contextlib.contextmanager
def server(space: str) -> Iterator[None]:
    """Tells every client on port 8080 which address it came from."""
    with within(space):
        listener = socket.create_server(("0.0.0.0", 8080))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, (peer, _) = listener.accept()
                with connection:
                    connection.sendall(peer.encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def seen(space: str, address: str, port: int) -> str:
    """The address under which a server sees a client in the namespace ("" is the machine)."""
    with within(space) if space else contextlib.nullcontext():
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with client:
        client.settimeout(3)
        client.connect((address, port))
        return client.recv(100).decode()


def sync(net: network.ClusterNetwork, mode: str, *objects: dict[str, object]) -> list[tuple[str, Proxier]]:
    """A proxy for each node in a namespace."""
    settings, found = Settings(cluster_cidrs=(net.pod_cidr,)), []
    for node in net.nodes[1:]:
        tracker = Tracker(node.name)
        for each in objects:
            tracker.set_slice(each) if "endpoints" in each else tracker.set_service(each)
        proxier = Proxier(tracker, lambda family: backend.MODES[mode](family, settings), clock=SystemClock())
        found.append((node.namespace, proxier))
    return found


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
async def test_a_service_reaches_pods_on_every_node(net: network.ClusterNetwork, mode: str, tmp_path: Path) -> None:
    """Across nodes, within one bridge, back to the pod itself, from a node, and through another node's node port."""
    _, two, three = net.nodes
    with (
        cni.pod(net, two, "a", tmp_path / "2") as (pod_a, address_a),
        cni.pod(net, three, "b", tmp_path / "3") as (pod_b, address_b),
        cni.pod(net, three, "c", tmp_path / "3") as (pod_c, address_c),
        server(pod_b),
    ):
        ports = [{"name": "http", "port": 80, "nodePort": 30080}]
        given = service(cluster_ip=VIP, ports=ports, type="NodePort")
        for space, proxier in sync(net, mode, given, endpoint_slice(endpoint(address_b, node="three"))):
            with within(space):
                await proxier.sync()
        assert seen(pod_a, VIP, 80) == address_a
        assert seen(pod_c, VIP, 80) == address_c
        assert seen(pod_b, VIP, 80) == str(net.nodes[2].pod_cidr).replace(".0/24", ".1")
        assert seen(two.namespace, VIP, 80) == two.address
        assert seen("", two.address, 30080) == two.address
        assert seen("", three.address, 30080) == str(net.nodes[2].pod_cidr).replace(".0/24", ".1")


async def test_dns_in_a_pod_answers_pods_of_other_nodes(net: network.ClusterNetwork, tmp_path: Path) -> None:
    """Over UDP through the DNS Service's address, as a pod's resolver asks."""
    _, two, three = net.nodes
    with cni.pod(net, two, "a", tmp_path / "2") as (pod_a, _), cni.pod(net, three, "d", tmp_path / "3") as (pod_d, ip):
        ports = [{"name": "dns", "port": 53, "protocol": "UDP"}]
        given = service("kube-dns", cluster_ip=VIP, ports=ports)
        ends = endpoint_slice(endpoint(ip, node="three"), service="kube-dns", ports=ports)
        for space, proxier in sync(net, "nftables", given, ends):
            with within(space):
                await proxier.sync()
        answers = Answers("cluster.local")
        DnsTracker(answers).service(given)
        async with Group() as group, contextlib.AsyncExitStack() as stack:
            with within(pod_d):
                listening = dns.listen(dns.Server(answers, Forwarder((), clock=SystemClock()), group), "0.0.0.0", 53)
                await stack.enter_async_context(listening)
            with within(pod_a):
                client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            with client:
                client.setblocking(False)
                client.connect((VIP, 53))
                client.send(question("kube-dns.default.svc.cluster.local"))
                answer = await wait(client)
        assert answer[-4:] == socket.inet_aton(VIP)


async def wait(client: socket.socket) -> bytes:
    """The next datagram."""
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1000), 3)
