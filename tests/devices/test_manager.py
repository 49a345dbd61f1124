"""The device manager with a plugin that uses everything the protocol has: preferences, preparation, CDI, two ways to
register. The plugin is written here, after the protocol, not ours."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pynetes.apis.core import nodes
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.devices import cdi
from pynetes.kubelet.devices.endpoint import Endpoint, PluginFailure
from pynetes.machinery.meta import Key, Object
from pynetes.rpc import channel, server
from pynetes.rpc.deviceplugin import api_pb2 as pb
from pynetes.rpc.deviceplugin import api_pb2_grpc as stubs
from pynetes.rpc.pluginregistration import api_pb2 as registration
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

RESOURCE = "vendor.test/card"


class Vendor:
    """A plugin with three cards; it prefers the last ones, prepares them, and describes them by CDI."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.lists: asyncio.Queue[list[pb.Device]] = asyncio.Queue()
        self.tell("Healthy", "Healthy", "Healthy")

    def tell(self, *health: str) -> None:
        """List the cards anew."""
        self.lists.put_nowait([pb.Device(ID=f"card{number}", health=one) for number, one in enumerate(health)])

    async def get_device_plugin_options(self, request: pb.Empty) -> pb.DevicePluginOptions:
        return pb.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)

    async def list_and_watch(self, request: pb.Empty) -> AsyncIterator[pb.ListAndWatchResponse]:
        while True:
            yield pb.ListAndWatchResponse(devices=await self.lists.get())

    async def get_preferred_allocation(self, request: pb.PreferredAllocationRequest) -> pb.PreferredAllocationResponse:
        (asked,) = request.container_requests
        self.calls.append(("prefer", tuple(asked.available_deviceIDs)))
        chosen = sorted(asked.available_deviceIDs)[-asked.allocation_size :]
        answer = pb.ContainerPreferredAllocationResponse(deviceIDs=chosen)
        return pb.PreferredAllocationResponse(container_responses=[answer])

    async def allocate(self, request: pb.AllocateRequest) -> pb.AllocateResponse:
        (asked,) = request.container_requests
        self.calls.append(("allocate", tuple(asked.devices_ids)))
        answer = pb.ContainerAllocateResponse(
            envs={"CARDS": ",".join(asked.devices_ids)},
            annotations={"vendor.test/cards": "yes"},
            mounts=[pb.Mount(container_path="/lib/card", host_path="/usr/lib/card", read_only=True)],
            cdi_devices=[pb.CDIDevice(name=f"vendor.test/card={one}") for one in asked.devices_ids],
        )
        return pb.AllocateResponse(container_responses=[answer])

    async def pre_start_container(self, request: pb.PreStartContainerRequest) -> pb.PreStartContainerResponse:
        self.calls.append(("pre-start", tuple(request.devices_ids)))
        return pb.PreStartContainerResponse()

    async def get_info(self, request: registration.InfoRequest) -> registration.PluginInfo:
        return registration.PluginInfo(
            type="DevicePlugin", name=RESOURCE, endpoint=str(self.socket), supported_versions=["v1beta1"]
        )

    async def notify_registration_status(
        self, request: registration.RegistrationStatus
    ) -> registration.RegistrationStatusResponse:
        self.calls.append(("registered", (str(request.plugin_registered), request.error)))
        return registration.RegistrationStatusResponse()


def asking(name: str, count: int) -> Object:
    return pod(name, container={"resources": {"limits": {RESOURCE: str(count)}}})


def allocatable(rig: Rig) -> str | None:
    """How many cards the node's status says can be had."""
    status = (rig.api.get(nodes.RESOURCE, Key("", "n1")) or {}).get("status") or {}
    found: str | None = (status.get("allocatable") or {}).get(RESOURCE)
    return found


@asynccontextmanager
async def vendor(root: Path) -> AsyncIterator[Vendor]:
    """A plugin that serves; it is not registered yet."""
    made = Vendor(root / "device-plugins" / "vendor.sock")
    with_all = pb.DESCRIPTOR.services_by_name["DevicePlugin"]
    async with server.serving(made.socket, {with_all: made}, path=16, target="device plugin"):
        yield made


async def register(
    root: Path, resource: str = RESOURCE, endpoint: str = "vendor.sock", version: str = "v1beta1"
) -> None:
    """Call the kubelet's socket, as plugins do. Raises RpcError."""
    opened = channel.unix_channel(root / "device-plugins/kubelet.sock", path=16, source="vendor", target="kubelet")
    try:
        options = pb.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)
        request = pb.RegisterRequest(version=version, endpoint=endpoint, resource_name=resource, options=options)
        await stubs.RegistrationStub(opened).Register(request, timeout=10)  # type: ignore[no-untyped-call]
    finally:
        await opened.close()


@pytest.mark.parametrize("known", [True, False])
async def test_all_calls_in_their_order(known: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is asked for its preference, gives what was chosen, and prepares it before every start. CDI names go
    to a runtime that knows CDI; for one that does not, what they stand for."""
    monkeypatch.setattr(cdi, "FOLDERS", (tmp_path / "cdi",))
    (tmp_path / "cdi").mkdir()
    edits = [{"name": f"card{number}", "containerEdits": {"env": [f"CARD_{number}=x"]}} for number in range(3)]
    document = {"cdiVersion": "0.5.0", "kind": "vendor.test/card", "devices": edits}
    (tmp_path / "cdi" / "vendor.json").write_text(json.dumps(document))
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups) as rig,
        vendor(tmp_path / "root") as plugin,
    ):
        rig.kubelet.ctx.cdi = known
        await register(tmp_path / "root")
        await rig.until(lambda: allocatable(rig) == "3")
        await rig.started(asking("web", 2))
        chosen = ("card1", "card2")
        assert plugin.calls == [
            ("prefer", ("card0", "card1", "card2")),
            ("allocate", chosen),
            ("pre-start", chosen),
        ]
        (made,) = runtime.configs.values()
        names = [one.name for one in made.CDI_devices]
        variables = {one.key: one.value for one in made.envs}
        assert names == (["vendor.test/card=card1", "vendor.test/card=card2"] if known else [])
        assert {"CARD_1", "CARD_2"} & variables.keys() == (set() if known else {"CARD_1", "CARD_2"})
        assert variables["CARDS"] == b"card1,card2"
        assert made.annotations["vendor.test/cards"] == "yes"
        (mount,) = [one for one in made.mounts if one.container_path == "/lib/card"]
        assert mount.readonly
        runtime.exits("c", 1)
        await rig.until(lambda: rig.container("web").get("restartCount") == 1)
        assert plugin.calls[3:] == [("pre-start", chosen)], "a restart needs no new allocation"


async def test_health_that_changes(tmp_path: Path) -> None:
    """A sick card is not given away, and comes back when it is well."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups) as rig,
        vendor(tmp_path / "root") as plugin,
    ):
        await register(tmp_path / "root")
        await rig.until(lambda: allocatable(rig) == "3")
        rig.kubelet.ctx.cdi = True
        plugin.tell("Healthy", "Unhealthy", "Unhealthy")
        await rig.until(lambda: allocatable(rig) == "1")
        rig.api.put(asking("two", 2))
        await rig.until(lambda: rig.status("two").get("phase") == "Failed")
        plugin.tell("Healthy", "Healthy", "Unhealthy")
        await rig.until(lambda: allocatable(rig) == "2")
        await rig.started(asking("again", 2))


async def test_registered_by_its_own_socket(tmp_path: Path) -> None:
    """A socket in plugins_registry is seen, asked who it is, and told that it is registered."""
    root = tmp_path / "root"
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    service = registration.DESCRIPTOR.services_by_name["Registration"]
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        rigs.running(endpoint, root, cgroups=cgroups) as rig,
        vendor(root) as plugin,
        server.serving(root / "plugins_registry" / "vendor-reg.sock", {service: plugin}, path=0, target="plugin"),
    ):
        await rig.until(lambda: allocatable(rig) == "3")
        await rig.until(lambda: ("registered", ("True", "")) in plugin.calls)
        rig.kubelet.ctx.cdi = True
        await rig.started(asking("web", 1))
        assert ("allocate", ("card2",)) in plugin.calls, "its options were asked for"


async def test_registrations_that_are_refused(tmp_path: Path) -> None:
    """Another version, a name that is none, or a socket elsewhere is an error that says so."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups),
    ):
        for options, text in (
            ({"version": "v1alpha"}, "not supported by kubelet"),
            ({"resource": "cards"}, "DOMAIN/NAME"),
            ({"resource": "kubernetes.io/card"}, "outside of kubernetes.io"),
            ({"endpoint": "../elsewhere.sock"}, "not the name of a socket"),
        ):
            with pytest.raises(channel.RpcError, match=text):
                await register(tmp_path / "root", **options)


class Hanging:
    """A plugin that does not answer."""

    def __init__(self) -> None:
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def allocate(self, request: pb.AllocateRequest) -> pb.AllocateResponse:
        self.asked.set()
        await self.goes_on.wait()
        return pb.AllocateResponse()


async def test_a_plugin_that_goes_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """The pod that waits is told so: a cancellation would end its worker without a word."""
    plugin, socket = Hanging(), tmp_path / "vendor.sock"
    with_all = pb.DESCRIPTOR.services_by_name["DevicePlugin"]
    async with server.serving(socket, {with_all: plugin}, path=16, target="device plugin"):
        endpoint = Endpoint(str(socket), RESOURCE)
        waiting = asyncio.create_task(endpoint.allocate(["card0"]))
        await plugin.asked.wait()
        await endpoint.close()
        with pytest.raises(PluginFailure, match="the connection was closed"):
            await waiting
        plugin.goes_on.set()
