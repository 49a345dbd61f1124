"""NodeName: a pod that names its node fits only that node."""

from collections.abc import Iterable

from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.pods import PodInfo


class NodeName(Plugin):
    wakes_on = (Event("nodes", "add"),)

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        if wanted := pod.node_name:
            row = nodes.rows.get(wanted)
            others = ~nodes.mask(() if row is None else (row,))
            yield Rejection(others, "node(s) didn't match the requested node name", unresolvable=True)
