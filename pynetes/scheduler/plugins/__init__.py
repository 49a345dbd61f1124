"""The plugins in the order in which they run, which decides whose reason a rejected node is charged with."""

from collections.abc import Callable
from datetime import datetime

from pynetes.scheduler import claims
from pynetes.scheduler.framework import Plugin
from pynetes.scheduler.plugins import (
    dynamic_resources,
    image_locality,
    inter_pod_affinity,
    node_affinity,
    node_name,
    node_ports,
    node_resources,
    node_unschedulable,
    node_volume_limits,
    pod_topology_spread,
    scheduling_gates,
    taint_toleration,
    volume_binding,
    volume_restrictions,
    volume_zone,
)
from pynetes.scheduler.volumes import RESOURCES, Volumes

#: What plugins follow besides nodes and pods, whose events wake pods too.
FOLLOWED = (*RESOURCES, *claims.RESOURCES)


def default(now: Callable[[], datetime]) -> tuple[Plugin, ...]:
    """Upstream's default profile, as far as it is here; the cheap and the decisive come first."""
    volumes, of_pods = Volumes(), claims.Claims(now)
    return (
        scheduling_gates.SchedulingGates(),
        node_unschedulable.NodeUnschedulable(),
        node_name.NodeName(),
        taint_toleration.TaintToleration(),
        node_affinity.NodeAffinity(),
        node_ports.NodePorts(),
        node_resources.NodeResourcesFit(of_pods.classes_of_resources),
        volume_restrictions.VolumeRestrictions(volumes),
        node_volume_limits.NodeVolumeLimits(volumes),
        volume_binding.VolumeBinding(volumes),
        volume_zone.VolumeZone(volumes),
        dynamic_resources.DynamicResources(of_pods),
        pod_topology_spread.PodTopologySpread(),
        inter_pod_affinity.InterPodAffinity(),
        node_resources.NodeResourcesBalancedAllocation(),
        image_locality.ImageLocality(),
    )
