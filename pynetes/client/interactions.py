"""Which of the 29 paths a component's traffic with the API server is on.

What the API server sends it (watch events) and what it sends to the API server are two paths for most components.
"""

from typing import NamedTuple


class Paths(NamedTuple):
    """Path numbers: events that arrive, requests that are sent, and reconciles; 0 is none."""

    watch: int = 0
    request: int = 0
    reconcile: int = 0


PATHS = {
    "kubectl": Paths(1, 1),
    "kube-controller-manager": Paths(6, 7, 18),
    "kube-scheduler": Paths(8, 9),
    "kubelet": Paths(10, 11),
    "kube-proxy": Paths(12, 13),
    "dns": Paths(24, 24),
    "ingress-controller": Paths(25, 25),
}


def paths_of(component: str) -> Paths:
    """The paths of a component's own client; none for a component that is on no path."""
    return PATHS.get(component, Paths())
