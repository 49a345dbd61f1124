"""Volumes: how soon a pod has a new one, a node has mounted a hundred, and a kubelet that starts anew knows them again.

Needs root and the Debian packages (`pynetes preflight --install`). One cluster of one node, removed again.
"""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench.figures import Figure
from pynetes.apis.core import nodes, pods
from pynetes.apis.core import persistentvolumeclaims as claims
from pynetes.apis.storage import csinodes, csistoragecapacities
from pynetes.client.rest import Client
from pynetes.cluster import supervisor
from pynetes.cluster.config import Cluster
from pynetes.component.tasks import gather_limited
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

NAME = os.environ.get("PYNETES_BENCH_CLUSTER", "")
SINGLE, MANY, PER_POD = 5, 100, 10
#: Seconds between looks.
STEP = 0.05


def pynetes(*argv: str) -> None:
    """Run the command."""
    subprocess.run([sys.executable, "-m", "pynetes.cmd.main", *argv], check=True, capture_output=True)


def claim(name: str) -> Object:
    """A small volume."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "32Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def pod(name: str, names: list[str]) -> Object:
    """A pod that mounts claims."""
    container = {
        "name": "c",
        "image": "pynetes.io/busybox:1.35",
        "command": ["sleep", "1000000"],
        "volumeMounts": [{"name": one, "mountPath": f"/{one}"} for one in names],
    }
    volumes = [{"name": one, "persistentVolumeClaim": {"claimName": one}} for one in names]
    spec = {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


async def running(client: Client, names: list[str], *, within: float) -> float:
    """Seconds until all of these pods run. Raises TimeoutError."""
    began = time.monotonic()
    while True:
        found = (await client.list(pods.RESOURCE, namespace="default")).items
        up = {one["metadata"]["name"] for one in found if (one.get("status") or {}).get("phase") == "Running"}
        if up >= set(names):
            return time.monotonic() - began
        if time.monotonic() - began > within:
            raise TimeoutError(f"{len(up & set(names))} of {len(names)} pods run after {within:.0f} s")
        await asyncio.sleep(STEP)


def mounted(cluster: Cluster, node: str) -> frozenset[str]:
    """Where drivers have published volumes for pods of a node."""
    mine = f"{cluster.state}/nodes/{node}/"
    places = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return frozenset(one for one in places if one.startswith(mine) and "kubernetes.io~csi" in one)


async def restarted(client: Client, cluster: Cluster, node: str) -> float:
    """Seconds from asking the kubelet to end until its successor says that it knows all volumes again, Python's start
    among them. Raises RuntimeError if one was unmounted meanwhile."""
    before, began = mounted(cluster, node), time.monotonic()
    await supervisor.request(cluster.control_socket, do="restart", name=f"kubelet-{node}")
    while await known(client, node) < len(before):
        if time.monotonic() - began > 60:
            raise TimeoutError("the kubelet does not know its volumes again")
        await asyncio.sleep(STEP)
    took = time.monotonic() - began
    if lost := before - mounted(cluster, node):
        raise RuntimeError(f"{len(lost)} volumes were unmounted")
    return took


async def known(client: Client, node: str) -> int:
    """Volumes of drivers that a kubelet says it has mounted; 0 while it does not answer."""
    try:
        answer = await client.request("GET", f"/api/v1/nodes/{node}/proxy/metrics", accept="text/plain")
    except StatusError:
        return 0
    found = re.search(
        rb'volume_manager_total_volumes{plugin_name="kubernetes.io/csi",state="actual[^}]*} (\d+)', answer.body
    )
    return int(found[1]) if found else 0


async def figures(client: Client, cluster: Cluster) -> list[Figure]:
    """All three, on a cluster of one node that is up."""
    await _driver(client)
    single = []
    for number in range(SINGLE):
        name = f"single-{number}"
        began = time.monotonic()
        await client.create(claims.RESOURCE, claim(name), namespace="default")
        await client.create(pods.RESOURCE, pod(name, [name]), namespace="default")
        await running(client, [name], within=60)
        single.append(time.monotonic() - began)
    names = [f"many-{number}" for number in range(MANY)]
    groups = [names[start : start + PER_POD] for start in range(0, MANY, PER_POD)]
    began = time.monotonic()
    creates: list[Callable[[], Awaitable[Object]]] = [
        partial(client.create, claims.RESOURCE, claim(name), namespace="default") for name in names
    ]
    await gather_limited(creates, limit=10)
    for group in groups:
        await client.create(pods.RESOURCE, pod(group[0], group), namespace="default")
    await running(client, [group[0] for group in groups], within=300)
    many = time.monotonic() - began
    node = (await client.list(nodes.RESOURCE)).items[0]["metadata"]["name"]
    again = await restarted(client, cluster, node)
    return [
        Figure(name="claim created to its pod running, median", value=statistics.median(single), unit="s", limit=4.0),
        Figure(name=f"{MANY} new volumes mounted on one node, their pods running", value=many, unit="s", limit=60.0),
        Figure(
            name=f"kubelet started anew knows its {MANY} volumes, all still mounted", value=again, unit="s", limit=5.0
        ),
    ]


async def _driver(client: Client) -> None:
    """Wait until the driver has registered: `up` does not."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        nodes = (await client.list(csinodes.RESOURCE)).items
        room = (await client.list(csistoragecapacities.RESOURCE)).items
        if room and any(node["spec"].get("drivers") for node in nodes):
            return
        await asyncio.sleep(STEP)
    raise TimeoutError("the storage driver does not come")


def measure() -> list[Figure]:
    """The figures; with PYNETES_BENCH_CLUSTER on a cluster that is there, else on one of its own."""
    name = NAME or "bench"
    cluster = Cluster(name=name)
    if not NAME:
        pynetes("reset", "--cluster", name, "--yes")
        pynetes("up", "--cluster", name)

    async def run() -> list[Figure]:
        client = Client.from_kubeconfig(str(cluster.admin_conf))
        try:
            return await figures(client, cluster)
        finally:
            await client.close()

    try:
        return asyncio.run(run())
    finally:
        if not NAME:
            pynetes("reset", "--cluster", name, "--yes")


MEASURE = measure
