"""The kubelet's part of the cgroup tree: ROOT/kubepods[/burstable|/besteffort]/podUID, on cgroups v1 and v2.

Containers' own groups are the runtime's. Pods of class Guaranteed stand right below kubepods. Without write access to
a controller the kubelet still works: limits of containers are the runtime's to set; only what spans a pod is missing.
"""

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from pynetes.kubelet import podspec, qos
from pynetes.kubelet.cm import resources
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

MOUNT = Path("/sys/fs/cgroup")
#: Controllers in which v1 keeps limits of pods.
LIMITED = ("cpu", "memory", "pids")


class Cgroups:
    """Makes and removes pods' groups below root ("" is the top of the tree)."""

    def __init__(self, root: str = "", mount: Path = MOUNT, *, pids: int = -1) -> None:
        self._pids = pids
        #: The shares that the Burstable class has.
        self._shared = 0
        self._root = PurePosixPath("/", root.strip("/"), "kubepods")
        self._mount = mount
        self.unified = (mount / "cgroup.controllers").exists()

    @property
    def root(self) -> str:
        """The group that all pods are in."""
        return str(self._root)

    def parent(self, pod: Object) -> str:
        """The cgroup_parent of a pod's sandbox."""
        quality = pod.get("status", {}).get("qosClass") or qos.of_pod(pod)
        base = self._root if quality == qos.GUARANTEED else self._root / quality.lower()
        return str(base / f"pod{pod['metadata']['uid']}")

    def prepare(self, limits: Mapping[str, int] | None = None) -> None:
        """Make the groups of the classes; limits are what all pods together may take (see node.for_pods)."""
        for tier in (self._root, self._root / "burstable", self._root / "besteffort"):
            self._make(tier)
        self._set(self._root / "besteffort", "cpu", self._shares(resources.MIN_SHARES))
        limits = limits or {}
        if "cpu" in limits:
            self._set(self._root, "cpu", self._shares(resources.shares(limits["cpu"])))
        if "memory" in limits:
            self._set(self._root, "memory", self._memory(limits["memory"]))
        if "pids" in limits:
            self._set(self._root, "pids", {"pids.max": str(limits["pids"])})

    def share(self, pods: Iterable[Object]) -> None:
        """Give the Burstable class the shares that its pods have asked for together."""
        burstable = [pod for pod in pods if qos.of_pod(pod) == qos.BURSTABLE]
        asked = sum(resources.pod_requests(pod).get("cpu", 0) for pod in burstable)
        wanted = resources.shares(asked)
        if wanted != self._shared:
            self._shared = wanted
            self._set(self._root / "burstable", "cpu", self._shares(wanted))

    def create(self, pod: Object) -> None:
        """Make a pod's group and set the limits that its containers have together."""
        path = PurePosixPath(self.parent(pod))
        self._make(path)
        requests, limits = pod_amounts(pod)
        self._set(path, "cpu", self._shares(resources.shares(requests.get("cpu", 0))))
        if "cpu" in limits:
            quota = resources.quota(limits["cpu"])
            if self.unified:
                self._set(path, "cpu", {"cpu.max": f"{quota} {resources.PERIOD}"})
            else:
                self._set(path, "cpu", {"cpu.cfs_period_us": str(resources.PERIOD), "cpu.cfs_quota_us": str(quota)})
        if "memory" in limits:
            self._set(path, "memory", self._memory(limits["memory"] // 1000))
        if self._pids > 0:
            self._set(path, "pids", {"pids.max": str(self._pids)})

    def open(self, pod: Object) -> None:
        """Take a pod's own limits off, while those of its containers change: neither may be below the other."""
        path = PurePosixPath(self.parent(pod))
        if self.unified:
            self._set(path, "", {"cpu.max": f"max {resources.PERIOD}", "memory.max": "max"})
        else:
            self._set(path, "cpu", {"cpu.cfs_quota_us": "-1"})
            self._set(path, "memory", {"memory.limit_in_bytes": "-1"})

    def remove(self, uid: str) -> None:
        """Remove a pod's group from every controller, with what the runtime left inside it."""
        for tier in (self._root, self._root / "burstable", self._root / "besteffort"):
            for base in self._hierarchies():
                _remove_tree(base / str(tier / f"pod{uid}").lstrip("/"))

    def pods(self) -> set[str]:
        """UIDs of the pods that have a group."""
        found: set[str] = set()
        base = self._mount if self.unified else self._mount / "cpu"
        for tier in (self._root, self._root / "burstable", self._root / "besteffort"):
            folder = base / str(tier).lstrip("/")
            with contextlib.suppress(OSError):
                found.update(entry.name[3:] for entry in folder.iterdir() if entry.name.startswith("pod"))
        return found

    def _memory(self, size: int) -> dict[str, str]:
        return {"memory.max" if self.unified else "memory.limit_in_bytes": str(size)}

    def _shares(self, cpu_shares: int) -> dict[str, str]:
        if self.unified:
            return {"cpu.weight": str(resources.weight(cpu_shares))}
        return {"cpu.shares": str(cpu_shares)}

    def _hierarchies(self) -> Iterator[Path]:
        if self.unified:
            yield self._mount
            return
        with contextlib.suppress(OSError):
            seen: set[Path] = set()
            for entry in sorted(self._mount.iterdir()):
                real = entry.resolve()
                if real.is_dir() and real not in seen:
                    seen.add(real)
                    yield real

    def _make(self, path: PurePosixPath) -> None:
        with _tolerated("make", path):
            if self.unified:
                self._make_unified(path)
            else:
                for controller in LIMITED:
                    (self._mount / controller / str(path).lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _make_unified(self, path: PurePosixPath) -> None:
        folder = self._mount
        for part in path.parts[1:]:
            # A child has only the controllers that its parent hands down.
            for controller in (folder / "cgroup.controllers").read_text().split():
                with contextlib.suppress(OSError):
                    (folder / "cgroup.subtree_control").write_text(f"+{controller}")
            folder = folder / part
            folder.mkdir(exist_ok=True)
        # The pod's own group hands them down to its containers.
        for controller in (folder / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")

    def _set(self, path: PurePosixPath, controller: str, values: dict[str, str]) -> None:
        base = self._mount if self.unified else self._mount / controller
        for name, value in values.items():
            with _tolerated("set", path / name):
                (base / str(path).lstrip("/") / name).write_text(value)


def pod_amounts(pod: Object) -> tuple[dict[str, int], dict[str, int]]:
    """Requests of the pod, and limits for what every container limits; in thousandths."""
    limits: dict[str, int] = {}
    containers = podspec.regulars(pod) + [one for one in podspec.inits(pod) if podspec.is_sidecar(one)]
    declared = (pod["spec"].get("resources") or {}).get("limits") or {}
    for name in ("cpu", "memory"):
        each = [resources.milli((one.get("resources") or {}).get("limits") or {}, name) for one in containers]
        if name in declared:
            limits[name] = resources.milli(declared, name)
        elif each and all(each):
            limits[name] = sum(each)
    return resources.pod_requests(pod), limits


@contextlib.contextmanager
def _tolerated(what: str, path: PurePosixPath) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.info("cannot %s cgroup %s: %s", what, path, error)


def _remove_tree(folder: Path) -> None:
    if not folder.is_dir():
        return
    for inner, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):
            Path(inner).rmdir()
