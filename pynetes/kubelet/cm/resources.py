"""Requests and limits as the kernel's numbers. Pure; the formulas are upstream's."""

from collections.abc import Iterable

from pynetes.kubelet import podspec, qos
from pynetes.machinery import quantity
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb

MIN_SHARES, MAX_SHARES = 2, 262144
PERIOD = 100_000
MIN_QUOTA = 1000
GUARANTEED_OOM, BEST_EFFORT_OOM = -997, 1000
CRITICAL = 2_000_000_000


def shares(millicores: int) -> int:
    """CPU shares of a request; what asks for nothing gets the least."""
    return min(max(millicores * 1024 // 1000, MIN_SHARES), MAX_SHARES)


def quota(millicores: int) -> int:
    """Microseconds of CPU per period of a limit; 0 is unlimited."""
    return max(millicores * PERIOD // 1000, MIN_QUOTA) if millicores else 0


def weight(cpu_shares: int) -> int:
    """cgroup v2's weight of v1's shares."""
    return 1 + (cpu_shares - 2) * 9999 // 262142


def milli(amounts: Object, name: str) -> int:
    """An amount in thousandths, 0 when absent."""
    return quantity.parse(amounts[name]).milli() if name in amounts else 0


def whole(amounts: Object, name: str) -> int:
    """An amount in whole units, 0 when absent."""
    return quantity.parse(amounts[name]).value() if name in amounts else 0


def of_container(
    pod: Object, container: Object, memory_capacity: int, *, cpuset: str = ""
) -> pb.LinuxContainerResources:
    """A container's resources as CRI takes them; cpuset names the processors it may run on, "" for all."""
    resources = container.get("resources") or {}
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    asked = milli(requests, "cpu") if "cpu" in requests else milli(limits, "cpu")
    limit = milli(limits, "cpu")
    return pb.LinuxContainerResources(
        cpu_shares=shares(asked),
        cpu_period=PERIOD if limit else 0,
        cpu_quota=quota(limit),
        memory_limit_in_bytes=whole(limits, "memory"),
        oom_score_adj=oom_score(pod, container, memory_capacity),
        cpuset_cpus=cpuset,
    )


def oom_score(pod: Object, container: Object, memory_capacity: int) -> int:
    """How soon the kernel picks the container when memory runs out."""
    quality = qos.of_pod(pod)
    if quality == qos.GUARANTEED or (pod["spec"].get("priority") or 0) >= CRITICAL:
        return GUARANTEED_OOM
    if quality == qos.BEST_EFFORT:
        return BEST_EFFORT_OOM
    request = whole((container.get("resources") or {}).get("requests") or {}, "memory")
    score = 1000 - 1000 * request // max(memory_capacity, 1)
    return min(max(score, 1000 + GUARANTEED_OOM), BEST_EFFORT_OOM - 1)


def pod_requests(pod: Object) -> dict[str, int]:
    """What a pod takes of the node, in thousandths: the greater of its ordinary and its init containers, and overhead.

    Restartable init containers run beside the ordinary ones and beside the init containers after them.
    """
    spec = pod["spec"]
    total = _sum((one.get("resources") or {}).get("requests") or {} for one in podspec.regulars(pod))
    beside: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in podspec.inits(pod):
        own = _sum([(container.get("resources") or {}).get("requests") or {}])
        if podspec.is_sidecar(container):
            beside = _add(beside, own)
            peak = _greater(peak, beside)
        else:
            peak = _greater(peak, _add(beside, own))
    total = _greater(_add(total, beside), peak)
    whole_pod = (spec.get("resources") or {}).get("requests") or {}
    total.update(_sum([whole_pod]))
    return _add(total, _sum([spec.get("overhead") or {}]))


def _sum(amounts: Iterable[Object]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in amounts:
        for name in one:
            total[name] = total.get(name, 0) + milli(one, name)
    return total


def _add(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def _greater(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in {**one, **other}}
