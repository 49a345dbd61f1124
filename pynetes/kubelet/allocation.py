"""Gives a pod what is counted out by piece when it is admitted: processors and devices, near to each other."""

import logging
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from pynetes.component import logs
from pynetes.kubelet import metrics, podspec
from pynetes.kubelet.cm import cpus, topology
from pynetes.kubelet.cm.topology import Nodes
from pynetes.kubelet.context import Context
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.devices.manager import Inadmissible
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as cri

log = logging.getLogger(__name__)


class Refused(Exception):
    """The pod cannot have what it asks for; reason is its status's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


async def allocate(ctx: Context, pod: Object, policy: str) -> None:
    """Give a pod its processors and devices. Raises Refused, and then it has nothing."""
    pins = ctx.cpus.static and any(cpus.wanted(pod, one) for one in _containers(pod))
    if pins:
        metrics.PINNING.inc()
    try:
        near = _near(ctx, pod, policy)
        if ctx.cpus.allocate(pod, near):
            await confine(ctx)
        await ctx.devices.allocate(pod, near)
    except topology.Unaligned as failure:
        if pins:
            metrics.PINNING_ERRORS.inc()
        raise Refused("TopologyAffinityError", str(failure)) from failure
    except (Inadmissible, cpus.Unavailable) as failure:
        ctx.cpus.release(pod["metadata"]["uid"])
        if pins and isinstance(failure, cpus.Unavailable):
            metrics.PINNING_ERRORS.inc()
        raise Refused("UnexpectedAdmissionError", str(failure)) from failure


def _containers(pod: Object) -> list[Object]:
    return [*podspec.inits(pod), *podspec.regulars(pod)]


def _near(ctx: Context, pod: Object, policy: str) -> Mapping[str, Nodes]:
    if policy == topology.NONE:
        return {}
    metrics.ALIGNING.inc()
    began = perf_counter()
    try:
        return places(ctx, pod, policy)
    except topology.Unaligned:
        metrics.ALIGNING_ERRORS.inc()
        raise
    finally:
        metrics.ALIGNING_MS.observe(1000 * (perf_counter() - began))


def places(ctx: Context, pod: Object, policy: str) -> Mapping[str, Nodes]:
    """The NUMA nodes for each container. Raises topology.Unaligned."""
    if policy == topology.NONE:
        return {}
    found = {}
    nodes = {one.node for one in ctx.cpus.cpus}
    for container in _containers(pod):
        given = []
        if ctx.cpus.static and (count := cpus.wanted(pod, container)):
            free = ctx.cpus.shared() - ctx.cpus.reserved
            units = {one.number: frozenset({one.node}) for one in ctx.cpus.cpus}
            given.append(topology.hints(count, [units[one] for one in free], list(units.values()), nodes))
        for resource, count in ctx.devices.wanted(container):
            known = ctx.devices.pool.devices[resource]
            every = [frozenset(one.nodes) for one in known.values()]
            if any(every):
                here = [frozenset(known[name].nodes) for name in ctx.devices.pool.available(resource)]
                given.append(topology.hints(count, here, every, nodes))
        found[container["name"]] = topology.align(given, nodes, policy)
    return found


async def confine(ctx: Context) -> None:
    """Confine what runs without processors of its own to those that are left."""
    for uid, runtime in ctx.pleg.pods.items():
        for one in runtime.running:
            if not ctx.cpus.of_container(uid, one.name):
                wanted: Any = cri.LinuxContainerResources(cpuset_cpus=ctx.cpus.cpuset(uid, one.name))
                try:
                    await ctx.runtime.update_container(one.id, wanted)
                except RuntimeFailure as failure:
                    log.warning(logs.fact("container not confined", container=one.name, error=failure))
