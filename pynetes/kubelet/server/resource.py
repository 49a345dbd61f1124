"""/metrics/resource: the few numbers that a metrics server needs, each with the time at which it was read."""

import time
from collections.abc import Sequence

from pynetes.kubelet.cm.usage import Usage
from pynetes.kubelet.server.cadvisor import Group
from pynetes.kubelet.server.exposition import Exposition, labelled

_CPU = "Cumulative cpu time consumed by the {} in core-seconds"
_MEMORY = "Current working set of the {} in bytes"
_SWAP = "Current amount of the {} swap usage in bytes. Reported only on non-windows systems"


def exposition(groups: Sequence[Group], node: Usage) -> str:
    """The families, in upstream's order."""
    now = time.time()
    out = Exposition()
    containers = [(labelled(container=g.container, namespace=g.namespace, pod=g.pod), g) for g in groups if g.container]
    pods = [(labelled(namespace=g.namespace, pod=g.pod), g) for g in groups if g.pod and not g.container]

    def family(kind: str, what: str, members: Sequence[tuple[str, Group]]) -> None:
        cpu = [(labels, group.measured.cpu) for labels, group in members]
        out.family(f"{kind}_cpu_usage_seconds_total", "counter", _CPU.format(what), cpu, now)
        memory = [(labels, group.measured.working_set) for labels, group in members]
        out.family(f"{kind}_memory_working_set_bytes", "gauge", _MEMORY.format(what), memory, now)
        swap = [(labels, group.measured.swap) for labels, group in members]
        out.family(f"{kind}_swap_usage_bytes", "gauge", _SWAP.format(what), swap, now)

    family("container", "container", containers)
    text = "Start time of the container since unix epoch in seconds"
    out.family("container_start_time_seconds", "gauge", text, [(labels, g.started) for labels, g in containers], now)
    out.family("node_cpu_usage_seconds_total", "counter", _CPU.format("node"), [("", node.cpu_seconds)], now)
    out.family("node_memory_working_set_bytes", "gauge", _MEMORY.format("node"), [("", node.memory)], now)
    family("pod", "pod", pods)
    text = "1 if there was an error while getting container metrics, 0 otherwise"
    out.family("resource_scrape_error", "gauge", text, [("", 0)])
    return out.text()
