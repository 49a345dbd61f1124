"""The cgroup tree of pods in the kernel's own hierarchy of version 2, which a machine on version 1 has beside it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pynetes.kubelet.cm.cgroups import MOUNT, Cgroups
from pynetes.kubelet.cm.measure import Meter
from tests.kubelet.test_decisions import pod

pytestmark = pytest.mark.root
ROOT = "/pynetes-v2-test"


@pytest.fixture
def mount() -> Iterator[Path]:
    """Where the hierarchy is; what the test made in it is removed."""
    found = next((path for path in (MOUNT, MOUNT / "unified") if (path / "cgroup.controllers").exists()), None)
    if found is None:
        pytest.skip("no cgroups of version 2")
    yield found
    base = found / ROOT.lstrip("/")
    for folder in sorted((path for path in base.rglob("*") if path.is_dir()), reverse=True):
        folder.rmdir()
    base.rmdir()


def test_a_pod_in_the_kernels_tree(mount: Path) -> None:
    """Groups that the kernel accepts: controllers are passed down, containers count, and removal clears all."""
    groups = Cgroups(ROOT, mount)
    assert groups.unified
    groups.prepare()
    obj = pod(requests={"cpu": "1"}, limits={"cpu": "2", "memory": "64Mi"})
    groups.create(obj)
    here = set((mount / "cgroup.controllers").read_text().split())
    parent = mount / groups.parent(obj).lstrip("/")
    # Whatever controllers the hierarchy has, the kernel has passed on to where containers are.
    assert set((parent / "cgroup.controllers").read_text().split()) == here
    if "memory" in here:
        assert (parent / "memory.max").read_text().strip() == str(64 << 20)
    container = parent / "container"
    container.mkdir()
    with subprocess.Popen(["sleep", "1000"]) as process:
        (container / "cgroup.procs").write_text(str(process.pid))
        meter = Meter(mount)
        assert meter.processes(f"{groups.parent(obj)}/container") == [process.pid]
        assert meter.measure(groups.parent(obj)) is not None
        assert groups.pods() == {obj["metadata"]["uid"]}
        process.kill()
    container.rmdir()
    groups.remove(obj["metadata"]["uid"])
    assert not parent.exists()
    assert groups.pods() == set()
