"""What a mount of a container says: who sees later mounts, what is read only below it, whose files it shows."""

import os
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import events, nodes
from pynetes.client.fake import FakeAPI
from pynetes.machinery.meta import Key, Object
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from tests.kubelet import fake_runtime
from tests.kubelet.fake_driver import FakeDriver
from tests.kubelet.rig import Rig, pod
from tests.kubelet.test_csi_node import csi_driver, kubelet, persistent, with_volume


def mounting(folder: Path, *mounts: Object, **spec: Any) -> Object:
    """A privileged pod that mounts a folder of the node at /0, /1, …"""
    volume = {"name": "data", "hostPath": {"path": str(folder)}}
    made = [{"name": "data", "mountPath": f"/{number}", **mount} for number, mount in enumerate(mounts)]
    container = {"volumeMounts": made, "securityContext": {"privileged": True}}
    return pod("web", volumes=[volume], container=container, **spec)


async def test_propagation(tmp_path: Path) -> None:
    """None, HostToContainer and Bidirectional reach the runtime as what they are; saying nothing is None."""
    wanted = [{}, *({"mountPropagation": one} for one in ("None", "HostToContainer", "Bidirectional"))]
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        await rig.started(mounting(tmp_path, *wanted))
        (config,) = runtime.configs.values()
    found = {one.container_path: one.propagation for one in config.mounts if one.host_path == str(tmp_path)}
    assert found == {
        "/0": pb.PROPAGATION_PRIVATE,
        "/1": pb.PROPAGATION_PRIVATE,
        "/2": pb.PROPAGATION_HOST_TO_CONTAINER,
        "/3": pb.PROPAGATION_BIDIRECTIONAL,
    }


def shown_mounts(rig: Rig) -> list[Object]:
    """What the container's status says of its mounts."""
    return list(rig.container("web").get("volumeMounts") or ())


@pytest.mark.parametrize(
    ("mode", "handler", "effective"),
    [
        ("Disabled", "", "Disabled"),
        ("IfPossible", "", "Disabled"),
        ("IfPossible", "able", "Enabled"),
        ("Enabled", "able", "Enabled"),
    ],
)
async def test_recursive_read_only(tmp_path: Path, mode: str, handler: str, effective: str) -> None:
    """The pod's handler decides what is possible; the node's status says so before, the pod's what became of it."""
    api = FakeAPI()
    kind = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass"}
    api.put({**kind, "metadata": {"name": "other"}, "handler": "able"})
    more = {"runtimeClassName": "other"} if handler else {}
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint):
        runtime.handlers, runtime.recursive = {"": False, "able": False}, {"able"}
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.started(mounting(tmp_path, {"readOnly": True, "recursiveReadOnly": mode}, {}, **more))
            (config,) = runtime.configs.values()
            first = next(one for one in config.mounts if one.container_path == "/0")
            assert (first.readonly, first.recursive_read_only) == (True, effective == "Enabled")
            recursive = {"readOnly": True, "recursiveReadOnly": effective}
            whole, plain = ({"name": "data", "mountPath": path} for path in ("/0", "/1"))
            assert shown_mounts(rig) == [{**whole, **recursive}, plain]
            node = api.get(nodes.RESOURCE, Key("", "n1")) or {}
            can = {one["name"]: one["features"] for one in node["status"]["runtimeHandlers"]}
            assert {name: one["recursiveReadOnlyMounts"] for name, one in can.items()} == {"": False, "able": True}


async def test_recursive_read_only_that_cannot_be(tmp_path: Path) -> None:
    """Enabled where the runtime cannot: the container is not made, since it would be able to write; events say why."""
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint), kubelet(tmp_path, FakeAPI(), endpoint) as rig:
        rig.api.put(mounting(tmp_path, {"readOnly": True, "recursiveReadOnly": "Enabled"}))
        await rig.until(lambda: "Failed" in rig.reasons("web"))
        said = [one["message"] for one in rig.api.listed(events.RESOURCE) if one["reason"] == "Failed"]
        why = 'volume "data" requested recursive read-only mode, but it is not supported by the runtime'
        assert said[0] == f"Error: {why}"
        waits = {"waiting": {"reason": "CreateContainerConfigError", "message": why}}
        await rig.until(lambda: rig.container("web").get("state") == waits)
        assert not runtime.configs


class Aged(FakeDriver):
    """A volume that was used before: its files are its owner's alone, as it stands with the mode of its top."""

    top = 0o2770

    async def node_publish_volume(self, request: Any) -> Any:
        answer = await super().node_publish_volume(request)
        folder = Path(request.target_path)
        (folder / "old").touch(mode=0o600)
        folder.chmod(self.top)
        return answer


@pytest.mark.parametrize(
    ("policy", "top", "mode"),
    [
        (None, 0o2770, 0o660),
        ("Always", 0o2770, 0o660),
        ("OnRootMismatch", 0o2770, 0o600),
        ("OnRootMismatch", 0o700, 0o660),
    ],
)
async def test_fs_group_change_policy(tmp_path: Path, policy: str | None, top: int, mode: int) -> None:
    """Files become the group's, always or, with OnRootMismatch, only where the volume's top is not as it would be."""
    api = FakeAPI()
    csi_driver(api)
    driver = Aged(tmp_path / "root" / "plugins_registry")
    driver.top = top
    volume = persistent(api, "claim", csi={"fsType": "ext4"})
    security = {"fsGroup": os.getgid(), **({"fsGroupChangePolicy": policy} if policy else {})}
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        driver.serving(),
        kubelet(tmp_path, api, endpoint) as rig,
    ):
        await rig.started(with_volume("web", volume, securityContext=security))
        folder = rig.kubelet.ctx.volumes.home("uid-web") / "volumes/kubernetes.io~csi/pv-claim/mount"
        assert (folder / "old").stat().st_mode & 0o7777 == mode
        assert folder.stat().st_mode & 0o7777 == 0o2770
        (folder / "old").unlink()
        await rig.deleted("web")
