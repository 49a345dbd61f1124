"""Volumes on a real containerd: what containers see of them, what stays when they go, and who may not get out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import events, persistentvolumes, pods
from pynetes.cluster.containerd import Containerd
from pynetes.component import command
from pynetes.kubelet.volumes import mounts
from pynetes.machinery.meta import Object
from tests.kubelet import rig as rigs
from tests.kubelet.fake_driver import FakeDriver
from tests.kubelet.rig import IMAGE, Rig, pod
from tests.kubelet.test_csi_node import csi_driver, persistent

pytestmark = pytest.mark.root


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet on containerd; its pods are deleted in the end."""
    async with rigs.running(containerd.endpoint, tmp_path / "root", cgroup_root="/pynetes-kubelet-test") as made:
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


def using(name: str, script: str, volume: Object, *, mount: Object | None = None, **spec: Any) -> Object:
    """A pod that mounts a volume at /data and runs a script."""
    mounted = {"name": volume["name"], "mountPath": "/data", **(mount or {})}
    return pod(name, f"{script}; sleep 1000", volumes=[volume], container={"volumeMounts": [mounted]}, **spec)


def local(api: Any, name: str, path: str, **spec: Any) -> Object:
    """A local PersistentVolume with its claim; the pod's volume."""
    volume = persistent(api, name)
    found = next(one for one in api.listed(persistentvolumes.RESOURCE) if one["metadata"]["name"] == f"pv-{name}")
    kept = {key: value for key, value in found["spec"].items() if key != "csi"}
    api.put({**found, "spec": {**kept, "local": {"path": path}, **spec}})
    return volume


async def test_local_volume_keeps_its_contents(rig: Rig, tmp_path: Path) -> None:
    """A local volume is the node's folder, owned by the fsGroup; it is unmounted in the end and never emptied."""
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "kept").write_text("here\n")
    volume = local(rig.api, "claim", str(folder))
    security = {"fsGroup": 4321}
    await rig.started(
        using("web", "cat /data/kept; ls -ln /data; echo new > /data/made", volume, securityContext=security)
    )
    await rig.until(lambda: "4321" in rig.log("web"))
    assert "here" in rig.log("web")
    await rig.deleted("web")
    assert (folder / "kept").read_text() == "here\n"
    assert (folder / "made").read_text() == "new\n"
    assert not rig.kubelet.ctx.volumes.home("uid-web").exists()


async def test_block_volume_is_a_device(rig: Rig, tmp_path: Path) -> None:
    """A volume of mode Block is a device file in the container, at the path that it asks for."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"block!" + bytes(1 << 20))
    device = (await command.run(["losetup", "--find", "--show", str(disk)])).out.strip()
    try:
        volume = local(rig.api, "claim", device, volumeMode="Block")
        devices = [{"name": "data", "devicePath": "/dev/xvda"}]
        script = "head -c 6 /dev/xvda; echo; sleep 1000"
        await rig.started(pod("web", script, volumes=[volume], container={"volumeDevices": devices}))
        await rig.until(lambda: "block!" in rig.log("web"))
    finally:
        for obj in rig.api.listed(pods.RESOURCE):
            rig.api.remove(obj)
        await rig.until(lambda: not rig.kubelet.workers)
        await command.run(["losetup", "--detach", device])


async def test_memory_is_limited(rig: Rig) -> None:
    """An emptyDir in memory is a tmpfs as large as its sizeLimit."""
    volume = {"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    script = "grep ' /data ' /proc/mounts; dd if=/dev/zero of=/data/x bs=64k count=64 2>&1"
    await rig.started(using("web", script, volume))
    await rig.until(lambda: "No space left" in rig.log("web"))
    assert "size=1024k" in rig.log("web")


async def test_sub_path_cannot_be_led_out(rig: Rig, tmp_path: Path) -> None:
    """A link that a container has laid in the volume is refused as another's subPath: nothing outside is mounted."""
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "out").symlink_to("/etc")
    volume = {"name": "data", "hostPath": {"path": str(shared)}}
    rig.api.put(using("web", "ls /data", volume, mount={"subPath": "out"}))
    await rig.until(lambda: "Failed" in rig.reasons("web"))
    assert any("leads out of the volume" in one["message"] for one in rig.api.listed(events.RESOURCE))
    await rig.started(using("fine", "touch /data/x; ls -a /data", volume, mount={"subPath": "deep/inside"}))
    await rig.until(lambda: (shared / "deep/inside/x").exists())


async def test_driver_that_is_restarted_loses_nothing(containerd: Containerd, tmp_path: Path) -> None:
    """Data survives the pod; a kubelet that starts anew leaves the mount alone, and the running container with it."""
    driver = FakeDriver(tmp_path / "root" / "plugins_registry", real=True)
    rig_args = {"cgroup_root": "/pynetes-kubelet-test"}
    async with driver.serving():
        async with rigs.running(containerd.endpoint, tmp_path / "root", **rig_args) as first:
            api = first.api
            csi_driver(api)
            volume = persistent(api, "claim")
            await first.started(using("web", "date > /data/x", volume))
            await first.until(lambda: (tmp_path / "root/plugins_registry/data/h-claim/x").exists())
            place = first.kubelet.ctx.volumes.home("uid-web") / "volumes/kubernetes.io~csi/pv-claim/mount"
            before = first.container("web")["containerID"]
        assert mounts.is_mount(place)
        driver.calls.clear()
        async with rigs.running(containerd.endpoint, tmp_path / "root", api, **rig_args) as second:
            await second.until(lambda: second.kubelet.ctx.volumes.specs("uid-web"))
            assert mounts.is_mount(place)
            assert not driver.calls
            assert second.container("web")["containerID"] == before
            await second.exec("web", "sh", "-c", "echo more >> /data/x")
            await second.deleted("web")
        assert not mounts.is_mount(place)
    assert "more" in (tmp_path / "root/plugins_registry/data/h-claim/x").read_text()


async def test_who_sees_later_mounts(rig: Rig, tmp_path: Path) -> None:
    """A container's mount below a Bidirectional volume is seen by the node and below HostToContainer, and nowhere else;
    a mount below a read-only volume can be written to where containerd cannot make it otherwise, and is said to be."""
    shared = tmp_path / "shared"
    (shared / "in").mkdir(parents=True)
    mounts.bind_path(shared, shared)
    await command.run(["mount", "--make-shared", str(shared)])
    volume = {"name": "data", "hostPath": {"path": str(shared)}}
    one = pod("web", volumes=[volume])
    (base,) = one["spec"]["containers"]
    kinds = ("None", "HostToContainer", "Bidirectional")
    one["spec"]["containers"] = [
        {
            **base,
            "name": kind.lower(),
            "securityContext": {"privileged": kind == "Bidirectional"},
            "volumeMounts": [{"name": "data", "mountPath": "/data", "mountPropagation": kind}],
        }
        for kind in kinds
    ]
    look = ("sh", "-c", "ls /data/in")
    try:
        await rig.started(one)
        script = "mount -t tmpfs later /data/in && touch /data/in/seen"
        await rig.exec("web", "sh", "-c", script, container="bidirectional")
        assert (shared / "in" / "seen").exists()
        seen = {kind: await rig.exec("web", *look, container=kind.lower()) for kind in kinds}
        assert seen == {"None": "", "HostToContainer": "seen\n", "Bidirectional": "seen\n"}
        below = {"readOnly": True, "recursiveReadOnly": "IfPossible"}
        await rig.started(using("low", "touch /data/new; echo $?; touch /data/in/new; echo $?", volume, mount=below))
        await rig.until(lambda: rig.log("low").count("\n") >= 2)
        (shown,) = rig.container("low")["volumeMounts"]
        wrote = [line for line in rig.log("low").splitlines() if line in "01"]
        assert (wrote, shown["recursiveReadOnly"]) in ((["1", "0"], "Disabled"), (["1", "1"], "Enabled"))
    finally:
        await rig.deleted_object("web")
        for place in mounts.below(shared):
            mounts.unmount(Path(place))


async def test_image_volume(rig: Rig, containerd: Containerd) -> None:
    """An image's files, all or a part, to be read and run but not written; nothing of it is left in the end."""
    volume = {"name": "data", "image": {"reference": IMAGE, "pullPolicy": "Never"}}
    part = {"name": "data", "mountPath": "/part", "subPath": "bin"}
    script = "/data/bin/busybox echo runs; ls /part/busybox; touch /data/new || echo refused; sleep 1000"
    mounted = [{"name": "data", "mountPath": "/data"}, part]
    await rig.started(pod("web", script, volumes=[volume], container={"volumeMounts": mounted}))
    await rig.until(lambda: "refused" in rig.log("web"))
    # Errors come by a pipe of their own, and anywhere between the lines.
    assert [line for line in rig.log("web").splitlines() if "touch" not in line] == ["runs", "/part/busybox", "refused"]
    ctr = ["ctr", "--address", str(containerd.socket), "--namespace", "k8s.io"]
    place = str(rig.kubelet.ctx.volumes.home("uid-web") / "volumes/kubernetes.io~image/data")
    assert place in mounts.points()
    await rig.deleted("web")
    assert place not in mounts.points()
    for kind in ("snapshots", "leases"):
        assert place not in (await command.run([*ctr, kind, "ls"])).out
