"""The scheduler's metrics, under upstream's names, and /metrics/resources: what pods request, node by node."""

from collections.abc import Iterator, Mapping

from aiohttp import web

from pynetes.component import metrics
from pynetes.component.metrics import REGISTRY, Registry, exponential
from pynetes.scheduler.cache import Cache
from pynetes.scheduler.pods import limits_of

ATTEMPTS = REGISTRY.counter(
    "scheduler_schedule_attempts_total", "Number of attempts to schedule pods, by the result.", "result", "profile"
)
ATTEMPT_SECONDS = REGISTRY.histogram(
    "scheduler_scheduling_attempt_duration_seconds",
    "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
    "result", "profile", buckets=exponential(0.001, 2, 15),
)  # fmt: skip
ALGORITHM = REGISTRY.histogram(
    "scheduler_scheduling_algorithm_duration_seconds",
    "Scheduling algorithm latency in seconds",
    buckets=exponential(0.001, 2, 15),
)
SLI = REGISTRY.histogram(
    "scheduler_pod_scheduling_sli_duration_seconds",
    "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.",
    "attempts",
    buckets=exponential(0.01, 2, 20),
)
POD_ATTEMPTS = REGISTRY.histogram(
    "scheduler_pod_scheduling_attempts",
    "Number of attempts to successfully schedule a pod.",
    buckets=exponential(1, 2, 5),
)
VICTIMS = REGISTRY.histogram(
    "scheduler_preemption_victims", "Number of selected preemption victims", buckets=exponential(1, 2, 7)
)
PREEMPTIONS = REGISTRY.counter(
    "scheduler_preemption_attempts_total", "Total preemption attempts in the cluster till now"
)
#: Filters work on all nodes in one vector operation, so this is the time of one point for one pod, as upstream's is.
POINT_SECONDS = REGISTRY.histogram(
    "scheduler_framework_extension_point_duration_seconds",
    "Latency for running all plugins of a specific extension point.",
    "extension_point", "status", "profile", buckets=exponential(0.0001, 2, 12),
)  # fmt: skip
#: One plugin in one point for one pod: on all nodes together, where upstream has one call per node. As there, one
#: attempt in ten is measured.
PLUGIN_SECONDS = REGISTRY.histogram(
    "scheduler_plugin_execution_duration_seconds",
    "Duration for running a plugin at a specific extension point.",
    "plugin", "extension_point", "status", buckets=exponential(0.00001, 1.5, 20),
)  # fmt: skip
PENDING = REGISTRY.gauge("scheduler_pending_pods", "Number of pending pods, by the queue type.", "queue")
INCOMING = REGISTRY.counter(
    "scheduler_queue_incoming_pods_total",
    "Number of pods added to scheduling queues by event and queue type.",
    "queue", "event",
)  # fmt: skip
UNSCHEDULABLE = REGISTRY.gauge(
    "scheduler_unschedulable_pods",
    "The number of unschedulable pods broken down by plugin name.",
    "plugin", "profile",
)  # fmt: skip
SIZE = REGISTRY.gauge(
    "scheduler_cache_size", "Number of nodes, pods, and assumed (bound) pods in the scheduler cache.", "type"
)

MEASURED = 10

#: Resource → its unit; everything else counts whole things.
UNITS = {"cpu": "cores", "memory": "bytes", "ephemeral-storage": "bytes", "storage": "bytes"}
LABELS = ("namespace", "pod", "node", "scheduler", "priority", "resource", "unit")
Samples = Iterator[tuple[tuple[str, ...], float]]


def tell(cache: Cache, rejections: Mapping[str, int], profile: str) -> None:
    """Set what is a state and no event: sizes, and which plugins pods wait because of."""
    for kind, size in cache.sizes.items():
        SIZE.set(size, kind)
    UNSCHEDULABLE.clear()
    for plugin, count in rejections.items():
        UNSCHEDULABLE.set(count, plugin, profile)


def resources(cache: Cache) -> Registry:
    """A registry with what the pods on nodes request and are limited to."""
    found = Registry()

    def requests() -> Samples:
        return _samples(cache, limits=False)

    def limits() -> Samples:
        return _samples(cache, limits=True)

    text = "Resources requested by workloads on the cluster, broken down by pod."
    found.gauge("kube_pod_resource_request", text, *LABELS, read=requests)
    text = "Resources limit for workloads on the cluster, broken down by pod."
    found.gauge("kube_pod_resource_limit", text, *LABELS, read=limits)
    return found


def _samples(cache: Cache, *, limits: bool) -> Samples:
    for key, (node, info) in cache.placed():
        named = (key.namespace, key.name, node, info.spec.get("schedulerName") or "", str(info.priority))
        for resource, amount in (limits_of(info.spec) if limits else info.requests).items():
            unit = UNITS.get(resource) or ("bytes" if resource.startswith("hugepages-") else "integer")
            if amount and resource != "pods":
                yield (*named, resource, unit), amount / 1000 if resource == "cpu" else amount


def add_resources(app: web.Application, cache: Cache) -> None:
    """Serve it."""
    registry = resources(cache)

    async def expose(_request: web.Request) -> web.Response:
        return web.Response(body=registry.text().encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    app.router.add_get("/metrics/resources", expose)


def ran(plugin: str, point: str, seconds: float) -> None:
    """A plugin has judged at a point. A rejection is its result, and no failure of it."""
    PLUGIN_SECONDS.observe(seconds, plugin, point, "Success")
