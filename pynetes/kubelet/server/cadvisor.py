"""/metrics/cadvisor: CPU, memory, disk, network and processes of the machine, of every pod, and of every container.

Names, labels and units are those that cAdvisor has inside upstream's kubelet, because dashboards know them.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pynetes.kubelet import podspec
from pynetes.kubelet.cm.measure import Measured, Meter, Network, mounted, network_of
from pynetes.kubelet.cri.state import PodRuntime
from pynetes.kubelet.server.exposition import Exposition, extended, labelled

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet


class Group(NamedTuple):
    """A cgroup with whom it belongs to; container "" is a whole pod, pod "" is the machine."""

    path: str
    measured: Measured
    namespace: str = ""
    pod: str = ""
    uid: str = ""
    container: str = ""
    #: The runtime's ID and the image of a container.
    id: str = ""
    image: str = ""
    started: float = 0.0
    network: tuple[Network, ...] = ()

    @property
    def labels(self) -> str:
        """As cAdvisor labels it."""
        return labelled(
            container=self.container,
            id=self.path,
            image=self.image,
            name=self.id,
            namespace=self.namespace,
            pod=self.pod,
        )


def groups(kubelet: "Kubelet", meter: Meter, *, brief: bool = False) -> Iterator[Group]:
    """The machine, the pods, the running containers; brief leaves the machine and all but CPU and memory out."""
    measure = meter.brief if brief else meter.measure
    if not brief and (whole := meter.measure("/")) is not None:
        yield Group("/", whole)
    for worker in list(kubelet.workers.values()):
        pod = worker.pod
        parent = kubelet.ctx.cgroups.parent(pod)
        runtime = kubelet.ctx.pleg.get(worker.uid)
        metadata = pod["metadata"]
        names = {"namespace": metadata["namespace"], "pod": metadata["name"], "uid": worker.uid}
        inside = 0
        for one in runtime.running:
            path = f"{parent}/{one.id}"
            found = measure(path)
            if found is not None:
                inside += found.processes
                began = one.started.timestamp() if one.started else 0.0
                image = (podspec.find(pod, one.name) or {}).get("image") or one.image
                yield Group(path, found, **names, container=one.name, id=one.id, image=image, started=began)
        measured = measure(parent)
        if measured is not None:
            # A pod's own group holds no process: they are in those of its containers.
            measured.processes += inside
            started = runtime.sandbox.created.timestamp() if runtime.sandbox and runtime.sandbox.created else 0.0
            shared = bool(pod["spec"].get("hostNetwork"))
            network = () if shared or brief else _network(meter, parent, runtime)
            yield Group(parent, measured, **names, started=started, network=network)


def _network(meter: Meter, parent: str, runtime: PodRuntime) -> tuple[Network, ...]:
    """Counters inside the pod's network namespace, seen through any of its processes."""
    ids = [runtime.sandbox.id] if runtime.sandbox else []
    for each in (*ids, *(one.id for one in runtime.running)):
        for process in meter.processes(f"{parent}/{each}")[:1]:
            return tuple(network_of(process))
    return ()


class _Family(NamedTuple):
    name: str
    kind: str
    text: str
    value: Callable[[Measured], float]


_COUNTER, _GAUGE = "counter", "gauge"
_FAMILIES = (
    _Family("container_cpu_user_seconds_total", _COUNTER, "Cumulative user cpu time consumed in seconds.",
            lambda m: m.cpu_user),
    _Family("container_cpu_system_seconds_total", _COUNTER, "Cumulative system cpu time consumed in seconds.",
            lambda m: m.cpu_system),
    _Family("container_memory_usage_bytes", _GAUGE, "Current memory usage in bytes, whenever it was accessed.",
            lambda m: m.memory),
    _Family("container_memory_working_set_bytes", _GAUGE, "Current working set in bytes.", lambda m: m.working_set),
    _Family("container_memory_rss", _GAUGE, "Size of RSS in bytes.", lambda m: m.rss),
    _Family("container_memory_cache", _GAUGE, "Number of bytes of page cache memory.", lambda m: m.cache),
    _Family("container_memory_mapped_file", _GAUGE, "Size of memory mapped files in bytes.", lambda m: m.mapped),
    _Family("container_memory_swap", _GAUGE, "Container swap usage in bytes.", lambda m: m.swap),
    _Family("container_memory_max_usage_bytes", _GAUGE, "Maximum memory usage recorded in bytes.", lambda m: m.peak),
    _Family("container_memory_failcnt", _COUNTER, "Number of memory usage hits limits.", lambda m: m.failures),
    _Family("container_oom_events_total", _COUNTER, "Count of out of memory events observed for the container.",
            lambda m: m.killed),
    _Family("container_processes", _GAUGE, "Number of processes running inside the container.",
            lambda m: m.processes),
    _Family("container_threads", _GAUGE, "Number of threads running inside the container.", lambda m: m.threads),
    _Family("container_spec_memory_limit_bytes", _GAUGE, "Memory limit for the container.", lambda m: m.limit),
    _Family("container_spec_cpu_shares", _GAUGE, "CPU share of the container.", lambda m: m.shares),
    _Family("container_spec_cpu_period", _GAUGE, "CPU period of the container.", lambda m: m.period),
)  # fmt: skip
#: Only for groups with a CPU limit.
_LIMITED = (
    _Family("container_spec_cpu_quota", _GAUGE, "CPU quota of the container.", lambda m: m.quota),
    _Family("container_cpu_cfs_periods_total", _COUNTER, "Number of elapsed enforcement period intervals.",
            lambda m: m.periods),
    _Family("container_cpu_cfs_throttled_periods_total", _COUNTER, "Number of throttled period intervals.",
            lambda m: m.throttled),
    _Family("container_cpu_cfs_throttled_seconds_total", _COUNTER, "Total time duration the container was throttled.",
            lambda m: m.throttled_seconds),
)  # fmt: skip
_NETWORK = (("bytes", "bytes"), ("packets", "packets"), ("errors", "errors"), ("packets_dropped", "packets dropped"))


def exposition(kubelet: "Kubelet", meter: Meter) -> str:
    """All of it."""
    now = time.time()
    found = [(group, group.labels) for group in groups(kubelet, meter)]
    out = Exposition()
    machine = kubelet.facts.machine
    described = labelled(cadvisorRevision="", cadvisorVersion="", dockerVersion="", kernelVersion=machine.kernel,
                         osVersion=machine.os_image)  # fmt: skip
    text = "A metric with a constant '1' value labeled by kernel version, OS version, and cadvisor version."
    out.family("cadvisor_version_info", _GAUGE, text, [(described, 1)])
    cpu = [(extended(labels, cpu="total"), group.measured.cpu) for group, labels in found]
    out.family("container_cpu_usage_seconds_total", _COUNTER, "Cumulative cpu time consumed in seconds.", cpu, now)
    for family in _FAMILIES:
        samples = [(labels, family.value(group.measured)) for group, labels in found]
        out.family(family.name, family.kind, family.text, samples, now)
    for family in _LIMITED:
        samples = [(labels, family.value(group.measured)) for group, labels in found if group.measured.quota > 0]
        out.family(family.name, family.kind, family.text, samples, now)
    _faults(out, found, now)
    _disks(out, found, now)
    _pressures(out, found, now)
    _filesystems(out, found[:1], now)
    _networks(out, found, now)
    text = "Start time of the container since unix epoch in seconds."
    out.family("container_start_time_seconds", _GAUGE, text, [(labels, g.started) for g, labels in found if g.started])
    seen = [(labels, float(int(now))) for _, labels in found]
    out.family("container_last_seen", _GAUGE, "Last time a container was seen by the exporter", seen, now)
    named = labelled(boot_id=machine.boot_id, machine_id=machine.machine_id, system_uuid=machine.system_uuid)
    out.family("machine_cpu_cores", _GAUGE, "Number of logical CPU cores.", [(named, machine.cpus)])
    out.family("machine_memory_bytes", _GAUGE, "Amount of memory installed on the machine.", [(named, machine.memory)])
    out.family("machine_swap_bytes", _GAUGE, "Amount of swap memory available on the machine.", [(named, machine.swap)])
    out.family("container_scrape_error", _GAUGE, "1 if there was an error while getting container metrics, 0 otherwise",
               [("", 0)])  # fmt: skip
    return out.text()


def _faults(out: Exposition, found: list[tuple[Group, str]], now: float) -> None:
    samples: list[tuple[str, float]] = []
    for group, labels in found:
        for kind, value in (("pgfault", group.measured.faults), ("pgmajfault", group.measured.major_faults)):
            samples.append((extended(labels, failure_type=kind, scope="hierarchy"), value))
    out.family("container_memory_failures_total", _COUNTER, "Cumulative count of memory allocation failures.",
               samples, now)  # fmt: skip


_DISKS: tuple[tuple[str, str, Callable[[Measured], dict[str, int]]], ...] = (
    ("reads_bytes", "Cumulative count of bytes read", lambda m: m.read),
    ("reads", "Cumulative count of reads completed", lambda m: m.reads),
    ("writes_bytes", "Cumulative count of bytes written", lambda m: m.written),
    ("writes", "Cumulative count of writes completed", lambda m: m.writes),
)


def _disks(out: Exposition, found: list[tuple[Group, str]], now: float) -> None:
    for name, text, amounts in _DISKS:
        samples: list[tuple[str, float]] = []
        for group, labels in found:
            for device, value in amounts(group.measured).items():
                samples.append((extended(labels, device=device), value))
        out.family(f"container_fs_{name}_total", _COUNTER, text, samples, now)


def _pressures(out: Exposition, found: list[tuple[Group, str]], now: float) -> None:
    """Of version 2 of cgroups only: "waiting" is when some processes waited, "stalled" when all did."""
    for kind in ("cpu", "memory", "io"):
        for index, (word, what) in enumerate((("waiting", "have waited"), ("stalled", "were stalled"))):
            samples = [(labels, g.measured.pressure[kind][index]) for g, labels in found if g.measured.pressure]
            text = f"Total time duration tasks in the container {what} due to {kind} congestion."
            out.family(f"container_pressure_{kind}_{word}_seconds_total", _COUNTER, text, samples, now)


_ROOM: tuple[tuple[str, str, Callable[[os.statvfs_result], float]], ...] = (
    ("limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.",
     lambda fs: fs.f_blocks * fs.f_frsize),
    ("usage_bytes", "Number of bytes that are consumed by the container on this filesystem.",
     lambda fs: (fs.f_blocks - fs.f_bfree) * fs.f_frsize),
    ("inodes_total", "Number of Inodes", lambda fs: fs.f_files),
    ("inodes_free", "Number of available Inodes", lambda fs: fs.f_ffree),
)  # fmt: skip


def _filesystems(out: Exposition, whole: list[tuple[Group, str]], now: float) -> None:
    """The machine's, as upstream's kubelet has it beside containerd; a container's layer stands in /stats/summary."""
    found = {}
    for device, folder in mounted():
        with contextlib.suppress(OSError):
            found[device] = os.statvfs(folder)
    for name, text, value in _ROOM:
        samples = [(extended(labels, device=d), value(fs)) for group, labels in whole if group.path == "/"
                   for d, fs in found.items()]  # fmt: skip
        out.family(f"container_fs_{name}", _GAUGE, text, samples, now)


def _networks(out: Exposition, found: list[tuple[Group, str]], now: float) -> None:
    """Of pods; the container label is empty, since a pod's containers share its interfaces."""
    # Each label set is written in eight families.
    each = [(extended(labels, interface=one.name), one) for group, labels in found for one in group.network]
    for way, done in (("receive", "received"), ("transmit", "transmitted")):
        for index, (suffix, words) in enumerate(_NETWORK):
            samples = [(labels, (one.received if way == "receive" else one.sent)[index]) for labels, one in each]
            text = f"Cumulative count of {words} {done}"
            out.family(f"container_network_{way}_{suffix}_total", _COUNTER, text, samples, now)
