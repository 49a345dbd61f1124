"""A real device in a real container: the plugin as its own process, containerd, and a look from inside."""

import asyncio
import sys
from pathlib import Path

import pytest

from pynetes.apis.core import nodes, pods
from pynetes.cluster.containerd import Containerd
from pynetes.machinery.meta import Key
from tests.kubelet import rig as rigs
from tests.kubelet.conftest import containerd as containerd
from tests.kubelet.rig import pod

pytestmark = pytest.mark.root
RESOURCE = "pynetes.io/zero-copy"


async def test_device_works_inside_the_container(containerd: Containerd, tmp_path: Path) -> None:
    """A container that asks for the device can open it; one that does not has not even its file."""
    program = str(Path(sys.executable).with_name("pynetes"))
    command = [program, "device-plugin", f"--resource={RESOURCE}", "--device=/dev/fuse"]
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root="/pynetes-kubelet-test") as rig:
        folder = tmp_path / "device-plugins"
        process = await asyncio.create_subprocess_exec(*command, f"--folder={folder}")
        try:
            await rig.until(lambda: _allocatable(rig) == "1")
            limits = {"resources": {"limits": {RESOURCE: "1"}}}
            # FUSE's device answers a read with EPERM until something is mounted: that it was opened is what counts.
            look = "ls -l /dev/fuse; dd if=/dev/fuse of=/dev/null count=1 2>&1; sleep 1000"
            await rig.started(pod("with", look, container=limits))
            await rig.started(pod("without", look))
            await rig.until(lambda: "10, 229" in rig.log("with"))
            await rig.until(lambda: "Operation not permitted" in rig.log("with"))
            assert "can't open" not in rig.log("with")
            await rig.until(lambda: "No such file" in rig.log("without"))
        finally:
            process.terminate()
            await process.wait()
        for obj in rig.api.listed(pods.RESOURCE):
            rig.api.remove(obj)
        await rig.until(lambda: not rig.kubelet.workers)


def _allocatable(rig: rigs.Rig) -> str | None:
    node = rig.api.get(nodes.RESOURCE, Key("", "n1")) or {}
    return node["status"]["allocatable"].get(RESOURCE)
