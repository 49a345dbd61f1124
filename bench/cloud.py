"""The local cloud: how soon a balancer answers, and what a restart of the controllers changes.

A cluster of its own is made for it; PYNETES_CLUSTER names one that `pynetes up --cloud local` has started already.
"""

import asyncio
import os
import re
import ssl
import statistics
import time
import urllib.request
from typing import NamedTuple

from bench.cluster import NAME, pynetes
from bench.figures import Figure
from pynetes.apis.apps import deployments
from pynetes.apis.core import namespaces, services
from pynetes.client.rest import Client
from pynetes.cluster import supervisor
from pynetes.cluster.config import Cluster, require
from pynetes.cluster.images import recipes
from pynetes.component.tasks import gather_limited
from pynetes.machinery.meta import Key, Object
from pynetes.paths.scene import eventually

NAMESPACE, SERVICES, ROUNDS = "bench-cloud", 200, 7
LABELS = {"app": "bench-cloud"}
MANAGER = "cloud-controller-manager"


def measure() -> list[Figure]:
    """All figures; a cluster that was made for it is removed again."""
    if name := os.environ.get("PYNETES_CLUSTER"):
        return asyncio.run(_measure(require(name)))
    pynetes("reset", "--cluster", NAME, "--yes")
    try:
        pynetes("up", "--cluster", NAME, "--cloud", "local")
        return asyncio.run(_measure(require(NAME)))
    finally:
        pynetes("reset", "--cluster", NAME, "--yes")


async def _measure(cluster: Cluster) -> list[Figure]:
    client = Client.from_kubeconfig(str(cluster.admin_conf))
    try:
        await client.create(namespaces.RESOURCE, {"metadata": {"name": NAMESPACE}})
        await _backend(client)
        seconds = [await _answered(client, f"once-{number}") for number in range(ROUNDS)]
        made, again = await _restarted(cluster, client)
    finally:
        await client.delete(namespaces.RESOURCE, Key("", NAMESPACE))
        await client.close()
    first = f"LoadBalancer Service to first answered request, median of {ROUNDS}"
    return [
        Figure(name=first, value=statistics.median(seconds), unit="s", limit=3.0),
        Figure(name=f"{SERVICES} LoadBalancer Services, until all have an address", value=made, unit="s"),
        Figure(name="all looked at after a restart of the manager", value=again.seconds, unit="s"),
        Figure(name="changes to them by that", value=float(again.changes), unit="calls", limit=0.0),
        Figure(name="describe calls for them by that", value=float(again.describes), unit="calls"),
    ]


class Again(NamedTuple):
    """What a restart of the manager led to."""

    seconds: float
    changes: int
    describes: int


async def _backend(client: Client) -> None:
    command = ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www"]
    container = {"name": "web", "image": recipes.BUSYBOX, "command": command}
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    spec = {"replicas": 1, "selector": {"matchLabels": LABELS}, "template": template}
    await client.create(deployments.RESOURCE, {"metadata": {"name": "web"}, "spec": spec}, namespace=NAMESPACE)

    async def available() -> bool:
        found = await client.get(deployments.RESOURCE, Key(NAMESPACE, "web"))
        return bool((found.get("status") or {}).get("availableReplicas"))

    await eventually(available, "no backend", within=60)


def _service(name: str) -> Object:
    spec = {"type": "LoadBalancer", "selector": LABELS, "ports": [{"port": 80, "targetPort": 8080}]}
    return {"metadata": {"name": name}, "spec": spec}


async def _answered(client: Client, name: str) -> float:
    """Seconds from creating a Service until a request to its address is answered."""
    began = time.monotonic()
    await client.create(services.RESOURCE, _service(name), namespace=NAMESPACE)
    address = ""
    while not (address and await asyncio.to_thread(_fetch, f"http://{address}/")):
        address = await _address(client, name)
        await asyncio.sleep(0.01)
    seconds = time.monotonic() - began
    await client.delete(services.RESOURCE, Key(NAMESPACE, name))
    return seconds


async def _address(client: Client, name: str) -> str:
    found = await client.get(services.RESOURCE, Key(NAMESPACE, name))
    ingress = (found["status"].get("loadBalancer") or {}).get("ingress") or ()
    return str(ingress[0]["ip"]) if ingress else ""


def _fetch(url: str) -> str:
    context = ssl._create_unverified_context() if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


async def _restarted(cluster: Cluster, client: Client) -> tuple[float, Again]:
    """Seconds until all have an address; and what a restart after which each was looked at has asked of the cloud."""
    began = time.monotonic()
    names = [f"many-{number}" for number in range(SERVICES)]

    async def create(name: str) -> None:
        await client.create(services.RESOURCE, _service(name), namespace=NAMESPACE)

    await gather_limited([lambda name=name: create(name) for name in names], limit=20)  # type: ignore[misc]

    async def addressed() -> bool:
        return all([await _address(client, name) for name in names])

    await eventually(addressed, "not all have an address", within=300)
    made = time.monotonic() - began
    before = await asyncio.to_thread(_looks)
    await supervisor.request(cluster.control_socket, do="restart", name=MANAGER)

    async def looked() -> bool:
        # Each Service, and the look for balancers that no Service wants.
        return SERVICES < await asyncio.to_thread(_looks) < before

    seconds = await eventually(looked, "not all were looked at", within=300)
    changes = await asyncio.to_thread(_calls, "(PUT|DELETE) load-balancers")
    return made, Again(seconds, changes, await asyncio.to_thread(_calls, "GET load-balancers"))


def _looks() -> int:
    """Services (and the orphans' key) that the manager has worked on since it started."""
    text = _fetch("https://127.0.0.1:10258/metrics")
    pattern = r'^workqueue_work_duration_seconds_count{name="service-lb-controller"} (\d+)$'
    return sum(int(found) for found in re.findall(pattern, text, re.M))


def _calls(request: str) -> int:
    """The controller manager's calls of a kind, since it started."""
    text = _fetch("https://127.0.0.1:10258/metrics")
    pattern = rf'^cloudprovider_api_requests_total{{provider="local",request="{request}".*}} (\d+)$'
    return sum(int(found[-1] if isinstance(found, tuple) else found) for found in re.findall(pattern, text, re.M))


MEASURE = measure
