"""Eviction on a real containerd: what is measured of real pods decides who goes, and the shortage ends with them.

The machine itself is never short: disk and inodes are those of a small file system below the kubelet's root, and for
memory and processes the thresholds are set so high that any machine is below them.
"""

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pynetes.apis.core import nodes, pods
from pynetes.cluster.containerd import Containerd
from pynetes.kubelet.eviction import manager
from pynetes.kubelet.eviction.manager import Eviction
from pynetes.kubelet.eviction.thresholds import Judge, parse
from pynetes.machinery.meta import Key
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

pytestmark = pytest.mark.root
CGROUP = "/pynetes-kubelet-test"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB and 4,000 inodes."""
    place = tmp_path / "root"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=4000", "none", place], check=True)
    yield place
    subprocess.run(["umount", "--recursive", place], check=True)


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager looks when the test says so."""
    monkeypatch.setattr(manager, "INTERVAL", 1e6)


@asynccontextmanager
async def running(containerd: Containerd, root: Path, threshold: str) -> AsyncIterator[tuple[Rig, Eviction]]:
    """A kubelet with one threshold, whose conditions end with the shortage."""
    options = {"eviction_hard": (threshold,), "eviction_pressure_transition_period": 0.0}
    async with rigs.running(containerd.endpoint, root, cgroup_root=CGROUP, **options) as rig:
        assert rig.kubelet.eviction
        yield rig, rig.kubelet.eviction
        for obj in rig.api.listed(pods.RESOURCE):
            rig.api.remove(obj)
        await rig.until(lambda: not rig.kubelet.workers)


def condition(rig: Rig, kind: str) -> str:
    """The status of the node's condition."""
    node = rig.api.get(nodes.RESOURCE, Key("", "n1")) or {}
    return next((str(one["status"]) for one in node["status"]["conditions"] if one["type"] == kind), "")


@pytest.mark.parametrize(
    ("threshold", "work", "resource"),
    [
        ("nodefs.available<50%", "dd if=/dev/zero of=/data/file bs=1M count=40", "ephemeral-storage"),
        ("nodefs.inodesFree<50%", "cd /data; for i in $(seq 2500); do : >$i; done", "inodes"),
    ],
)
async def test_a_full_disk(threshold: str, work: str, resource: str, containerd: Containerd, small: Path) -> None:
    """Who fills the node's disk goes, its files too, and then there is room again."""
    async with running(containerd, small, threshold) as (rig, eviction):
        volumes = [{"name": "data", "emptyDir": {}}]
        mounts = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
        await rig.started(pod("quiet"))
        assert await eviction.once() == ""
        command = f"{work}; touch /data/done; sleep 1000"
        await rig.started(pod("writer", command, container=mounts, volumes=volumes))
        place = small / "pods" / "uid-writer" / "volumes" / "kubernetes.io~empty-dir" / "data"
        await rig.until((place / "done").exists)
        assert "pod writer evicted" in await eviction.once()
        await rig.until(lambda: rig.status("writer").get("phase") == "Failed")
        status = rig.status("writer")
        assert status["reason"] == "Evicted"
        assert f"The node was low on resource: {resource}" in status["message"]
        assert "Evicted" in rig.reasons("writer")
        await rig.until(lambda: condition(rig, "DiskPressure") == "True")
        await rig.until(lambda: not place.exists())
        assert await eviction.once() == ""
        await rig.until(lambda: condition(rig, "DiskPressure") == "False")
        assert rig.ready("quiet")


@pytest.mark.parametrize(
    ("threshold", "work", "kind"),
    [
        ("memory.available<100%", "dd if=/dev/zero of=/dev/shm/taken bs=1M count=40", "MemoryPressure"),
        ("pid.available<100%", "for i in $(seq 20); do sleep 1000 & done", "PIDPressure"),
    ],
)
async def test_who_takes_most(
    threshold: str, work: str, kind: str, containerd: Containerd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of real pods the one goes that uses most beyond what it asked for, by what its cgroup has counted."""
    async with running(containerd, tmp_path, "pid.available<1") as (rig, eviction):
        asked = {"resources": {"requests": {"memory": "32Mi", "cpu": "10m"}}}
        ready = {"readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1}}
        await rig.started(pod("modest", container=asked))
        command = f"{work}; touch /tmp/done; sleep 1000"
        await rig.started(pod("greedy", command, container={**asked, **ready}))
        # Only now: a node under pressure would not have taken the pods.
        strict = Judge(parse("--eviction-hard", [threshold]), transition=0)
        monkeypatch.setattr(eviction, "_judge", strict)
        assert "pod greedy evicted" in await eviction.once()
        await rig.until(lambda: rig.status("greedy").get("phase") == "Failed")
        assert rig.status("greedy")["reason"] == "Evicted"
        await rig.until(lambda: condition(rig, kind) == "True")
        assert rig.status("modest")["phase"] == "Running"
