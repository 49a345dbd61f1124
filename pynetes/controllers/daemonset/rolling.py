"""What a DaemonSet does next: the pods to create, by node, and the pods to delete."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pynetes.controllers import _history as history
from pynetes.controllers import _pods as podinfo
from pynetes.controllers.daemonset import placement
from pynetes.machinery import intstr
from pynetes.machinery.meta import Object, is_deleting


@dataclass
class Step:
    """The writes of one reconcile."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    #: Of the deleted ones, those that had failed: they are told of.
    failed: list[Object] = field(default_factory=list)


@dataclass(frozen=True)
class View:
    """The snapshot that decisions are made on."""

    daemonset: Object
    nodes: Sequence[Object]
    #: Node name → its daemons, terminating ones too.
    pods: Mapping[str, Sequence[Object]]
    digest: str
    now: datetime

    def is_new(self, pod: Object) -> bool:
        """Whether the pod is of the present template."""
        return bool((pod["metadata"].get("labels") or {}).get(history.HASH_LABEL) == self.digest)

    def is_available(self, pod: Object) -> bool:
        """Whether the pod has been ready for minReadySeconds."""
        return podinfo.is_available(pod, self.daemonset["spec"].get("minReadySeconds", 0), self.now)

    def limits(self) -> tuple[int, int]:
        """maxSurge and maxUnavailable, of the number of nodes that should have a daemon."""
        wanted = sum(placement.should_run(self.daemonset, node)[0] for node in self.nodes)
        rolling = (self.daemonset["spec"].get("updateStrategy") or {}).get("rollingUpdate") or {}
        surge = intstr.scaled(rolling.get("maxSurge", 0), wanted, round_up=True)
        unavailable = intstr.scaled(rolling.get("maxUnavailable", 1), wanted, round_up=True)
        return surge, unavailable if surge or unavailable else 1


def group(pods: Sequence[Object]) -> dict[str, list[Object]]:
    """The pods by the node they are on or meant for."""
    found: dict[str, list[Object]] = {}
    for pod in pods:
        found.setdefault(placement.node_of(pod), []).append(pod)
    return found


def manage(view: View) -> Step:
    """One daemon on every node that should have one, none elsewhere."""
    step = Step()
    surges = view.limits()[0] > 0
    for node in view.nodes:
        name = node["metadata"]["name"]
        runs, stays = placement.should_run(view.daemonset, node)
        here = view.pods.get(name) or ()
        if not stays:
            step.delete += (pod for pod in here if not is_deleting(pod))
            continue
        if runs and not here:
            step.create.append(name)
            continue
        _tidy(view, step, here, surges=surges)
    known = {node["metadata"]["name"] for node in view.nodes}
    for name, pods in view.pods.items():
        if name not in known:
            step.delete += (pod for pod in pods if not is_deleting(pod) and not pod["spec"].get("nodeName"))
    return step


def _tidy(view: View, step: Step, here: Sequence[Object], *, surges: bool) -> None:
    """Remove failed daemons and doubles; the oldest one stays, with surge the oldest of each template."""
    kept: set[bool] = set()
    for pod in sorted(here, key=lambda each: (not each["spec"].get("nodeName"), podinfo.created(each))):
        if is_deleting(pod):
            continue
        if podinfo.phase(pod) == "Failed":
            step.failed.append(pod)
            step.delete.append(pod)
            continue
        kind = view.is_new(pod) if surges else True
        if kind in kept:
            step.delete.append(pod)
        kept.add(kind)


def roll(view: View) -> Step:
    """The next step of a rolling update."""
    surge, unavailable = view.limits()
    return _roll_surging(view, surge) if surge else _roll(view, unavailable)


def _pair(view: View, here: Sequence[Object]) -> tuple[Object | None, Object | None]:
    """The new and the old daemon of a node."""
    alive = [pod for pod in here if not is_deleting(pod) and not podinfo.is_terminal(pod)]
    new = next((pod for pod in alive if view.is_new(pod)), None)
    old = next((pod for pod in alive if not view.is_new(pod)), None)
    return new, old


def _roll(view: View, unavailable: int) -> Step:
    """Delete old daemons: those that serve nobody at once, others as maxUnavailable permits."""
    step, candidates, down = Step(), list[Object](), 0
    for node in view.nodes:
        if not placement.should_run(view.daemonset, node)[0]:
            continue
        new, old = _pair(view, view.pods.get(node["metadata"]["name"]) or ())
        if new is not None:
            down += not view.is_available(new)
        elif old is None:
            down += 1
        elif view.is_available(old):
            candidates.append(old)
        else:
            step.delete.append(old)
            down += 1
    step.delete += candidates[: max(0, unavailable - down)]
    return step


def _roll_surging(view: View, surge: int) -> Step:
    """Create new daemons beside the old; an old one goes once its successor is available."""
    step, candidates, extra = Step(), list[str](), 0
    for node in view.nodes:
        name = node["metadata"]["name"]
        if not placement.should_run(view.daemonset, node)[0]:
            continue
        new, old = _pair(view, view.pods.get(name) or ())
        if old is None:
            continue
        if new is None:
            if view.is_available(old):
                candidates.append(name)
            else:
                step.create.append(name)
        elif view.is_available(new):
            step.delete.append(old)
        else:
            extra += 1
    step.create += candidates[: max(0, surge - extra)]
    return step


def status(view: View) -> Object:
    """The counts of the status."""
    old = view.daemonset.get("status") or {}
    desired = current = misplaced = ready = available = updated = 0
    for node in view.nodes:
        runs = placement.should_run(view.daemonset, node)[0]
        here = [pod for pod in view.pods.get(node["metadata"]["name"]) or () if not is_deleting(pod)]
        if not runs:
            misplaced += bool(here)
            continue
        desired += 1
        if here:
            current += 1
            pod = min(here, key=lambda each: (not view.is_new(each), podinfo.created(each)))
            ready += any(podinfo.is_ready(each) for each in here)
            available += any(view.is_available(each) for each in here)
            updated += view.is_new(pod)
    made: Object = {
        "currentNumberScheduled": current,
        "numberMisscheduled": misplaced,
        "desiredNumberScheduled": desired,
        "numberReady": ready,
        "observedGeneration": view.daemonset["metadata"].get("generation", 0),
    }
    optional = {
        "updatedNumberScheduled": updated,
        "numberAvailable": available,
        "numberUnavailable": desired - available,
        "collisionCount": old.get("collisionCount") or 0,
    }
    made |= {name: count for name, count in optional.items() if count}
    return made | ({"conditions": old["conditions"]} if old.get("conditions") else {})
