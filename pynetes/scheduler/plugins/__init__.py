"""The plugins in the order in which they run, which decides whose reason a rejected node is charged with."""

from pynetes.scheduler.framework import Plugin
from pynetes.scheduler.plugins import (
    image_locality,
    node_affinity,
    node_name,
    node_ports,
    node_resources,
    node_unschedulable,
    scheduling_gates,
    taint_toleration,
)


def default() -> tuple[Plugin, ...]:
    """Upstream's default profile, as far as it is here; the cheap and the decisive come first."""
    return (
        scheduling_gates.SchedulingGates(),
        node_unschedulable.NodeUnschedulable(),
        node_name.NodeName(),
        taint_toleration.TaintToleration(),
        node_affinity.NodeAffinity(),
        node_ports.NodePorts(),
        node_resources.NodeResourcesFit(),
        node_resources.NodeResourcesBalancedAllocation(),
        image_locality.ImageLocality(),
    )
