"""NodePorts: a host port is taken once per node, address and protocol; 0.0.0.0 stands for every address."""

from collections.abc import Iterable

from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import HostPort, PodInfo

_ALL = "0.0.0.0"


class NodePorts(Plugin):
    wakes_on = (Event("nodes", "add"), Event("pods", "delete"))

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        taken = {
            row
            for port in pod.host_ports
            for row, addresses in nodes.ports.get((port.protocol, port.port), {}).items()
            if any(_clash(port.ip, address) for address in addresses)
        }
        if taken:
            yield Rejection(nodes.mask(taken), "node(s) didn't have free ports for the requested pod ports")

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        if event.resource != "pods":
            return True
        freed = PodInfo(new).host_ports
        return any(_same(port, other) for port in pod.host_ports for other in freed)


def _same(one: HostPort, other: HostPort) -> bool:
    return (one.protocol, one.port) == (other.protocol, other.port) and _clash(one.ip, other.ip)


def _clash(one: str, other: str) -> bool:
    return one == other or _ALL in (one, other)
