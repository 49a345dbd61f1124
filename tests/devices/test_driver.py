"""Dynamic resources on a node: the driver publishes, the kubelet prepares a pod's claim, the container gets it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import events, nodes
from pynetes.apis.resource import resourceslices
from pynetes.client.fake import FakeAPI
from pynetes.component import tasks
from pynetes.component.clock import SystemClock
from pynetes.controllers import resourceclaim
from pynetes.devices import driver
from pynetes.devices.driver import Config
from pynetes.kubelet.claims import SERVICE, ClaimFailure, Claims
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.devices import cdi
from pynetes.kubelet.plugins.registry import Plugin
from pynetes.machinery.meta import Key, Object
from pynetes.rpc import server
from pynetes.rpc.dra import api_pb2 as pb
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.rig import pod


def claimed(name: str) -> Object:
    """A pod with the claim c1 for its container."""
    claims = [{"name": "thing", "resourceClaimName": "c1"}]
    return pod(name, resourceClaims=claims, container={"resources": {"claims": [{"name": "thing"}]}})


def claim(*reserved: str, device: str = "thing0") -> Object:
    """An allocated claim, reserved for pods."""
    result = {"request": "r", "driver": "devices.pynetes.io", "pool": "n1", "device": device}
    consumers = [{"resource": "pods", "name": name, "uid": f"uid-{name}"} for name in reserved]
    status: dict[str, Any] = {"allocation": {"devices": {"results": [result]}}, "reservedFor": consumers}
    metadata = {"name": "c1", "namespace": "default", "uid": "uid-c1", "finalizers": [resourceclaim.FINALIZER]}
    base = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": metadata}
    return {**base, "spec": {}, "status": status}


def config(tmp_path: Path) -> Config:
    """A driver for a file that stands in for a device."""
    (tmp_path / "thing0").touch()
    root = str(tmp_path / "root")
    device = (str(tmp_path / "thing*"),)
    return Config(node_name="n1", device=device, kubelet_dir=root, cdi_dir=str(tmp_path / "cdi"))


async def test_claim_reaches_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepared before the pod's sandbox, with the device in the container, and unprepared when the pod is over."""
    monkeypatch.setattr(cdi, "FOLDERS", (tmp_path / "cdi",))
    api = FakeAPI()
    given, cgroups = config(tmp_path), Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        rigs.running(endpoint, tmp_path / "root", api, cgroups=cgroups) as rig,
        tasks.Group() as group,
    ):
        assert api.get(nodes.RESOURCE, Key("", "n1"))
        group.start(driver.run(given, api.client(component="dra-driver")))
        await rig.until(lambda: api.listed(resourceslices.RESOURCE))
        (published,) = api.listed(resourceslices.RESOURCE)
        assert [one["name"] for one in published["spec"]["devices"]] == ["thing0"]
        api.put(claim())
        api.put(claimed("web"))
        await rig.until(lambda: any("not reserved" in one["message"] for one in api.listed(events.RESOURCE)))
        api.put(claim("web"))
        await rig.until(lambda: rig.ready("web"))
        (made,) = runtime.configs.values()
        assert made.devices[0].host_path == str(tmp_path / "thing0")
        (path,) = (tmp_path / "cdi").glob("*.json")
        assert json.loads(path.read_text())["kind"] == "devices.pynetes.io/claim"
        (told,) = rig.kubelet.ctx.claims.told(claimed("web"), claimed("web")["spec"]["containers"][0])
        assert told.claim_resources[0].device_name == "thing0"
        await rig.deleted("web")
        await rig.until(lambda: not list((tmp_path / "cdi").glob("*.json")))


class Hanging:
    """A driver that does not answer."""

    def __init__(self) -> None:
        self.asked, self.goes_on = asyncio.Event(), asyncio.Event()

    async def node_prepare_resources(self, request: pb.NodePrepareResourcesRequest) -> pb.NodePrepareResourcesResponse:
        self.asked.set()
        await self.goes_on.wait()
        return pb.NodePrepareResourcesResponse()


async def test_a_driver_that_goes_in_the_middle_of_a_call(tmp_path: Path) -> None:
    """The pod is told so and tries again: a cancellation would end its worker without a word."""
    api, hanging, socket = FakeAPI(), Hanging(), tmp_path / "dra.sock"
    api.put(claim("web"))
    service = pb.DESCRIPTOR.services_by_name["DRAPlugin"]
    async with server.serving(socket, {service: hanging}, path=16, target="DRA driver"), tasks.Group() as group:
        claims = Claims(api.client(component="kubelet"), tmp_path, SystemClock(), group)
        at = str(socket)
        plugin = Plugin(type="DRAPlugin", name="devices.pynetes.io", endpoint=at, versions=(SERVICE,), socket=at)
        await claims.register(plugin)
        waiting = asyncio.create_task(claims.prepare(claimed("web")))
        await hanging.asked.wait()
        await claims.deregister(plugin)
        with pytest.raises(ClaimFailure, match="the connection was closed"):
            await waiting
        hanging.goes_on.set()


def test_reservations_of_pods_that_are_over() -> None:
    """They are taken out; with the last one the devices are given back, and not before."""
    two = claim("a", "b")
    kept = resourceclaim.released(two, {"uid-a"})
    assert kept is not None
    assert [one["name"] for one in kept["reservedFor"]] == ["a"]
    assert "allocation" in kept
    freed = resourceclaim.released(two, set())
    assert freed is not None
    assert "allocation" not in freed
    assert resourceclaim.released(two, {"uid-a", "uid-b"}) is None
    # Allocated a moment ago by the scheduler, which reserves it in the same write; nothing is to be taken away.
    assert resourceclaim.released({**two, "status": {"allocation": two["status"]["allocation"]}}, set()) is None


def test_templates_become_claims() -> None:
    """The pod owns the claim, whose annotation says which of the pod's claims it is."""
    template = {"spec": {"metadata": {"labels": {"a": "b"}}, "spec": {"devices": {"requests": []}}}}
    made = resourceclaim.made(pod("web"), {"name": "thing"}, template)
    assert made["metadata"]["generateName"] == "web-thing-"
    assert made["metadata"]["ownerReferences"][0]["uid"] == "uid-web"
    assert made["metadata"]["labels"] == {"a": "b"}
    assert made["metadata"]["annotations"] == {resourceclaim.POD_CLAIM: "thing"}
