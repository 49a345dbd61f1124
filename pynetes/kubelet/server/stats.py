"""/stats/summary as upstream's kubelet has it: the types of kubelet.config.k8s.io stats/v1alpha1, member by member.

Everything is read when somebody asks. A rate (usageNanoCores) needs two looks: it is the rate since the one before, and
absent at the first. Pressure (psi) is on /metrics/cadvisor. accelerators and userDefinedMetrics have no source any more
upstream either; the runtime as a system container is no group of ours to measure.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pynetes.kubelet.cm import usage
from pynetes.kubelet.cm.measure import Measured, Network
from pynetes.kubelet.csi.stats import Room
from pynetes.kubelet.eviction.observe import Size
from pynetes.kubelet.server.cadvisor import Group
from pynetes.machinery import time
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

#: Looks closer together than this many seconds tell the rate of the one before: it would be noise.
LEAST = 1.0
NOTHING = Size(0, 0)
#: What statvfs and a CSI driver both tell.
Disk = os.statvfs_result | Room


class Rates:
    """Cores in use since the look before, by the path of a cgroup."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float, int | None]] = {}

    def of(self, path: str, cpu: float, at: float) -> int | None:
        """In billionths of a core; None at the first look, or when the counter has begun anew."""
        before = self._seen.get(path)
        if before is not None and 0 <= at - before[0] < LEAST and cpu >= before[1]:
            return before[2]
        rate = None
        if before is not None and at > before[0] and cpu >= before[1]:
            rate = int((cpu - before[1]) / (at - before[0]) * 1e9)
        self._seen[path] = (at, cpu, rate)
        return rate

    def keep(self, paths: Iterable[str]) -> None:
        """Forget all but these."""
        for gone in self._seen.keys() - set(paths):
            del self._seen[gone]


class Volume(NamedTuple):
    """A pod's mounted volume. used is what is in it, where it shares its file system with others."""

    name: str
    disk: Disk
    claim: tuple[str, str] | None = None
    used: Size | None = None


@dataclass(kw_only=True)
class Files:
    """What is known of file systems; empty for those who want CPU and memory only."""

    node: Disk | None = None
    images: Disk | None = None
    #: What images, and what containers' layers, take of theirs.
    stored: Size = NOTHING
    #: By ID of the container.
    layers: Mapping[str, pb.ContainerStats] = field(default_factory=dict)
    logs: Mapping[str, Size] = field(default_factory=dict)
    #: By UID of the pod.
    volumes: Mapping[str, list[Volume]] = field(default_factory=dict)


class Node(NamedTuple):
    """Of the whole machine."""

    name: str
    booted: float
    whole: usage.Usage
    network: tuple[Network, ...] = ()
    processes: tuple[int, int] = (0, 0)
    #: Total and free swap in bytes.
    swap: tuple[int, int] = (0, 0)


def summarize(node: Node, at: datetime, groups: Iterable[Group], files: Files, rates: Rates) -> Object:
    """The Summary object. Groups without pod are the machine ("/") and system containers (with a name)."""
    seen, now = list(groups), time.rfc3339(at)
    pods: dict[str, Object] = {}
    system = []
    machine = Measured()
    for group in seen:
        if group.pod:
            _pod(pods, group, files, rates, at)
        elif group.container:
            system.append(_container(group, files, rates, at))
        else:
            machine = group.measured
    for uid, pod in pods.items():
        if files.node is not None:
            _storage(pod, files, files.volumes.get(uid, []), now)
    rates.keep(["node", *(group.path for group in seen)])
    return {
        "node": {
            "nodeName": node.name,
            **({"systemContainers": system} if system else {}),
            "startTime": _moment(node.booted) or now,
            "cpu": _cpu("node", node.whole.cpu_seconds, rates, at),
            "memory": _of_machine(node.whole, machine, now),
            **({"network": _network(node.network, now)} if node.network else {}),
            **({"fs": _fs(files.node, now)} if files.node else {}),
            **({"runtime": _runtime(files, now)} if files.images else {}),
            **({"rlimit": _processes(node.processes, now)} if node.processes[1] else {}),
            "swap": {"time": now, "swapAvailableBytes": node.swap[1], "swapUsageBytes": node.swap[0] - node.swap[1]},
        },
        "pods": list(pods.values()),
    }


def _pod(pods: dict[str, Object], group: Group, files: Files, rates: Rates, at: datetime) -> None:
    now = time.rfc3339(at)
    reference = {"name": group.pod, "namespace": group.namespace, "uid": group.uid}
    pod = pods.setdefault(group.uid, {"podRef": reference, "startTime": now, "containers": []})
    if group.container:
        pod["containers"].append(_container(group, files, rates, at))
        return
    pod |= {"startTime": _moment(group.started) or now, **_used(group, rates, at)}
    pod["process_stats"] = {"process_count": group.measured.processes}
    if group.network:
        pod["network"] = _network(group.network, now)


def _container(group: Group, files: Files, rates: Rates, at: datetime) -> Object:
    now = time.rfc3339(at)
    found = {"name": group.container, "startTime": _moment(group.started) or now, **_used(group, rates, at)}
    layer = files.layers.get(group.id)
    if layer is not None and files.images is not None:
        used = Size(layer.writable_layer.used_bytes.value, layer.writable_layer.inodes_used.value)
        found["rootfs"] = _fs(files.images, now, used)
    if group.id in files.logs and files.node is not None:
        found["logs"] = _fs(files.node, now, files.logs[group.id])
    return found


def _storage(pod: Object, files: Files, volumes: Iterable[Volume], now: str) -> None:
    """A pod's volumes, and what it has on the node's own disk: layers, logs and volumes that are folders there."""
    assert files.node is not None
    sizes = [one.used for one in volumes if one.used is not None]
    for each in pod["containers"]:
        parts = (each.get("rootfs"), each.get("logs"))
        sizes += [Size(part["usedBytes"], part["inodesUsed"]) for part in parts if part]
    total = Size(sum(one.bytes for one in sizes), sum(one.inodes for one in sizes))
    pod["ephemeral-storage"] = _fs(files.node, now, total)
    shown = [
        {
            **_fs(one.disk, now, one.used),
            "name": one.name,
            **({"pvcRef": {"namespace": one.claim[0], "name": one.claim[1]}} if one.claim else {}),
        }
        for one in volumes
    ]
    if shown:
        pod["volume"] = shown


def _used(group: Group, rates: Rates, at: datetime) -> Object:
    measured, now = group.measured, time.rfc3339(at)
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
    swap = {"time": now, "swapUsageBytes": measured.swap}
    return {"cpu": _cpu(group.path, measured.cpu, rates, at), "memory": memory, "swap": swap}


def _cpu(path: str, seconds: float, rates: Rates, at: datetime) -> Object:
    rate = rates.of(path, seconds, at.timestamp())
    told = {} if rate is None else {"usageNanoCores": rate}
    return {"time": time.rfc3339(at), **told, "usageCoreNanoSeconds": int(seconds * 1e9)}


def _of_machine(whole: usage.Usage, machine: Measured, now: str) -> Object:
    return {
        "time": now,
        "availableBytes": whole.memory_free,
        "usageBytes": machine.memory or whole.memory,
        "workingSetBytes": whole.memory,
        "rssBytes": machine.rss,
        "pageFaults": machine.faults,
        "majorPageFaults": machine.major_faults,
    }


def _runtime(files: Files, now: str) -> Object:
    assert files.images is not None
    layers = [one.writable_layer for one in files.layers.values()]
    written = Size(sum(one.used_bytes.value for one in layers), sum(one.inodes_used.value for one in layers))
    return {"imageFs": _fs(files.images, now, files.stored), "containerFs": _fs(files.images, now, written)}


def _processes(slots: tuple[int, int], now: str) -> Object:
    return {"time": now, "maxpid": slots[1], "curproc": slots[0]}


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


def _fs(disk: Disk, now: str, used: Size | None = None) -> Object:
    """A file system; used is what one user of it has, else all that is taken counts."""
    return {
        "time": now,
        "availableBytes": disk.f_bavail * disk.f_frsize,
        "capacityBytes": disk.f_blocks * disk.f_frsize,
        "usedBytes": used.bytes if used else (disk.f_blocks - disk.f_bfree) * disk.f_frsize,
        "inodesFree": disk.f_ffree,
        "inodes": disk.f_files,
        "inodesUsed": used.inodes if used else disk.f_files - disk.f_ffree,
    }


def _moment(seconds: float) -> str:
    return time.rfc3339(datetime.fromtimestamp(seconds, UTC)) if seconds else ""


def booted(stat: Path = Path("/proc/stat")) -> float:
    """When the machine was started, in Unix time."""
    lines = (line.split() for line in stat.read_text().splitlines())
    return next((float(words[1]) for words in lines if words[0] == "btime"), 0.0)
