"""/stats/summary and the metrics of containers: /metrics/resource, /metrics/cadvisor, /metrics/probes."""

import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pynetes.component import metrics
from pynetes.kubelet.cm import usage
from pynetes.kubelet.cm.measure import Measured, Meter, Network
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.probes.prober import PROBES
from pynetes.kubelet.server import cadvisor, resource
from pynetes.kubelet.server.cadvisor import Group
from pynetes.machinery import time
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet


def add(application: web.Application, kubelet: "Kubelet") -> None:
    """Add the routes."""
    meter = Meter()

    async def summary(request: web.Request) -> web.Response:
        brief = request.query.get("only_cpu_and_memory", "") in ("true", "1")
        groups = list(cadvisor.groups(kubelet, meter, brief=brief))
        layers = {} if brief else await _layers(kubelet)
        body = summarize(kubelet.name, kubelet.clock.now(), groups, layers, usage.node())
        if not brief:
            body["node"]["fs"] = _disk(Path(kubelet.config.root_dir), kubelet.clock.now())
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    async def of_resources(_request: web.Request) -> web.Response:
        return _text(resource.exposition(list(cadvisor.groups(kubelet, meter, brief=True)), usage.node()))

    async def of_cadvisor(_request: web.Request) -> web.Response:
        return _text(cadvisor.exposition(kubelet, meter))

    async def of_probes(_request: web.Request) -> web.Response:
        return _text(PROBES.text())

    application.router.add_get("/stats/summary", summary)
    application.router.add_get("/metrics/resource", of_resources)
    application.router.add_get("/metrics/cadvisor", of_cadvisor)
    application.router.add_get("/metrics/probes", of_probes)


def _text(text: str) -> web.Response:
    return web.Response(body=text.encode(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _layers(kubelet: "Kubelet") -> Mapping[str, pb.ContainerStats]:
    """What the runtime knows of each container's writable layer, by ID; nothing when it does not answer."""
    try:
        return {one.attributes.id: one for one in await kubelet.ctx.runtime.stats()}
    except RuntimeFailure:
        return {}


def summarize(
    node: str, at: datetime, groups: Iterable[Group], layers: Mapping[str, pb.ContainerStats], whole: usage.Usage
) -> Object:
    """The Summary object."""
    now = time.rfc3339(at)
    pods: dict[str, Object] = {}
    for group in groups:
        if not group.pod:
            continue
        reference = {"name": group.pod, "namespace": group.namespace, "uid": group.uid}
        pod = pods.setdefault(group.uid, {"podRef": reference, "startTime": now, "containers": []})
        if group.container:
            pod["containers"].append(_container(group, layers.get(group.id), now))
            continue
        pod |= {"startTime": _moment(group.started) or now, **_used(group.measured, now)}
        pod["process_stats"] = {"process_count": group.measured.processes}
        if group.network:
            pod["network"] = _network(group.network, now)
    for pod in pods.values():
        used = [each["rootfs"]["usedBytes"] for each in pod["containers"] if "rootfs" in each]
        if used:
            pod["ephemeral-storage"] = {"time": now, "usedBytes": sum(used)}
    return {
        "node": {
            "nodeName": node,
            "startTime": now,
            "cpu": {"time": now, "usageCoreNanoSeconds": int(whole.cpu_seconds * 1e9)},
            "memory": {
                "time": now,
                "workingSetBytes": whole.memory,
                "usageBytes": whole.memory,
                "availableBytes": whole.memory_free,
            },
        },
        "pods": list(pods.values()),
    }


def _container(group: Group, layer: pb.ContainerStats | None, now: str) -> Object:
    found = {"name": group.container, "startTime": _moment(group.started) or now, **_used(group.measured, now)}
    if layer is not None:
        found["cpu"]["usageNanoCores"] = layer.cpu.usage_nano_cores.value
        used, inodes = layer.writable_layer.used_bytes.value, layer.writable_layer.inodes_used.value
        found["rootfs"] = {"time": now, "usedBytes": used, "inodesUsed": inodes}
    return found


def _used(measured: Measured, now: str) -> Object:
    memory = {
        "time": now,
        "usageBytes": measured.memory,
        "workingSetBytes": measured.working_set,
        "rssBytes": measured.rss,
        "pageFaults": measured.faults,
        "majorPageFaults": measured.major_faults,
    }
    if measured.limit:
        memory["availableBytes"] = max(measured.limit - measured.working_set, 0)
    return {"cpu": {"time": now, "usageCoreNanoSeconds": int(measured.cpu * 1e9)}, "memory": memory}


def _network(interfaces: Iterable[Network], now: str) -> Object:
    each = [
        {
            "name": one.name,
            "rxBytes": one.received[0],
            "rxErrors": one.received[2],
            "txBytes": one.sent[0],
            "txErrors": one.sent[2],
        }
        for one in interfaces
    ]
    return {"time": now, **each[0], "interfaces": each}


def _moment(seconds: float) -> str:
    return time.rfc3339(datetime.fromtimestamp(seconds, UTC)) if seconds else ""


def _disk(root: Path, at: datetime) -> Object:
    found = shutil.disk_usage(root)
    sizes = {"availableBytes": found.free, "capacityBytes": found.total, "usedBytes": found.used}
    return {"time": time.rfc3339(at), **sizes}
