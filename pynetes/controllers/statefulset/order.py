"""The order in which a StatefulSet makes, replaces and removes its pods. Pure: a snapshot in, the next step out."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pynetes.controllers import _pods as podinfo
from pynetes.controllers.statefulset import identity
from pynetes.machinery import intstr
from pynetes.machinery.meta import Object, is_deleting


@dataclass
class Step:
    """What to do now: ordinals to create with the revision to use, and pods to delete."""

    create: list[tuple[int, str]] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    """The snapshot."""

    stateful: Object
    #: The set's pods, terminating ones too.
    pods: Sequence[Object]
    #: Names of the revision that is complete and of the one being rolled out.
    current: str
    update: str
    now: datetime

    @property
    def parallel(self) -> bool:
        """Whether pods need not wait for each other when scaling."""
        return bool(self.stateful["spec"].get("podManagementPolicy") == "Parallel")

    @property
    def on_delete(self) -> bool:
        """Whether pods are replaced only when the user deletes them."""
        return bool((self.stateful["spec"].get("updateStrategy") or {}).get("type") == "OnDelete")

    @property
    def rolling(self) -> Object:
        """updateStrategy.rollingUpdate."""
        return (self.stateful["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}

    @property
    def partition(self) -> int:
        """Ordinals from here on are updated."""
        return int(self.rolling.get("partition") or 0)

    def is_healthy(self, pod: Object) -> bool:
        """Running and ready, and not on its way out."""
        return podinfo.phase(pod) == "Running" and podinfo.is_ready(pod) and not is_deleting(pod)

    def is_available(self, pod: Object) -> bool:
        """Healthy for minReadySeconds."""
        seconds = self.stateful["spec"].get("minReadySeconds", 0)
        return self.is_healthy(pod) and podinfo.is_available(pod, seconds, self.now)

    def revision_for(self, ordinal: int) -> str:
        """The revision that a pod made now is made from."""
        if self.on_delete or self.current == self.update:
            return self.update
        return self.current if ordinal < identity.start(self.stateful) + self.partition else self.update


def next_step(view: View) -> Step:
    """The next step: replace ended pods, make missing ones in order, remove the surplus, then update."""
    step = Step()
    found = {identity.ordinal_of(view.stateful, pod): pod for pod in view.pods}
    wanted = identity.ordinals(view.stateful)
    if _fill(view, step, found, wanted) or _shrink(view, step, found, wanted):
        return step
    if not view.on_delete:
        _update(view, step, found, wanted)
    return step


def _fill(view: View, step: Step, found: dict[int | None, Object], wanted: range) -> bool:
    """Lowest ordinal first; ordered sets wait for each pod. Whether the step ends here."""
    for ordinal in wanted:
        pod = found.get(ordinal)
        if pod is None:
            step.create.append((ordinal, view.revision_for(ordinal)))
        elif podinfo.is_terminal(pod):
            if not is_deleting(pod):
                step.delete.append(pod)
        elif view.is_available(pod):
            continue
        if not view.parallel:
            return True
    return bool(step.create or step.delete)


def _shrink(view: View, step: Step, found: dict[int | None, Object], wanted: range) -> bool:
    """Highest ordinal first; ordered sets wait for each pod to be gone, and for the lower ones to be healthy."""
    surplus = sorted((o for o in found if o is not None and o not in wanted), reverse=True)
    for ordinal in surplus:
        pod = found[ordinal]
        if is_deleting(pod):
            if not view.parallel:
                return True
            continue
        step.delete.append(pod)
        if not view.parallel:
            return True
    return bool(step.delete)


def most_unavailable(stateful: Object) -> int:
    """How many pods may be down while they are updated."""
    rolling = (stateful["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
    return max(1, intstr.scaled(rolling.get("maxUnavailable", 1), len(identity.ordinals(stateful)), round_up=True))


def _update(view: View, step: Step, found: dict[int | None, Object], wanted: range) -> None:
    """Highest ordinal first, at most maxUnavailable at a time, down to the partition."""
    most = most_unavailable(view.stateful)
    down = sum(not (pod := found.get(ordinal)) or not view.is_available(pod) for ordinal in wanted)
    for ordinal in reversed(wanted):
        if ordinal < identity.start(view.stateful) + view.partition or down >= most:
            return
        pod = found.get(ordinal)
        if pod is not None and identity.revision_of(pod) != view.update and not is_deleting(pod):
            step.delete.append(pod)
            down += 1


def status(view: View) -> Object:
    """The status; once all pods are of the new revision and ready, it becomes the current one."""
    old = view.stateful.get("status") or {}
    wanted = identity.ordinals(view.stateful)
    alive = [pod for pod in view.pods if identity.ordinal_of(view.stateful, pod) is not None]
    active = [pod for pod in alive if not is_deleting(pod)]
    ready = sum(view.is_healthy(pod) for pod in alive)
    updated = sum(identity.revision_of(pod) == view.update for pod in active)
    current = sum(identity.revision_of(pod) == view.current for pod in active)
    name = view.current
    done = updated == len(wanted) == len(alive) == ready
    if done and (view.on_delete or not view.partition):
        name, current = view.update, updated
    made: Object = {
        "observedGeneration": view.stateful["metadata"].get("generation", 0),
        "replicas": len(alive),
    }
    optional = {"readyReplicas": ready, "currentReplicas": current, "updatedReplicas": updated}
    made |= {key: count for key, count in optional.items() if count}
    made["availableReplicas"] = sum(view.is_available(pod) for pod in alive)
    made |= {"currentRevision": name, "updateRevision": view.update}
    made["collisionCount"] = old.get("collisionCount") or 0
    return made | ({"conditions": old["conditions"]} if old.get("conditions") else {})
