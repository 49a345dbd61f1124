"""Kinds of volumes that need no real runtime to be tried: images, NFS, and projections of APIs that are off."""

import contextlib
import os
import shutil
import socket
from pathlib import Path

import pytest

from pynetes.apis.core import events
from pynetes.client.fake import FakeAPI
from pynetes.kubelet.volumes import kinds
from pynetes.kubelet.volumes.spec import VolumeFailure
from pynetes.machinery.meta import Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from tests.kubelet import fake_runtime
from tests.kubelet.rig import IMAGE, Rig, pod
from tests.kubelet.test_csi_node import kubelet, persistent, with_volume


def told(rig: Rig, reason: str) -> str:
    """The first event of a reason, "" while there is none."""
    return next((str(one["message"]) for one in rig.api.listed(events.RESOURCE) if one["reason"] == reason), "")


def waiting(rig: Rig) -> str:
    """What the container waits with."""
    return str(rig.container("web").get("state", {}).get("waiting", {}).get("reason", ""))


def picture() -> Object:
    """A pod with a part of an image as a volume."""
    mount = {"name": "files", "mountPath": "/files", "subPath": "etc"}
    volume = {"name": "files", "image": {"reference": "pynetes.io/files:1", "pullPolicy": "IfNotPresent"}}
    return pod("web", volumes=[volume], container={"volumeMounts": [mount]})


async def test_image_volume(tmp_path: Path) -> None:
    """Where the runtime has image volumes the image is pulled, and mounted by the runtime, to be read only."""
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint):
        runtime.name, runtime.version = "containerd", "v2.1.4"
        async with kubelet(tmp_path, FakeAPI(), endpoint) as rig:
            await rig.started(picture())
            assert "PullImage pynetes.io/files:1" in runtime.calls and f"PullImage {IMAGE}" not in runtime.calls
            (config,) = runtime.configs.values()
            (mount,) = [one for one in config.mounts if one.container_path == "/files"]
            image = pb.ImageSpec(image="sha256:pynetes.io/files:1", user_specified_image="pynetes.io/files:1")
            assert mount == pb.Mount(container_path="/files", image=image, image_sub_path="etc", readonly=True)


async def test_image_volume_of_a_runtime_without(tmp_path: Path) -> None:
    """A runtime that cannot, and is no containerd: the container waits, and an event says why."""
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        rig.api.put(picture())
        await rig.until(lambda: told(rig, "Failed"))
        assert told(rig, "Failed") == "Error: volume files: the container runtime has no image volumes"
        await rig.until(lambda: waiting(rig) == "CreateContainerConfigError")


async def test_image_volume_of_an_older_containerd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older containerd lays the image out for ctr; the container binds that, read only, and in the end it is let go.
    What ctr says when it fails is in the event, and the next try works."""
    again = tmp_path / "again"
    script = f'case "$*" in *mount*) [ -e {again} ] || {{ touch {again}; echo no space >&2; exit 1; }};; esac'
    asked = program("ctr", tmp_path, script, monkeypatch)
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint):
        runtime.name, runtime.version = "containerd", "1.6.20"
        async with kubelet(tmp_path, FakeAPI(), endpoint) as rig:
            shown = picture()
            del shown["spec"]["containers"][0]["volumeMounts"][0]["subPath"]
            await rig.started(shown)
            assert "no space" in told(rig, "Failed")
            (config,) = runtime.configs.values()
            place = tmp_path / "root" / "pods" / "uid-web" / "volumes" / "kubernetes.io~image" / "files"
            (mount,) = [one for one in config.mounts if one.container_path == "/files"]
            assert mount == pb.Mount(container_path="/files", host_path=str(place), readonly=True)
            await rig.deleted("web")
            assert not place.exists()
    *_, mounted, released = asked.read_text().splitlines()
    to = f"--address {endpoint.removeprefix('unix://')} --namespace k8s.io"
    assert mounted == f"{to} images mount sha256:pynetes.io/files:1 {place}"
    assert released == f"{to} leases rm --sync {place}"


@pytest.mark.parametrize(
    ("kind", "there", "absent"),
    [
        ("", {"file", "folder", "socket", "device"}, True),
        ("DirectoryOrCreate", {"folder"}, True),
        ("Directory", {"folder"}, False),
        ("FileOrCreate", {"file"}, True),
        ("File", {"file"}, False),
        ("Socket", {"socket"}, False),
        ("CharDevice", {"device"}, False),
        ("BlockDevice", set(), False),
    ],
)
def test_host_path_types(tmp_path: Path, kind: str, there: set[str], absent: bool) -> None:
    """Each type takes what it says, and makes what it says where there is nothing."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "socket"))
        places = {name: tmp_path / name for name in ("file", "folder", "socket")} | {"device": Path("/dev/null")}
        for name, place in places.items():
            if name in there:
                kinds.host_path(place, kind)
                continue
            with pytest.raises(VolumeFailure, match="hostPath type check failed"):
                kinds.host_path(place, kind)
    new = tmp_path / "new" if kind == "FileOrCreate" else tmp_path / "deep" / "new"
    with contextlib.nullcontext() if absent else pytest.raises(VolumeFailure, match="type check failed"):
        kinds.host_path(new, kind)
    assert (new.is_file(), new.is_dir()) == (kind == "FileOrCreate", kind == "DirectoryOrCreate")


def program(name: str, folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program before the machine's; the file with what it was asked."""
    asked = folder / "asked"
    program = folder / "bin" / name
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return asked


NFS = {"server": "files.example", "path": "/export"}


async def test_nfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is mounted by mount(8), with the volume's options, where upstream has it; and once only."""
    asked = program("mount", tmp_path, "", monkeypatch)
    api = FakeAPI()
    volume = persistent(api, "claim", csi=None, nfs={**NFS, "readOnly": True}, mountOptions=["nfsvers=4.2"])
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        await rig.started(with_volume("web", volume))
        home = tmp_path / "root" / "pods" / "uid-web" / "volumes" / "kubernetes.io~nfs" / "pv-claim"
        assert asked.read_text() == f"-t nfs -o nfsvers=4.2,ro files.example:/export {home}\n"
        await rig.deleted("web")
        assert not home.exists()


async def test_nfs_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mount(8) said is in the event, with what may be missing; the pod waits, and the next try works."""
    again = tmp_path / "again"
    asked = program(
        "mount",
        tmp_path,
        f"[ -e {again} ] || {{ touch {again}; echo 'mount.nfs: No route' >&2; exit 32; }}",
        monkeypatch,
    )
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        await rig.started(with_volume("web", {"name": "data", "nfs": NFS}))
        assert "No route" in told(rig, "FailedMount") and "nfs-common" in told(rig, "FailedMount")
        assert len(asked.read_text().splitlines()) == 2
        await rig.deleted("web")


@pytest.mark.skipif(
    "nfs" in Path("/proc/filesystems").read_text() or shutil.which("mount.nfs") is not None,
    reason="this machine can mount NFS, and would wait for a server",
)
async def test_nfs_of_this_machine(tmp_path: Path) -> None:
    """A kernel, or a node, without NFS: the real mount(8) fails, the pod is told what may be missing, and can go."""
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        rig.api.put(with_volume("web", {"name": "data", "nfs": {"server": "127.0.0.1", "path": "/none"}}))
        await rig.until(lambda: told(rig, "FailedMount"))
        assert "mount of 127.0.0.1:/none failed" in told(rig, "FailedMount")
        assert "does the node have nfs-common?" in told(rig, "FailedMount")
        await rig.deleted("web")
        assert not (tmp_path / "root" / "pods" / "uid-web" / "volumes").exists()


@pytest.mark.parametrize(
    ("source", "api"),
    [
        ({"clusterTrustBundle": {"name": "b", "path": "ca.crt", "optional": True}}, "clustertrustbundles"),
        (
            {"podCertificate": {"signerName": "e.x/s", "keyType": "ED25519", "credentialBundlePath": "c.pem"}},
            "podcertificaterequests",
        ),
    ],
)
async def test_projections_of_apis_that_are_off(tmp_path: Path, source: Object, api: str) -> None:
    """These APIs are beta and off by default: the pod waits, and is told which one is missing."""
    volume = {"name": "data", "projected": {"sources": [source]}}
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        rig.api.put(with_volume("web", volume))
        await rig.until(lambda: told(rig, "FailedMount"))
        assert f"{api}.certificates.k8s.io/v1beta1, which this cluster does not serve" in told(rig, "FailedMount")
