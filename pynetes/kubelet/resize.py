"""In-place resize: what of a pod's wanted resources is granted (allocated), and what the runtime was told (actuated).

A wish is granted when it fits beside what the other pods were granted; until then the pod goes on with what it has, and
a condition says whether that may change (Deferred) or not (Infeasible). What was granted is kept on disk, so that a
restart of the kubelet neither forgets a grant nor grants twice. KEP-1287.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pynetes.kubelet import podspec, qos
from pynetes.kubelet.cm import resources
from pynetes.machinery import quantity
from pynetes.machinery.meta import Object

STATE = "allocated_pods_state"
PENDING, IN_PROGRESS = "PodResizePending", "PodResizeInProgress"
#: The resources that can be changed in place.
RESIZABLE = ("cpu", "memory")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a wish is not granted, "" when it is; reason is Deferred or Infeasible."""

    reason: str = ""
    message: str = ""


def judge(pod: Object, others: Iterable[Object], allocatable: Mapping[str, str], *, exclusive: bool) -> Verdict:
    """Whether what the pod wants fits. exclusive: whole CPUs are given to Guaranteed pods for themselves. Pure."""
    if exclusive and qos.of_pod(pod) == qos.GUARANTEED:
        text = "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy"
        return Verdict(reason="Infeasible", message=text)
    wanted = resources.pod_requests(pod)
    used: dict[str, int] = {}
    for other in others:
        for name, amount in resources.pod_requests(other).items():
            used[name] = used.get(name, 0) + amount
    for name in RESIZABLE:
        have, ask = quantity.parse(allocatable.get(name, "0")).milli(), wanted.get(name, 0)
        unit = 1 if name == "cpu" else 1000
        shown = f"{name}, requested: {ask // unit}, capacity: {have // unit}"
        if ask > have:
            return Verdict(reason="Infeasible", message=f"Node didn't have enough capacity: {shown}")
        if ask + used.get(name, 0) > have:
            text = f"Node didn't have enough resource: {name}, requested: {ask // unit}, "
            text += f"used: {used.get(name, 0) // unit}, capacity: {have // unit}"
            return Verdict(reason="Deferred", message=text)
    return Verdict()


def with_resources(pod: Object, granted: Mapping[str, Object]) -> Object:
    """The pod as if its containers asked for what they were granted. Pure."""
    spec = dict(pod["spec"])
    for kind in ("initContainers", "containers"):
        if kind in spec:
            spec[kind] = [
                {**one, "resources": granted[one["name"]]} if one["name"] in granted else one for one in spec[kind]
            ]
    return {**pod, "spec": spec}


def wanted(pod: Object) -> dict[str, Object]:
    """The resources of each container that can be resized: ordinary ones and sidecars."""
    lasting = [one for one in podspec.inits(pod) if podspec.is_sidecar(one)] + podspec.regulars(pod)
    return {one["name"]: one.get("resources") or {} for one in lasting}


def same(one: Object, other: Object) -> bool:
    """Whether two resources mean the same amounts; 1000m is 1."""
    return _amounts(one) == _amounts(other)


def restarts(container: Object, before: Object, now: Object) -> bool:
    """Whether the container's policy wants a restart for what changes."""
    policies = {one["resourceName"]: one["restartPolicy"] for one in container.get("resizePolicy") or ()}
    old, new = _amounts(before), _amounts(now)
    changed = {name for kind, name in old.keys() | new.keys() if old.get((kind, name)) != new.get((kind, name))}
    return any(policies.get(name) == "RestartContainer" for name in changed)


def _amounts(given: Object) -> dict[tuple[str, str], int]:
    return {
        (kind, name): quantity.parse(amount).milli()
        for kind in ("requests", "limits")
        for name, amount in (given.get(kind) or {}).items()
    }


@dataclass(kw_only=True)
class Shown:
    """What the status tells: resources by container, and the conditions."""

    allocated: dict[str, Object] = field(default_factory=dict)
    actuated: dict[str, Object] = field(default_factory=dict)
    conditions: list[Object] = field(default_factory=list)


@dataclass(kw_only=True)
class Grants:
    """All grants of the node, by pod UID and container."""

    path: Path
    allocated: dict[str, dict[str, Object]] = field(default_factory=dict)
    actuated: dict[str, dict[str, Object]] = field(default_factory=dict)
    #: By UID, why a wish is not granted yet, and what went wrong with one that was.
    pending: dict[str, Verdict] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def load(self) -> None:
        """Read what an earlier kubelet granted; without it, what the specs say counts as granted."""
        try:
            document = json.loads(self.path.read_text())
            self.allocated, self.actuated = dict(document["allocated"]), dict(document["actuated"])
        except (OSError, ValueError, KeyError, TypeError):
            self.allocated, self.actuated = {}, {}

    def save(self) -> None:
        """Write it."""
        fresh = self.path.with_suffix(".tmp")
        fresh.write_text(json.dumps({"allocated": self.allocated, "actuated": self.actuated}))
        fresh.replace(self.path)

    def granted(self, pod: Object) -> Object:
        """The pod with what it was granted."""
        return with_resources(pod, self.allocated.get(pod["metadata"]["uid"], {}))

    def wishes(self, pod: Object) -> bool:
        """Whether the pod wants something else than it was granted."""
        known = self.allocated.get(pod["metadata"]["uid"])
        if known is None:
            return False
        return any(not same(known.get(name, own), own) for name, own in wanted(pod).items())

    def first(self, pod: Object) -> None:
        """A pod begins with what it asks for."""
        self.allocated.setdefault(pod["metadata"]["uid"], wanted(pod))

    def grant(self, pod: Object) -> None:
        """Give the pod what it wants now."""
        uid = pod["metadata"]["uid"]
        self.allocated[uid] = wanted(pod)
        self.pending.pop(uid, None)
        self.save()

    def started(self, uid: str, container: str, given: Object) -> None:
        """A container runs with these."""
        self.actuated.setdefault(uid, {})[container] = given
        self.save()

    def forget(self, uid: str) -> None:
        """A pod is over."""
        found = [known.pop(uid, None) for known in (self.allocated, self.actuated, self.pending, self.errors)]
        if any(found[:2]):
            self.save()

    def outstanding(self, uid: str) -> dict[str, Object]:
        """Containers that do not run with what they were granted yet."""
        running = self.actuated.get(uid, {})
        granted = self.allocated.get(uid, {})
        return {name: own for name, own in granted.items() if name in running and not same(running[name], own)}

    def shown(self, uid: str) -> Shown:
        """For the pod's status."""
        conditions: list[Object] = []
        if uid in self.pending:
            verdict = self.pending[uid]
            conditions.append({"type": PENDING, "reason": verdict.reason, "message": verdict.message})
        if self.outstanding(uid):
            error = self.errors.get(uid, "")
            conditions.append({"type": IN_PROGRESS, **({"reason": "Error", "message": error} if error else {})})
        return Shown(allocated=self.allocated.get(uid, {}), actuated=self.actuated.get(uid, {}), conditions=conditions)
