"""How many replicas a metric asks for. Pure: upstream's arithmetic, with its care for pods that cannot be judged.

A pod that has no sample is taken to use nothing when the others ask for more replicas, and all of its target when they
ask for fewer, so that what is not known never makes the change larger. Amounts are in thousandths.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pynetes.controllers import _conditions as conditions
from pynetes.controllers import _pods as podinfo
from pynetes.machinery import time
from pynetes.machinery.meta import Object, is_deleting
from pynetes.machinery.quantity import parse

#: How long CPU samples of a pod that is not ready are ignored, and until when a pod counts as never having been ready.
INITIALIZATION, READINESS_DELAY = timedelta(minutes=5), timedelta(seconds=30)
#: By how much usage may differ from its target before anything is done about it.
TOLERANCE = 0.1


class CannotTell(Exception):
    """The metric gives no number of replicas; the text says why."""


class Tolerances(NamedTuple):
    """Below and above the target."""

    down: float = TOLERANCE
    up: float = TOLERANCE

    def hold(self, ratio: float) -> bool:
        """Whether a ratio of usage to target is near enough to 1."""
        return 1 - self.down <= ratio <= 1 + self.up


class Sample(NamedTuple):
    """What a pod used, over a window that ended at a time."""

    amount: int
    at: datetime
    window: timedelta


@dataclass(frozen=True)
class Groups:
    """Pods by what their samples are worth."""

    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def group(pods: Iterable[Object], samples: Mapping[str, Sample], resource: str, now: datetime) -> Groups:
    """Sort the pods."""
    ready, unready, missing, ignored = 0, set[str](), set[str](), set[str]()
    for pod in pods:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        if is_deleting(pod) or status.get("phase") == "Failed":
            ignored.add(name)
        elif status.get("phase") == "Pending":
            unready.add(name)
        elif name not in samples:
            missing.add(name)
        elif resource == "cpu" and _is_settling(pod, samples[name], now):
            unready.add(name)
        else:
            ready += 1
    return Groups(ready, frozenset(unready), frozenset(missing), frozenset(ignored))


def _is_settling(pod: Object, sample: Sample, now: datetime) -> bool:
    """Whether a pod's CPU usage is still that of its start."""
    condition, started = conditions.find(pod, "Ready"), (pod.get("status") or {}).get("startTime")
    if condition is None or not started:
        return True
    since, began = conditions.transition(condition) or now, time.parse(started)
    unready = condition["status"] == "False"
    if began + INITIALIZATION > now:
        return unready or sample.at < since + sample.window
    return unready and began + READINESS_DELAY > since


class Proposal(NamedTuple):
    """The replicas a metric asks for, and what is shown of it: per cent of the requests, average per pod."""

    replicas: int
    utilization: int | None
    average: int


def by_utilization(
    current: int,
    target: int,
    pods: Sequence[Object],
    samples: Mapping[str, Sample],
    *,
    resource: str,
    container: str,
    tolerances: Tolerances,
    now: datetime,
) -> Proposal:
    """From usage as per cent of the requests. Raises CannotTell."""
    groups, known = _known(pods, samples, resource, now)
    requests = {pod["metadata"]["name"]: request_of(pod, resource, container) for pod in pods}

    def ratio(amounts: Mapping[str, int]) -> tuple[float, int]:
        wanted = sum(requests[name] for name in amounts if name in requests)
        if not wanted:
            raise CannotTell("no metrics returned matched known pods")
        per_cent = sum(amounts[name] for name in amounts if name in requests) * 100 // wanted
        return per_cent / target, per_cent

    usage, utilization = ratio(known)
    full = {name: requests[name] * max(100, target) // 100 for name in groups.missing}
    replicas = _decide(current, usage, known, groups, full, lambda amounts: ratio(amounts)[0], tolerances)
    return Proposal(replicas, utilization, sum(known.values()) // len(known))


def by_average(
    current: int,
    target: int,
    pods: Sequence[Object],
    samples: Mapping[str, Sample],
    *,
    resource: str = "",
    tolerances: Tolerances,
    now: datetime,
) -> Proposal:
    """From usage per pod. Raises CannotTell."""
    groups, known = _known(pods, samples, resource, now)

    def ratio(amounts: Mapping[str, int]) -> float:
        return sum(amounts.values()) // len(amounts) / target

    full = dict.fromkeys(groups.missing, target)
    replicas = _decide(current, ratio(known), known, groups, full, ratio, tolerances)
    return Proposal(replicas, None, sum(known.values()) // len(known))


def by_value(current: int, target: int, value: int, pods: Iterable[Object], tolerances: Tolerances) -> int:
    """From one number that all pods together should keep at a target."""
    ratio = value / target
    if current == 0:
        return math.ceil(ratio)
    if tolerances.hold(ratio):
        return current
    return math.ceil(ratio * sum(podinfo.phase(pod) == "Running" and podinfo.is_ready(pod) for pod in pods))


def by_share(current: int, target: int, value: int, tolerances: Tolerances) -> int:
    """From one number of which each pod should have no more than the target."""
    if current and tolerances.hold(value / (target * current)):
        return current
    return math.ceil(value / target)


def _known(
    pods: Sequence[Object], samples: Mapping[str, Sample], resource: str, now: datetime
) -> tuple[Groups, dict[str, int]]:
    if not pods:
        raise CannotTell("no pods returned by selector while calculating replica count")
    groups = group(pods, samples, resource, now)
    names = {pod["metadata"]["name"] for pod in pods} - groups.ignored - groups.unready
    known = {name: sample.amount for name, sample in samples.items() if name in names}
    if not known:
        raise CannotTell("did not receive metrics for targeted pods (pods might be unready)")
    return groups, known


def _decide(
    current: int,
    usage: float,
    known: Mapping[str, int],
    groups: Groups,
    full: Mapping[str, int],
    ratio: Callable[[Mapping[str, int]], float],
    tolerances: Tolerances,
) -> int:
    up_without = bool(groups.unready) and usage > 1
    if not up_without and not groups.missing:
        return current if tolerances.hold(usage) else math.ceil(usage * groups.ready)
    amounts = dict(known)
    if usage < 1:
        amounts |= full
    elif usage > 1:
        amounts |= dict.fromkeys(groups.missing, 0)
    if up_without:
        amounts |= dict.fromkeys(groups.unready, 0)
    careful = ratio(amounts)
    if tolerances.hold(careful) or (usage < 1 < careful) or (usage > 1 > careful):
        return current
    wanted = math.ceil(careful * len(amounts))
    turned = wanted > current if careful < 1 else wanted < current
    return current if turned else wanted


def request_of(pod: Object, resource: str, container: str) -> int:
    """What a pod (or one of its containers) requests. Raises CannotTell."""
    spec = pod["spec"]
    counted = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    counted = [*spec["containers"], *counted]
    if not container and (whole := ((spec.get("resources") or {}).get("requests") or {}).get(resource)):
        return parse(whole).milli()
    total = 0
    for each in counted:
        if container in ("", each["name"]):
            asked = ((each.get("resources") or {}).get("requests") or {}).get(resource)
            if asked is None:
                name = pod["metadata"]["name"]
                raise CannotTell(f"missing request for {resource} in container {each['name']} of Pod {name}")
            total += parse(asked).milli()
    return total
