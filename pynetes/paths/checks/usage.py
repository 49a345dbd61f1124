"""Path 23: the metrics server reads every kubelet, and what it serves is what `kubectl top` shows."""

import asyncio
from datetime import UTC, datetime

from pynetes.apis.apiregistration import apiservices
from pynetes.apis.core import nodes, pods
from pynetes.client import metrics
from pynetes.machinery import time
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.quantity import parse
from pynetes.paths.check import Check, expect
from pynetes.paths.scene import NAMESPACE, Scene, eventually, is_ready

SERVICE = Key("", "v1beta1.metrics.k8s.io")
#: Two cycles and what a pod needs to start.
WITHIN = 90.0
#: Seconds after which usage is stale: two cycles.
FRESH = 45.0


async def _usage(scene: Scene) -> str:
    """Usage of every node and of the pods made here, fresh; kubectl shows it; the kubelets refuse everybody else."""
    busy = (await scene.pods())[0]["metadata"]["name"]
    await eventually(lambda: _available(scene), "v1beta1.metrics.k8s.io is not available", within=WITHIN)
    known = sorted(node["metadata"]["name"] for node in (await scene.client.list(nodes.RESOURCE)).items)
    measured: list[Object] = []

    async def all_measured() -> bool:
        try:
            measured[:] = (await scene.client.list(metrics.NODES)).items
            found = await scene.client.get(metrics.PODS, Key(NAMESPACE, busy))
        except StatusError as error:
            if error.code in (404, 503):
                await asyncio.sleep(0.5)
                return False
            raise
        return bool(found["containers"]) and sorted(each["metadata"]["name"] for each in measured) == known

    await eventually(all_measured, f"no usage of {busy} and of {', '.join(known)}", within=WITHIN)
    shown = []
    for each in measured:
        age = (datetime.now(UTC) - time.parse(each["timestamp"])).total_seconds()
        expect(age < FRESH, f"the usage of {each['metadata']['name']} is {age:.0f} s old")
        cpu, memory = (parse(each["usage"][name]) for name in ("cpu", "memory"))
        expect(cpu and memory, f"{each['metadata']['name']} uses {cpu} of CPU and {memory} of memory")
        shown.append(f"{each['metadata']['name']} {cpu.milli()}m {memory.value() >> 20}Mi")
    top = (await scene.kubectl("top", "nodes", "--no-headers")).out
    expect(all(name in top and "<unknown>" not in top for name in known), f"kubectl top nodes said {top!r}")
    row = (await scene.kubectl("top", "pod", busy, "-n", NAMESPACE, "--no-headers")).out.split()
    expect(row[:1] == [busy], f"kubectl top pod said {row}")
    return f"{', '.join(shown)}; kubectl top: {' '.join(row)}; scraped by {await _server(scene)}"


async def _available(scene: Scene) -> bool:
    try:
        service = await scene.client.get(apiservices.RESOURCE, SERVICE)
    except StatusError as error:
        if error.code != 404:
            raise
        return False
    conditions = (service.get("status") or {}).get("conditions") or ()
    found = any(each["type"] == "Available" and each["status"] == "True" for each in conditions)
    if not found:
        await asyncio.sleep(0.2)
    return found


async def _server(scene: Scene) -> str:
    """The pods that scrape."""
    listed = await scene.client.list(pods.RESOURCE, namespace="kube-system", label_selector="k8s-app=metrics-server")
    return ", ".join(str(pod["metadata"]["name"]) for pod in listed.items if is_ready(pod))


CHECKS = (Check((23,), _usage),)
