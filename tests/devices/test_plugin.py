"""The device plugin and the kubelet's device manager, over real sockets: from registration to what a container gets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import events, nodes
from pynetes.client.fake import FakeAPI
from pynetes.component import tasks
from pynetes.component.remedy import RemedyError
from pynetes.devices import plugin
from pynetes.devices.config import Config
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.machinery.meta import Key, Object
from pynetes.rpc import channel, server
from pynetes.rpc.deviceplugin import api_pb2 as deviceplugin
from pynetes.rpc.podresources import api_pb2 as pb
from pynetes.rpc.podresources import api_pb2_grpc as stubs
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.rig import Rig, pod

RESOURCE = "pynetes.io/thing"


def asking(name: str, count: int = 1) -> Object:
    """A pod that asks for things."""
    return pod(name, container={"resources": {"limits": {RESOURCE: str(count)}}})


def things(root: Path, count: int = 2) -> Config:
    """A plugin for files that stand in for devices."""
    folder = root / "things"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"thing{number}").touch()
    return Config(resource=RESOURCE, device=(f"{folder}/thing*",), folder=str(root / "device-plugins"))


def told(api: FakeAPI) -> tuple[str | None, str | None]:
    """What the node's status says: capacity and allocatable."""
    status = (api.get(nodes.RESOURCE, Key("", "n1")) or {}).get("status") or {}
    return (status.get("capacity") or {}).get(RESOURCE), (status.get("allocatable") or {}).get(RESOURCE)


@asynccontextmanager
async def kubelet(tmp_path: Path, api: FakeAPI, endpoint: str) -> AsyncIterator[Rig]:
    """A kubelet on a runtime that runs nothing."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with rigs.running(endpoint, tmp_path / "root", api, cgroups=cgroups) as made:
        yield made


@asynccontextmanager
async def setting(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Rig, FakeRuntime, FakeAPI, Config]]:
    """A kubelet that knows the plugin's devices."""
    api, config = FakeAPI(), things(tmp_path / "root", **options)
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        kubelet(tmp_path, api, endpoint) as rig,
        tasks.Group() as group,
    ):
        group.start(plugin.run(config))
        await rig.until(lambda: told(api)[1] == str(options.get("count", 2)))
        yield rig, runtime, api, config


async def test_container_gets_its_device(tmp_path: Path) -> None:
    """The device's file and a variable reach the container's configuration; who has it shows in pod resources."""
    async with setting(tmp_path) as (rig, runtime, _, config):
        await rig.started(asking("web"))
        (made,) = runtime.configs.values()
        assert [one.host_path for one in made.devices] == [config.device[0].replace("*", "0")]
        assert {one.key: one.value for one in made.envs}["PYNETES_IO_THING"].endswith(b"thing0")
        async with _lister(tmp_path / "root") as lister:
            (listed,) = (await lister.List(pb.ListPodResourcesRequest())).pod_resources
            assert listed.name == "web"
            assert list(listed.containers[0].devices[0].device_ids) == ["thing0"]
            free = await lister.GetAllocatableResources(pb.AllocatableResourcesRequest())
            assert list(free.devices[0].device_ids) == ["thing0", "thing1"]
            with pytest.raises(channel.RpcError, match="not on this node"):
                await lister.Get(pb.GetPodResourcesRequest(pod_name="other", pod_namespace="default"))


async def test_devices_come_back_and_are_not_given_twice(tmp_path: Path) -> None:
    """Two pods take the two devices, a third is refused; when one ends its device goes to the next."""
    async with setting(tmp_path) as (rig, runtime, _, _config):
        await rig.started(asking("one"))
        await rig.started(asking("two"))
        assert {one.devices[0].host_path[-1] for one in runtime.configs.values()} == {"0", "1"}
        rig.api.put(asking("three"))
        await rig.until(lambda: rig.status("three").get("phase") == "Failed")
        assert rig.status("three")["reason"] == "UnexpectedAdmissionError"
        await rig.deleted_object("one")
        await rig.until(lambda: "uid-one" not in rig.kubelet.workers)
        await rig.started(asking("four"))


async def test_health_shows_in_the_nodes_status(tmp_path: Path) -> None:
    """A device that vanishes counts as capacity, but is not allocatable; so do all when the plugin dies."""
    api, config = FakeAPI(), things(tmp_path / "root")
    async with fake_runtime.serving(tmp_path) as (_, endpoint), kubelet(tmp_path, api, endpoint) as rig:
        async with tasks.Group() as group:
            group.start(plugin.run(config))
            await rig.until(lambda: told(api) == ("2", "2"))
            (tmp_path / "root/things/thing0").unlink()
            await rig.until(lambda: told(api) == ("2", "1"))
        await rig.until(lambda: told(api) == ("2", "0"))


async def test_kubelet_restart_keeps_allocations(tmp_path: Path) -> None:
    """The next kubelet removes the plugin's socket, the plugin registers anew, and the pod still has its device."""
    api, config = FakeAPI(), things(tmp_path / "root", 1)
    async with fake_runtime.serving(tmp_path) as (runtime, endpoint), tasks.Group() as group:
        async with kubelet(tmp_path, api, endpoint) as rig:
            group.start(plugin.run(config))
            await rig.until(lambda: told(api)[1] == "1")
            await rig.started(asking("web"))
        async with kubelet(tmp_path, api, endpoint) as rig:
            await rig.until(lambda: told(api)[1] == "1")
            rig.api.put(asking("other"))
            await rig.until(lambda: rig.status("other").get("phase") == "Failed")
            # A container that is restarted has its device, from what the first kubelet was told.
            runtime.exits("c", 1)
            await rig.until(lambda: rig.container("web").get("restartCount") == 1)
            newest = max(runtime.configs.values(), key=lambda one: one.metadata.attempt)
            assert newest.devices[0].host_path.endswith("thing0")


async def test_plugin_that_refuses_fails_the_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod whose devices the plugin does not give fails with UnexpectedAdmissionError and the plugin's words."""

    async def allocate(self: plugin.Plugin, request: object) -> object:
        raise plugin.server.Failure("INTERNAL", "the thing is broken")

    monkeypatch.setattr(plugin.Plugin, "allocate", allocate)
    async with setting(tmp_path) as (rig, _runtime, api, _config):
        rig.api.put(asking("web"))
        await rig.until(lambda: rig.status("web").get("phase") == "Failed")
        assert rig.status("web")["reason"] == "UnexpectedAdmissionError"
        assert any("the thing is broken" in one["message"] for one in api.listed(events.RESOURCE))
        assert not rig.kubelet.ctx.devices.pool.allocations


async def test_no_such_device(tmp_path: Path) -> None:
    """A plugin for a file that is not there says so and ends."""
    with pytest.raises(RemedyError, match="there is no /dev/nothing"):
        await asyncio.wait_for(plugin.run(Config(device=("/dev/nothing",), folder=str(tmp_path))), 5)


@asynccontextmanager
async def _lister(root: Path) -> AsyncIterator[Any]:
    opened = channel.unix_channel(root / "pod-resources" / "kubelet.sock", path=0, source="test", target="kubelet")
    try:
        yield stubs.PodResourcesListerStub(opened)  # type: ignore[no-untyped-call]
    finally:
        await opened.close()


class Registry:
    """A kubelet's registration service, which counts."""

    def __init__(self) -> None:
        self.asked = 0

    async def register(self, request: deviceplugin.RegisterRequest) -> deviceplugin.Empty:
        self.asked += 1
        return deviceplugin.Empty()


async def test_every_kubelet_is_registered_with(tmp_path: Path) -> None:
    """However soon one follows the other: the file of the next socket may well have the number of the last one's."""
    config = things(tmp_path)
    socket = Path(config.folder) / plugin.KUBELET
    services = {deviceplugin.DESCRIPTOR.services_by_name["Registration"]: (registry := Registry())}
    async with tasks.Group() as group:
        group.start(plugin.run(config))
        for number in range(1, 6):
            before = registry.asked
            async with server.serving(socket, services, path=16, target="kubelet"), asyncio.timeout(20):
                while registry.asked == before:
                    await asyncio.sleep(0.01)
            assert registry.asked >= number
        group.cancel()
