"""A Deployment under real load: its processes use all the CPU that they may, until somebody tells them to stop.

Metrics need half a minute to show anything, and an autoscaler as long to follow. So the load begins before the first
test that could use the time, and ends before others; each step can also be waited for alone.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # It has the fixtures, which need this.
    from tests.e2e.conftest import Cluster

#: A tenth of a processor, and 40 MiB that stay where they are.
SCRIPT = (
    "dd if=/dev/zero of=/dev/shm/held bs=1M count=40 2>/dev/null; while [ ! -e /tmp/stop ]; do :; done; exec sleep 3600"
)
OBJECTS = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: busy}}
spec:
  selector: {{matchLabels: {{app: busy}}}}
  template:
    metadata: {{labels: {{app: busy}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: main
          image: pynetes.io/busybox:1.35
          command: [sh, -c, "{SCRIPT}"]
          resources: {{requests: {{cpu: 50m, memory: 60Mi}}, limits: {{cpu: 100m}}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: busy}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: busy}}
  maxReplicas: 2
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 50}}}}}}]
  behavior:
    scaleDown: {{stabilizationWindowSeconds: 0, policies: [{{type: Pods, value: 5, periodSeconds: 15}}]}}
"""
CGROUPS = Path("/sys/fs/cgroup")


def until(
    holds: Callable[[], bool], what: str, within: float = 120.0, *, instead: Callable[[], str] = lambda: ""
) -> None:
    """Wait for it; a failure shows what is there instead."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"{what} within {within:.0f} s {instead()}"
        time.sleep(0.5)


class Busy:
    """The Deployment, and the kernel's own counters of its first pod, read all the time."""

    def __init__(self, cluster: "Cluster") -> None:
        self.cluster = cluster
        found = cluster.json("get", "pods", "-l", "app=busy")["items"][0]
        self.pod = str(found["metadata"]["name"])
        self._group = _group(found["metadata"]["uid"])
        self._samples: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.2):
            try:
                self._samples.append((time.time(), _cpu(self._group)))
            except OSError:
                return

    def end(self) -> None:
        """Read no more."""
        self._ended.set()
        self._thread.join()

    def replicas(self) -> int:
        """How many the Deployment shall have."""
        return int(self.cluster.json("get", "deployment", "busy")["spec"]["replicas"])

    def covers(self, start: float, stop: float) -> bool:
        """Whether there are samples from before start and after stop, which are times in Unix seconds."""
        return bool(self._samples) and self._samples[0][0] <= start and stop <= self._samples[-1][0]

    def millicores(self, start: float, stop: float) -> float:
        """The use between two times, by the cgroup's own counter."""
        return 1000 * (self._at(stop) - self._at(start)) / (stop - start)

    def _at(self, moment: float) -> float:
        behind = max(bisect_left(self._samples, (moment, 0.0)), 1)
        (t0, used0), (t1, used1) = self._samples[behind - 1 : behind + 1]
        return used0 + (used1 - used0) * (moment - t0) / (t1 - t0)

    def mebibytes(self) -> float:
        """The working set now: what is used and could not be given up at once."""
        folder = self._group["memory"]
        old = (folder / "memory.usage_in_bytes").exists()
        used = int((folder / ("memory.usage_in_bytes" if old else "memory.current")).read_text())
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return (used - int(stat["total_inactive_file" if old else "inactive_file"])) / 2**20


def _group(uid: str) -> dict[str, Path]:
    """The pod's cgroup, by controller; version 2 has one for all."""
    old = (CGROUPS / "cpuacct").exists()
    roots = {name: CGROUPS / name if old else CGROUPS for name in ("cpuacct", "memory")}
    return {name: next(root.rglob(f"*pod{uid}*")) for name, root in roots.items()}


def _cpu(group: dict[str, Path]) -> float:
    """Seconds of processor time so far."""
    old = group["cpuacct"] / "cpuacct.usage"
    if old.exists():
        return int(old.read_text()) / 1e9
    return int((group["cpuacct"] / "cpu.stat").read_text().split()[1]) / 1e6


def unix(text: str) -> float:
    """A time of the API."""
    return datetime.fromisoformat(text).timestamp()
