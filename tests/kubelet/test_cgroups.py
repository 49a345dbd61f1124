"""The cgroup tree of pods, on both versions, made in a folder that stands for /sys/fs/cgroup."""

from pathlib import Path

from pynetes.kubelet.cm.cgroups import Cgroups
from tests.kubelet.test_decisions import pod

AMOUNTS = {"cpu": "500m", "memory": "64Mi"}


def test_version_one(tmp_path: Path) -> None:
    """Shares, quota and memory limit stand in their controllers; removal clears every hierarchy."""
    for controller in ("cpu", "memory", "pids"):
        (tmp_path / controller).mkdir()
    groups = Cgroups("/root", tmp_path)
    groups.prepare()
    obj = pod(requests=AMOUNTS, limits=AMOUNTS)
    groups.create(obj)
    home = tmp_path / "cpu" / "root" / "kubepods" / "podu"
    assert groups.parent(obj) == "/root/kubepods/podu"
    assert (home / "cpu.shares").read_text() == "512"
    assert (home / "cpu.cfs_quota_us").read_text() == "50000"
    memory = tmp_path / "memory" / "root" / "kubepods" / "podu" / "memory.limit_in_bytes"
    assert memory.read_text() == str(64 << 20)
    assert groups.pods() == {"u"}


def test_version_two(tmp_path: Path) -> None:
    """Weight and limits stand in one tree, whose groups hand their controllers down."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory")
    groups = Cgroups("", tmp_path)
    assert groups.unified
    base = tmp_path / "kubepods" / "burstable" / "podu"
    for folder in (tmp_path / "kubepods", tmp_path / "kubepods" / "burstable", base):
        # The kernel makes these files with the folder.
        folder.mkdir()
        (folder / "cgroup.controllers").write_text("cpu memory")
    obj = pod(requests={"cpu": "1"}, limits=AMOUNTS)
    groups.create(obj)
    assert (base / "cpu.weight").read_text() == "39"
    assert (base / "cpu.max").read_text() == "50000 100000"
    assert (base / "memory.max").read_text() == str(64 << 20)
    assert (base / "cgroup.subtree_control").read_text() == "+memory"


def test_best_effort_pods_stand_apart(tmp_path: Path) -> None:
    """Each class has its own parent."""
    groups = Cgroups("", tmp_path)
    assert groups.parent(pod()) == "/kubepods/besteffort/podu"
    assert groups.parent(pod(requests={"cpu": "1"})) == "/kubepods/burstable/podu"
