"""The newest two points of every series, and the usage between them. Pure.

CPU is a counter of seconds, so usage needs two points; a container that started within the last cycle is measured from
its start. What was not scraped in the last cycle is not known.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
#: Series → (kind of thing, quantity).
_SERIES = {
    "node_cpu_usage_seconds_total": ("node", "cpu"),
    "node_memory_working_set_bytes": ("node", "memory"),
    "container_cpu_usage_seconds_total": ("container", "cpu"),
    "container_memory_working_set_bytes": ("container", "memory"),
    "container_start_time_seconds": ("container", "started"),
}
#: Ages at which a container is measured from its start, for want of an earlier point: a younger one has no meaningful
#: rate, and of an older one it would be an average over days.
YOUNGEST, OLDEST = 5.0, 60.0


class Point(NamedTuple):
    """What one thing had used at a time: seconds of CPU since started, bytes of memory now."""

    at: float
    cpu: float
    memory: float
    #: Seconds since the epoch; 0 when the kubelet does not say.
    started: float = 0.0


class Usage(NamedTuple):
    """Cores and bytes, over a window that ended at a time (both in seconds)."""

    cpu: float
    memory: float
    at: float
    window: float


class Container(NamedTuple):
    """Names a container."""

    namespace: str
    pod: str
    name: str


class Scraped(NamedTuple):
    """What one kubelet said."""

    node: Point | None
    containers: dict[Container, Point]


def read(text: str, now: float) -> Scraped:
    """Read the exposition of /metrics/resource; lines that are none of ours are skipped. Raises ValueError."""
    found: dict[Container | None, dict[str, float]] = {}
    for line in text.splitlines():
        name = line[: next((at for at, letter in enumerate(line) if letter in "{ "), 0)]
        about = _SERIES.get(name)
        if about is None:
            continue
        labels, rest = line[len(name) :], line[len(name) :]
        if labels.startswith("{"):
            end = labels.rindex("}")
            labels, rest = labels[1:end], labels[end + 1 :]
        value, *stamp = rest.split()
        which: Container | None = None
        if about[0] == "container":
            pairs = dict(_LABEL.findall(labels))
            which = Container(pairs.get("namespace", ""), pairs.get("pod", ""), pairs.get("container", ""))
        entry = found.setdefault(which, {})
        entry[about[1]] = float(value)
        if stamp and about[1] == "cpu":
            entry["at"] = float(stamp[0]) / 1000
    points = {which: _point(entry, now) for which, entry in found.items() if {"cpu", "memory"} <= entry.keys()}
    return Scraped(points.pop(None, None), {which: point for which, point in points.items() if which is not None})


def _point(entry: Mapping[str, float], now: float) -> Point:
    point = Point(entry.get("at", now), entry["cpu"], entry["memory"], entry.get("started", 0.0))
    if not all(0 <= each < float("inf") for each in point):
        raise ValueError("a sample is negative or no number")
    return point


def usage(before: Point | None, after: Point) -> Usage | None:
    """What was used between two points; None as long as that is not known."""
    restarted = before is not None and (after.started > before.started or after.cpu < before.cpu)
    if before is None or restarted:
        age = after.at - after.started
        if not after.started or not YOUNGEST <= age <= OLDEST:
            return None
        return Usage(after.cpu / age, after.memory, after.at, age)
    window = after.at - before.at
    return Usage((after.cpu - before.cpu) / window, after.memory, after.at, window) if window > 0 else None


class Pair(NamedTuple):
    """The last two points."""

    before: Point | None
    after: Point

    def then(self, point: Point) -> "Pair":
        """With a newer point. The same one again changes nothing; an older one means a clock put back: start over."""
        if point.at > self.after.at:
            return Pair(self.after, point)
        return self if point.at == self.after.at else Pair(None, point)

    @property
    def usage(self) -> Usage | None:
        """Between the two."""
        return usage(self.before, self.after)


class Points:
    """All series of the cluster."""

    def __init__(self) -> None:
        self.nodes: dict[str, Pair] = {}
        self.pods: dict[tuple[str, str], dict[str, Pair]] = {}

    def add(self, name: str, scraped: Scraped) -> None:
        """What a node's kubelet said: known at once, whatever the others do."""
        if scraped.node is not None:
            self.nodes[name] = _next(self.nodes.get(name), scraped.node)
        fresh: dict[tuple[str, str], dict[str, Pair]] = {}
        for container, point in scraped.containers.items():
            pod = (container.namespace, container.pod)
            kept = self.pods.get(pod, {}).get(container.name)
            fresh.setdefault(pod, {})[container.name] = _next(kept, point)
        self.pods.update(fresh)

    def keep(self, cycle: Mapping[str, Scraped]) -> None:
        """A cycle is over: what is in none of its scrapes is forgotten."""
        seen = {(each.namespace, each.pod) for scraped in cycle.values() for each in scraped.containers}
        self.nodes = {name: pair for name, pair in self.nodes.items() if name in cycle and cycle[name].node is not None}
        self.pods = {pod: pairs for pod, pairs in self.pods.items() if pod in seen}

    def of_node(self, name: str) -> Usage | None:
        """Usage of a node."""
        pair = self.nodes.get(name)
        return pair.usage if pair else None

    def of_pod(self, namespace: str, name: str) -> dict[str, Usage] | None:
        """Usage of each container; None until it is known of all that run."""
        found = self.pods.get((namespace, name))
        if not found:
            return None
        each = {container: pair.usage for container, pair in sorted(found.items())}
        known = {container: one for container, one in each.items() if one is not None}
        return known if len(known) == len(each) else None


def _next(pair: Pair | None, point: Point) -> Pair:
    return Pair(None, point) if pair is None else pair.then(point)


def earliest(used: Iterable[Usage]) -> Usage:
    """The one whose point is oldest: what a pod's timestamp and window are taken from, as upstream does."""
    return min(used, key=lambda one: one.at)
