"""/stats/summary and the metrics of containers: /metrics/resource, /metrics/cadvisor, /metrics/probes."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from pynetes.component import metrics, processmetrics
from pynetes.kubelet import machine
from pynetes.kubelet.cm import usage
from pynetes.kubelet.cm.measure import Measured, Meter, network_of
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import PodRuntime
from pynetes.kubelet.eviction.observe import Size, size
from pynetes.kubelet.logs import directory
from pynetes.kubelet.probes.prober import PROBES
from pynetes.kubelet.server import cadvisor, resource, stats
from pynetes.kubelet.server.cadvisor import Group
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet


def add(application: web.Application, kubelet: "Kubelet") -> None:
    """Add the routes."""
    meter, rates = Meter(), stats.Rates()

    async def summary(request: web.Request) -> web.Response:
        brief = request.query.get("only_cpu_and_memory", "") in ("true", "1")
        groups = list(cadvisor.groups(kubelet, meter, brief=brief))
        files = stats.Files()
        if not brief:
            groups += _system(kubelet, meter)
            files = await _files(kubelet)
        node = _machine(kubelet, brief=brief)
        body = stats.summarize(node, kubelet.clock.now(), groups, files, rates)
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


async def _files(kubelet: "Kubelet") -> stats.Files:
    """All file systems; without images' where the runtime does not answer."""
    found = stats.Files(node=os.statvfs(kubelet.config.root_dir), layers=await _layers(kubelet))
    with contextlib.suppress(RuntimeFailure, OSError):
        images = await kubelet.ctx.runtime.image_filesystem()
        if images is not None:
            found.images = os.statvfs(images.fs_id.mountpoint)
            found.stored = Size(images.used_bytes.value, images.inodes_used.value)
    pods = [(worker.pod, kubelet.ctx.pleg.get(worker.uid)) for worker in kubelet.workers.values()]
    # Folders are gone through file by file.
    found.logs, found.volumes = await asyncio.to_thread(_sizes, kubelet, pods)
    return found


def _sizes(
    kubelet: "Kubelet", pods: list[tuple[Object, PodRuntime]]
) -> tuple[dict[str, Size], dict[str, list[stats.Volume]]]:
    """What containers' logs take, by their IDs, and pods' volumes, by their UIDs."""
    sizes: dict[str, Size] = {}
    volumes: dict[str, list[stats.Volume]] = {}
    for pod, runtime in pods:
        metadata = pod["metadata"]
        folder = directory(kubelet.ctx.log_root, metadata["namespace"], metadata["name"], metadata["uid"])
        sizes |= {one.id: size([folder / one.name]) for one in runtime.running}
        volumes[metadata["uid"]] = list(_volumes(kubelet, pod))
    return sizes, volumes


def _volumes(kubelet: "Kubelet", pod: Object) -> Iterator[stats.Volume]:
    """Those that have a file system; a path of the machine's is nobody's in particular, as upstream has it."""
    uid, own = pod["metadata"]["uid"], Path(kubelet.config.root_dir).stat().st_dev
    for name, one in kubelet.ctx.volumes.specs(uid).items():
        if one.block or one.kind == "hostPath":
            continue
        try:
            path = kubelet.ctx.volumes.path(pod, one)
            told = kubelet.storage.stats.known.get((uid, one.spec_name))
            disk = told if told and told.f_blocks else os.statvfs(path)
            # Beside everything else of the node's, only its files say what it takes.
            used = size([path]) if path.stat().st_dev == own else None
        except OSError:
            continue  # unmounted meanwhile
        yield stats.Volume(name, disk, (one.claim.namespace, one.claim.name) if one.claim else None, used)


def _machine(kubelet: "Kubelet", *, brief: bool) -> stats.Node:
    if brief:
        return stats.Node(kubelet.name, stats.booted(), usage.node(), swap=machine.swap_sizes())
    network = tuple(network_of(os.getpid()))
    return stats.Node(
        kubelet.name, stats.booted(), usage.node(), network, machine.process_slots(), machine.swap_sizes()
    )


def _system(kubelet: "Kubelet", meter: Meter) -> Iterator[Group]:
    """The kubelet itself, and all pods together."""
    own = processmetrics.own()
    measured = Measured(cpu=own.cpu, memory=own.memory, working_set=own.memory, rss=own.memory)
    yield Group("kubelet", measured, container="kubelet", started=own.started)
    path = kubelet.ctx.cgroups.root
    if (pods := meter.measure(path)) is not None:
        yield Group(path, pods, container="pods")
