"""SchedulingGates: a pod with gates waits, outside the queue, until all of them are removed."""

from pynetes.machinery.meta import Object
from pynetes.scheduler.framework import Event, Plugin
from pynetes.scheduler.pods import PodInfo


class SchedulingGates(Plugin):
    wakes_on = (Event("pods", "update"),)

    def pre_enqueue(self, pod: PodInfo) -> str | None:
        gates = [gate["name"] for gate in pod.spec.get("schedulingGates") or ()]
        return f"waiting for scheduling gates: [{' '.join(gates)}]" if gates else None

    def hint(self, pod: PodInfo, event: Event, new: Object, old: Object | None) -> bool:
        return new["metadata"].get("uid") == pod.uid and not new["spec"].get("schedulingGates")
