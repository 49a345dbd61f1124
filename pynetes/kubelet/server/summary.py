"""/stats/summary and /metrics/resource: what containers use, from the runtime's own statistics."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pynetes.component import metrics
from pynetes.kubelet.cm import usage
from pynetes.kubelet.cri import state
from pynetes.machinery import time
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet


def add(application: web.Application, kubelet: "Kubelet") -> None:
    """Add the routes."""

    async def summary(_request: web.Request) -> web.Response:
        body = summarize(kubelet, await kubelet.ctx.runtime.stats(), usage.node())
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def resource(_request: web.Request) -> web.Response:
        text = exposition(await kubelet.ctx.runtime.stats(), usage.node())
        return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    application.router.add_get("/stats/summary", summary)
    application.router.add_get("/metrics/resource", resource)


def summarize(kubelet: "Kubelet", stats: Iterable[pb.ContainerStats], node: usage.Usage) -> Object:
    """The Summary object."""
    now = time.rfc3339(kubelet.clock.now())
    pods: dict[str, Object] = {}
    for one in stats:
        labels = one.attributes.labels
        uid = labels.get(state.POD_UID, "")
        pod = pods.setdefault(
            uid,
            {
                "podRef": {
                    "name": labels.get(state.POD_NAME, ""),
                    "namespace": labels.get(state.POD_NAMESPACE, ""),
                    "uid": uid,
                },
                "startTime": now,
                "containers": [],
            },
        )
        pod["containers"].append(
            {
                "name": labels.get(state.CONTAINER_NAME, ""),
                "startTime": now,
                "cpu": {
                    "time": now,
                    "usageNanoCores": one.cpu.usage_nano_cores.value,
                    "usageCoreNanoSeconds": one.cpu.usage_core_nano_seconds.value,
                },
                "memory": {
                    "time": now,
                    "usageBytes": one.memory.usage_bytes.value,
                    "workingSetBytes": one.memory.working_set_bytes.value,
                    "rssBytes": one.memory.rss_bytes.value,
                },
                "rootfs": {"time": now, "usedBytes": one.writable_layer.used_bytes.value},
            }
        )
    for pod in pods.values():
        pod["cpu"] = _sum(pod["containers"], "cpu", now)
        pod["memory"] = _sum(pod["containers"], "memory", now)
    return {
        "node": {
            "nodeName": kubelet.name,
            "startTime": now,
            "cpu": {"time": now, "usageCoreNanoSeconds": int(node.cpu_seconds * 1e9)},
            "memory": {"time": now, "workingSetBytes": node.memory, "availableBytes": node.memory_free},
        },
        "pods": list(pods.values()),
    }


def _sum(containers: list[Object], kind: str, now: str) -> Object:
    names = [name for name in containers[0][kind] if name != "time"]
    return {"time": now, **{name: sum(one[kind][name] for one in containers) for name in names}}


def exposition(stats: Iterable[pb.ContainerStats], node: usage.Usage) -> str:
    """The metrics that a metrics server reads, under upstream's names."""
    registry = metrics.Registry()
    labels = ("container", "namespace", "pod")
    cpu = registry.counter(
        "container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", *labels
    )
    memory = registry.gauge(
        "container_memory_working_set_bytes", "Current working set of the container in bytes", *labels
    )
    pod_cpu = registry.counter(
        "pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", *labels[1:]
    )
    pod_memory: dict[tuple[str, str], int] = {}
    for one in stats:
        found = one.attributes.labels
        name, namespace = found.get(state.CONTAINER_NAME, ""), found.get(state.POD_NAMESPACE, "")
        pod = found.get(state.POD_NAME, "")
        seconds = one.cpu.usage_core_nano_seconds.value / 1e9
        cpu.inc(name, namespace, pod, by=seconds)
        pod_cpu.inc(namespace, pod, by=seconds)
        memory.set(one.memory.working_set_bytes.value, name, namespace, pod)
        pod_memory[namespace, pod] = pod_memory.get((namespace, pod), 0) + one.memory.working_set_bytes.value
    whole = registry.gauge("pod_memory_working_set_bytes", "Current working set of the pod in bytes", *labels[1:])
    for (namespace, pod), size in pod_memory.items():
        whole.set(size, namespace, pod)
    registry.counter("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds").inc(
        by=node.cpu_seconds
    )
    registry.gauge("node_memory_working_set_bytes", "Current working set of the node in bytes").set(node.memory)
    return registry.text()
