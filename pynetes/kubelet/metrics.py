"""The kubelet's own metrics under upstream's names. Its containers' stand in server/cadvisor.py and server/resource.py.

What happens is counted where it happens; what is a state is read from the kubelet when somebody asks (see `Stateful`).
"""

import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pynetes.component.metrics import REGISTRY, Registry, exponential
from pynetes.kubelet.cm.cgroups import MOUNT
from pynetes.kubelet.cri.state import PodRuntime, State
from pynetes.machinery import time as times
from pynetes.machinery.meta import Object

if TYPE_CHECKING:
    from pynetes.kubelet.csi.stats import Room
    from pynetes.kubelet.kubelet import Kubelet

#: Upstream's buckets of durations that a person waits for.
_STARTS = (0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0,
           480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0)  # fmt: skip

PLEG_SECONDS = REGISTRY.histogram(
    "kubelet_pleg_relist_duration_seconds", "Duration in seconds for relisting pods in PLEG."
)
PLEG_INTERVAL = REGISTRY.histogram("kubelet_pleg_relist_interval_seconds", "Interval in seconds between relisting.")
PLEG_SEEN = REGISTRY.gauge("kubelet_pleg_last_seen_seconds", "Timestamp in seconds when PLEG was last seen active.")
WORKER_SECONDS = REGISTRY.histogram(
    "kubelet_pod_worker_duration_seconds",
    "Duration in seconds to sync a single pod, broken down by operation type.",
    "operation_type",
)
WORKER_START = REGISTRY.histogram(
    "kubelet_pod_worker_start_duration_seconds",
    "Duration in seconds from kubelet seeing a pod to starting a worker.",
)
START_SECONDS = REGISTRY.histogram(
    "kubelet_pod_start_duration_seconds",
    "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run",
    buckets=_STARTS,
)
START_SLI = REGISTRY.histogram(
    "kubelet_pod_start_sli_duration_seconds",
    "Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod "
    "creation timestamp to when all its containers are reported as started and observed via watch",
    buckets=_STARTS,
)
START_TOTAL = REGISTRY.histogram(
    "kubelet_pod_start_total_duration_seconds",
    "Duration in seconds to start a pod since creation, including time to pull images and run init containers",
    buckets=_STARTS,
)
STARTED_PODS = REGISTRY.counter("kubelet_started_pods_total", "Cumulative number of pods started")
STARTED_PODS_ERRORS = REGISTRY.counter(
    "kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods"
)
STARTED_CONTAINERS = REGISTRY.counter(
    "kubelet_started_containers_total", "Cumulative number of containers started", "container_type"
)
STARTED_CONTAINERS_ERRORS = REGISTRY.counter(
    "kubelet_started_containers_errors_total",
    "Cumulative number of errors when starting containers",
    "container_type", "code",
)  # fmt: skip
PULL_SECONDS = REGISTRY.histogram(
    "kubelet_image_pull_duration_seconds",
    "Duration in seconds to pull an image.",
    "image_size_in_bytes",
    buckets=(1.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0,
             1800.0, 2700.0, 3600.0),
)  # fmt: skip
CONTAINERS = REGISTRY.histogram(
    "kubelet_containers_per_pod_count", "The number of containers per pod.", buckets=(1.0, 2.0, 4.0, 8.0, 16.0)
)
SYNC_SECONDS = REGISTRY.histogram(
    "kubelet_pod_status_sync_duration_seconds",
    "Duration in seconds from a change of a pod's status until the API server has it.",
    buckets=(0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0),
)
SANDBOX_SECONDS = REGISTRY.histogram(
    "kubelet_run_podsandbox_duration_seconds",
    "Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.",
    "runtime_handler",
)
SANDBOX_ERRORS = REGISTRY.counter(
    "kubelet_run_podsandbox_errors_total",
    "Cumulative number of the run_podsandbox operation errors by RuntimeClass.Handler.",
    "runtime_handler",
)
IMAGES_COLLECTED = REGISTRY.counter(
    "kubelet_image_garbage_collected_total",
    "Total number of images garbage collected by the kubelet, whether through disk usage or image age.",
    "reason",
)
REJECTIONS = REGISTRY.counter(
    "kubelet_admission_rejections_total",
    "Cumulative number pod admission rejections by the Kubelet.",
    "reason",
)
ORPHANS = REGISTRY.counter(
    "kubelet_orphaned_runtime_pods_total",
    "Number of pods that have been detected in the container runtime without being already known to the kubelet.",
)
CGROUP_SECONDS = REGISTRY.histogram(
    "kubelet_cgroup_manager_duration_seconds",
    "Duration in seconds for cgroup manager operations. Broken down by method.",
    "operation_type",
)
PINNING = REGISTRY.counter(
    "kubelet_cpu_manager_pinning_requests_total",
    "The number of cpu core allocations which required pinning.",
)
PINNING_ERRORS = REGISTRY.counter(
    "kubelet_cpu_manager_pinning_errors_total",
    "The number of cpu core allocations which required pinning failed.",
)
ALIGNING = REGISTRY.counter(
    "kubelet_topology_manager_admission_requests_total",
    "The number of admission requests where resources have to be aligned.",
)
ALIGNING_ERRORS = REGISTRY.counter(
    "kubelet_topology_manager_admission_errors_total",
    "The number of admission request failures where resources could not be aligned.",
)
ALIGNING_MS = REGISTRY.histogram(
    "kubelet_topology_manager_admission_duration_ms",
    "Duration in milliseconds to serve a pod admission request.",
    buckets=exponential(0.05, 2, 15),
)
HTTP_REQUESTS = REGISTRY.counter(
    "kubelet_http_requests_total",
    "Number of the http requests received since the server started",
    "method", "path", "server_type", "long_running",
)  # fmt: skip
HTTP_SECONDS = REGISTRY.histogram(
    "kubelet_http_requests_duration_seconds",
    "Duration in seconds to serve http requests",
    "method", "path", "server_type", "long_running",
)  # fmt: skip
HTTP_INFLIGHT = REGISTRY.gauge(
    "kubelet_http_inflight_requests",
    "Number of the inflight http requests",
    "method", "path", "server_type", "long_running",
)  # fmt: skip
#: First parts of paths whose requests last as long as their callers like.
LONG_RUNNING = ("exec", "attach", "portForward", "containerLogs", "run")
#: From 0 bytes on: the upper bounds of upstream's size classes of images.
_SIZES = ((10 << 20, "0-10MB"), (100 << 20, "10MB-100MB"), (500 << 20, "100MB-500MB"), (1 << 30, "500MB-1GB"),
          (5 << 30, "1GB-5GB"), (10 << 30, "5GB-10GB"), (20 << 30, "10GB-20GB"), (30 << 30, "20GB-30GB"),
          (40 << 30, "30GB-40GB"), (60 << 30, "40GB-60GB"), (100 << 30, "60GB-100GB"))  # fmt: skip
Samples = Iterator[tuple[tuple[str, ...], float]]


def size_class(size: int) -> str:
    """The label of an image's size."""
    return next((label for bound, label in _SIZES if size <= bound), "GT100GB")


def pod_runs(pod: Object, seen: float, now: float, wall: float, pulling: float) -> None:
    """All of a pod's containers have started. seen and now on the monotonic clock; pulling: seconds of pulls."""
    START_SECONDS.observe(now - seen)
    created = max(0.0, wall - times.parse(pod["metadata"]["creationTimestamp"]).timestamp())
    START_TOTAL.observe(created)
    START_SLI.observe(max(0.0, created - pulling))


def _cgroups() -> Samples:
    yield (), 2 if (MOUNT / "cgroup.controllers").exists() else 1


class Stateful:
    """Metrics that are read from the kubelet's state: declared once per kubelet, in its own registry."""

    def __init__(self, kubelet: "Kubelet") -> None:
        self._kubelet = kubelet
        self.registry = made = Registry()
        made.gauge("kubelet_node_name", "The node's name. The count is always 1.", "node", read=self._name)
        made.gauge("kubelet_cgroup_version", "cgroup version on the hosts.", read=_cgroups)
        text = "The size of the shared CPU pool for non-guaranteed QoS pods, in millicores."
        made.gauge("kubelet_cpu_manager_shared_pool_size_millicores", text, read=self._shared_cpus)
        text = "The total number of CPUs exclusively allocated to containers running on this node"
        made.gauge("kubelet_cpu_manager_exclusive_cpu_allocation_count", text, read=self._own_cpus)
        text = "Number of CPUs allocated per NUMA node"
        made.gauge("kubelet_cpu_manager_allocation_per_numa", text, "numa_node", read=self._numa_cpus)
        made.gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox", read=self._pods)
        text = "Number of containers currently running"
        made.gauge("kubelet_running_containers", text, "container_state", read=self._containers)
        text = (
            "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the API."
        )
        made.gauge("kubelet_desired_pods", text, "static", read=self._desired)
        text = "Number of pods the kubelet is actually running, broken down by lifecycle phase and source."
        made.gauge("kubelet_working_pods", text, "lifecycle", "config", "static", read=self._working)
        text = "Number of total volumes in Volume Manager"
        made.gauge("volume_manager_total_volumes", text, "plugin_name", "state", read=self._volumes)
        for name, words, value in _STATS:
            labels = ("namespace", "persistentvolumeclaim")
            made.gauge(f"kubelet_volume_stats_{name}", words, *labels, read=partial(self._claims, value))
        text = "Abnormal volume health status: 1 means that the volume is unhealthy, 0 that it is healthy"
        made.gauge("kubelet_volume_stats_health_status_abnormal", text, *labels, read=self._health)

    def _name(self) -> Samples:
        yield (self._kubelet.name,), 1

    def _shared_cpus(self) -> Samples:
        cpus = self._kubelet.ctx.cpus
        # Without a policy that gives any away there is no pool, as upstream.
        yield (), 1000 * len(cpus.shared() - cpus.reserved) if cpus.static else 0

    def _given_cpus(self) -> set[int]:
        given: set[int] = set()
        return given.union(*self._kubelet.ctx.cpus.given.values())

    def _own_cpus(self) -> Samples:
        yield (), len(self._given_cpus())

    def _numa_cpus(self) -> Samples:
        cpus, given = self._kubelet.ctx.cpus, self._given_cpus()
        if cpus.static:
            for node in sorted({one.node for one in cpus.cpus}):
                yield (str(node),), sum(one.node == node and one.number in given for one in cpus.cpus)

    def _known(self) -> list[PodRuntime]:
        return list(self._kubelet.ctx.pleg.pods.values())

    def _pods(self) -> Samples:
        yield (), sum(any(one.ready for one in pod.sandboxes) for pod in self._known())

    def _containers(self) -> Samples:
        states = Counter(one.state for pod in self._known() for one in pod.containers)
        for state in (State.CREATED, State.RUNNING, State.EXITED, State.UNKNOWN):
            if states[state] or state in (State.RUNNING, State.EXITED):
                yield (state.value,), states[state]

    def _desired(self) -> Samples:
        yield ("",), len(self._kubelet.workers)

    def _working(self) -> Samples:
        for stage, count in Counter(str(worker.stage) for worker in self._kubelet.workers.values()).items():
            yield (stage, "desired", ""), count

    def _volumes(self) -> Samples:
        volumes = self._kubelet.ctx.volumes
        kinds = Counter(one.kind for uid in list(self._kubelet.workers) for one in volumes.specs(uid).values())
        for kind, count in kinds.items():
            for state in ("actual_state_of_world", "desired_state_of_world"):
                yield (plugin(kind), state), count

    def _health(self) -> Samples:
        """Only of volumes about which their drivers say something."""
        volumes, known = self._kubelet.ctx.volumes, self._kubelet.storage.stats.known
        shown = {
            (one.claim.namespace, one.claim.name): int(room.abnormal)
            for uid in list(self._kubelet.workers)
            for one in volumes.specs(uid).values()
            if one.claim and (room := known.get((uid, one.spec_name))) and room.abnormal is not None
        }
        yield from shown.items()

    def _claims(self, value: Callable[["os.statvfs_result | Room"], float]) -> Samples:
        volumes = self._kubelet.ctx.volumes
        seen = set()
        for worker in list(self._kubelet.workers.values()):
            for one in volumes.specs(worker.uid).values():
                if one.claim is None or one.block or one.claim in seen:
                    continue
                try:
                    told = self._kubelet.storage.stats.known.get((worker.uid, one.spec_name))
                    found = told if told and told.f_blocks else os.statvfs(volumes.path(worker.pod, one))
                except OSError:
                    continue  # unmounted meanwhile
                seen.add(one.claim)
                yield (one.claim.namespace, one.claim.name), value(found)


_STATS: tuple[tuple[str, str, Callable[["os.statvfs_result | Room"], float]], ...] = (
    ("capacity_bytes", "Capacity in bytes of the volume", lambda fs: fs.f_blocks * fs.f_frsize),
    ("available_bytes", "Number of available bytes in the volume", lambda fs: fs.f_bavail * fs.f_frsize),
    ("used_bytes", "Number of used bytes in the volume", lambda fs: (fs.f_blocks - fs.f_bfree) * fs.f_frsize),
    ("inodes", "Maximum number of inodes in the volume", lambda fs: fs.f_files),
    ("inodes_free", "Number of free inodes in the volume", lambda fs: fs.f_ffree),
    ("inodes_used", "Number of used inodes in the volume", lambda fs: fs.f_files - fs.f_ffree),
)
_PLUGINS = {"emptyDir": "empty-dir", "hostPath": "host-path", "configMap": "configmap", "downwardAPI": "downward-api",
            "local": "local-volume"}  # fmt: skip


def plugin(kind: str) -> str:
    """The name of a kind's volume plugin."""
    return f"kubernetes.io/{_PLUGINS.get(kind, kind)}"


@web.middleware
async def count(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """Counts and times requests by the first part of their path, as upstream does."""
    first, _, second = request.path.strip("/").partition("/")
    long_running = "true" if first in LONG_RUNNING or "watch" in request.query else "false"
    path = f"{first}/{second}" if first == "metrics" and second else first
    known = request.match_info.route.resource is not None
    labels = (request.method, path if known else "unknown", "readwrite", long_running)
    HTTP_REQUESTS.inc(*labels)
    HTTP_INFLIGHT.add(1, *labels)
    began = time.perf_counter()
    try:
        return await handler(request)
    finally:
        HTTP_INFLIGHT.add(-1, *labels)
        HTTP_SECONDS.observe(time.perf_counter() - began, *labels)
