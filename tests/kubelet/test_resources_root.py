"""Resources on a real containerd and real cgroups: limits that hold, an OOM that is told, a resize that happens."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.apis.core import pods
from pynetes.cluster.containerd import Containerd
from pynetes.kubelet.cm.cgroups import MOUNT
from pynetes.machinery.meta import Key
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

pytestmark = pytest.mark.root
CGROUP = "/pynetes-kubelet-test"


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet whose pods may have 50 processes."""
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root=CGROUP, pod_max_pids=50) as made:
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


def _read(rig: Rig, name: str, controller: str, v1: str, v2: str) -> str:
    worker = rig.kubelet.workers[f"uid-{name}"]
    parent = rig.kubelet.ctx.cgroups.parent(worker.pod).lstrip("/")
    if rig.kubelet.ctx.cgroups.unified:
        return (MOUNT / parent / v2).read_text().strip()
    return (MOUNT / controller / parent / v1).read_text().strip()


async def test_out_of_memory_is_told(rig: Rig) -> None:
    """A container that takes more than its limit ends with 137 and OOMKilled."""
    limits = {"resources": {"limits": {"memory": "20Mi"}, "requests": {"memory": "20Mi"}}}
    rig.api.put(pod("hog", "dd if=/dev/zero of=/dev/null bs=200M count=1", container=limits, restartPolicy="Never"))
    await rig.until(lambda: rig.status("hog").get("phase") == "Failed")
    ended = rig.container("hog")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


async def test_pod_has_its_limits(rig: Rig) -> None:
    """The pod's own cgroup has the limits of its containers together, and that of processes."""
    amounts = {"cpu": "100m", "memory": "64Mi"}
    await rig.started(pod("web", container={"resources": {"limits": amounts, "requests": amounts}}))
    assert _read(rig, "web", "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert _read(rig, "web", "pids", "pids.max", "pids.max") == "50"


async def test_resize_reaches_the_kernel(rig: Rig) -> None:
    """After a resize the running container's and the pod's limits are the new ones; the process is the same."""
    amounts = {"cpu": "100m", "memory": "64Mi"}
    await rig.started(pod("web", container={"resources": {"limits": amounts, "requests": amounts}}))
    obj = rig.api.get(pods.RESOURCE, Key("default", "web")) or {}
    more = {"cpu": "200m", "memory": "96Mi"}
    container = {**obj["spec"]["containers"][0], "resources": {"limits": more, "requests": more}}
    rig.api.put({**obj, "spec": {**obj["spec"], "containers": [container]}})
    await rig.until(lambda: rig.container("web")["resources"].get("limits") == more)
    assert _read(rig, "web", "memory", "memory.limit_in_bytes", "memory.max") == str(96 << 20)
    inside = await rig.exec("web", "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory.max")
    assert str(96 << 20) in inside
    assert rig.container("web")["restartCount"] == 0
