"""The CPU manager: which processors a container may run on.

With the static policy a container of a Guaranteed pod that asks for whole processors gets them for itself; everybody
else shares the rest. The choice is pure and prefers processors that belong together: whole NUMA nodes, then whole
cores. What was given away is kept on disk, in upstream's file, so that a restart of the kubelet moves nobody.
"""

import json
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pynetes.kubelet import podspec, qos
from pynetes.kubelet.cm import resources
from pynetes.machinery.meta import Object

STATE = "cpu_manager_state"
POLICIES = ("none", "static")


class Unavailable(Exception):
    """There are not enough processors for a container to have for itself."""


class Cpu(NamedTuple):
    """A processor: its number, its core, its NUMA node."""

    number: int
    core: tuple[int, int]
    node: int


def read(sys: Path = Path("/sys/devices/system")) -> list[Cpu]:
    """The machine's processors."""
    nodes = {}
    for path in sys.glob("node/node[0-9]*/cpulist"):
        for number in parse(path.read_text().strip()):
            nodes[number] = int(path.parent.name.removeprefix("node"))
    found = []
    for path in sys.glob("cpu/cpu[0-9]*"):
        number = int(path.name.removeprefix("cpu"))
        core, package = _number(path / "topology/core_id", number), _number(path / "topology/physical_package_id", 0)
        found.append(Cpu(number, (package, core), nodes.get(number, 0)))
    return sorted(found)


def parse(text: str) -> set[int]:
    """0-2,5 as numbers."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def shown(numbers: Iterable[int]) -> str:
    """Numbers as 0-2,5."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def take(free: Iterable[int], cpus: Sequence[Cpu], wanted: int, near: Iterable[int] = ()) -> set[int]:
    """Choose processors: from the NUMA nodes `near` first, whole nodes, whole cores, then what is left. Raises
    Unavailable. Pure."""
    left, near = set(free), set(near)
    if len(left) < wanted:
        raise Unavailable(f"not enough cpus available to satisfy request: requested={wanted}, available={len(left)}")
    chosen: set[int] = set()
    by_node, by_core = _groups(cpus, lambda one: one.node), _groups(cpus, lambda one: one.core)
    for groups in (by_node, by_core, [{one.number} for one in cpus]):
        # Among equals the fullest node last, so that small requests do not break up what large ones will need.
        for group in sorted(groups, key=lambda one: (not _within(one, cpus, near), len(one & left), min(one))):
            if group <= left and len(group) <= wanted - len(chosen):
                chosen |= group
                left -= group
    return chosen


def wanted(pod: Object, container: Object) -> int:
    """How many processors a container is to have for itself. Pure."""
    if qos.of_pod(pod) != qos.GUARANTEED:
        return 0
    own = container.get("resources") or {}
    asked = resources.milli({**(own.get("limits") or {}), **(own.get("requests") or {})}, "cpu")
    return asked // 1000 if asked and asked % 1000 == 0 else 0


@dataclass(kw_only=True)
class Cpus:
    """Processors of one node and who has them. policy is none or static; reserved are never given away."""

    policy: str = "none"
    cpus: list[Cpu] = field(default_factory=list)
    reserved: set[int] = field(default_factory=set)
    path: Path | None = None
    #: By pod UID and container.
    given: dict[tuple[str, str], set[int]] = field(default_factory=dict)

    @classmethod
    def make(cls, policy: str, path: Path, *, reserved_cpus: str, reserved_milli: int) -> "Cpus":
        """Read the machine and the state. ValueError names what is wrong."""
        if policy not in POLICIES:
            raise ValueError(f"--cpu-manager-policy {policy!r} is unknown: it is one of {', '.join(POLICIES)}")
        cpus = read()
        count = math.ceil(reserved_milli / 1000)
        reserved = parse(reserved_cpus) or {one.number for one in sorted(cpus, key=lambda one: one.core)[:count]}
        if policy == "static" and not reserved:
            raise ValueError("--cpu-manager-policy static needs processors for the system: set --kube-reserved cpu=…")
        made = cls(policy=policy, cpus=cpus, reserved=reserved, path=path)
        made.load()
        return made

    @property
    def static(self) -> bool:
        """Whether any are given away at all."""
        return self.policy == "static"

    def shared(self) -> set[int]:
        """What everybody else runs on."""
        return {one.number for one in self.cpus}.difference(*self.given.values())

    def allocatable(self) -> Sequence[int]:
        """Those that may be given away, as the pod resources API tells."""
        return sorted({one.number for one in self.cpus} - self.reserved)

    def of_container(self, uid: str, container: str) -> Sequence[int]:
        """A container's own."""
        return sorted(self.given.get((uid, container), ()))

    def cpuset(self, uid: str, container: str) -> str:
        """What the runtime is told; "" where all may run everywhere."""
        if not self.static:
            return ""
        return shown(self.given.get((uid, container)) or self.shared())

    def allocate(self, pod: Object, places: Mapping[str, Collection[int]] | None = None) -> bool:
        """Give a pod's containers theirs, from the NUMA nodes in places first; whether there were any.

        Raises Unavailable, and then it has none."""
        uid, taken = pod["metadata"]["uid"], False
        if not self.static or any(owner == uid for owner, _ in self.given):
            return False
        reusable: set[int] = set()
        try:
            for container, lasting in _containers(pod):
                count = wanted(pod, container)
                if not count:
                    continue
                near = (places or {}).get(container["name"], ())
                free = (self.shared() - self.reserved) | reusable
                # What an init container leaves is taken first: it is free for this pod only.
                own = take(reusable, self.cpus, min(count, len(reusable)), near)
                own |= take(free - own, self.cpus, count - len(own), near)
                self.given[uid, container["name"]] = own
                reusable = reusable - own if lasting else reusable | own
                taken = True
        except Unavailable:
            self.release(uid)
            raise
        if taken:
            self.save()
        return taken

    def release(self, uid: str) -> bool:
        """A pod is over; whether it had any."""
        gone = [key for key in self.given if key[0] == uid]
        for key in gone:
            del self.given[key]
        if gone:
            self.save()
        return bool(gone)

    def save(self) -> None:
        """Write the state."""
        if self.path is None or not self.static:
            return
        entries: dict[str, dict[str, str]] = {}
        for (uid, container), own in self.given.items():
            entries.setdefault(uid, {})[container] = shown(own)
        data = {"policyName": self.policy, "defaultCpuSet": shown(self.shared()), "entries": entries}
        fresh = self.path.with_suffix(".tmp")
        fresh.write_text(json.dumps({**data, "checksum": _sum(data)}))
        fresh.replace(self.path)

    def load(self) -> None:
        """Read it. ValueError where it is not ours: moving processors under running pods would be worse."""
        if self.path is None or not self.path.exists() or not self.static:
            return
        document = json.loads(self.path.read_text())
        checksum = document.pop("checksum", None)
        known = {one.number for one in self.cpus}
        entries = document.get("entries") or {}
        given = {(uid, name): parse(own) for uid, inner in entries.items() for name, own in inner.items()}
        if checksum != _sum(document) or not set().union(*given.values()) <= known:
            raise ValueError(f"{self.path} does not fit this machine; drain the node and remove the file")
        self.given = given


def _containers(pod: Object) -> Iterator[tuple[Object, bool]]:
    for one in podspec.inits(pod):
        yield one, podspec.is_sidecar(one)
    for one in podspec.regulars(pod):
        yield one, True


def _groups(cpus: Sequence[Cpu], key: Callable[[Cpu], object]) -> list[set[int]]:
    found: dict[object, set[int]] = {}
    for one in cpus:
        found.setdefault(key(one), set()).add(one.number)
    return list(found.values())


def _within(group: set[int], cpus: Sequence[Cpu], near: set[int]) -> bool:
    return not near or all(one.node in near for one in cpus if one.number in group)


def _number(path: Path, otherwise: int) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return otherwise


def _sum(data: object) -> int:
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())
