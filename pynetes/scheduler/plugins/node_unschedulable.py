"""NodeUnschedulable: a cordoned node takes no pods, except those that tolerate the taint that stands for it."""

from collections.abc import Iterable

from pynetes.machinery.meta import Object
from pynetes.scheduler.columns import NodeColumns
from pynetes.scheduler.framework import Event, Plugin, Rejection
from pynetes.scheduler.plugins.taint_toleration import tolerates
from pynetes.scheduler.pods import PodInfo

_TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


class NodeUnschedulable(Plugin):
    wakes_on = (Event("nodes", "add"), Event("nodes", "update"))

    def filter_nodes(self, pod: PodInfo, nodes: NodeColumns) -> Iterable[Rejection]:
        if nodes.unschedulable.any() and not tolerates(pod.spec.get("tolerations") or (), _TAINT):
            yield Rejection(nodes.unschedulable, "node(s) were unschedulable", unresolvable=True)

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        return not (new.get("spec") or {}).get("unschedulable")
