"""A driver for dynamic resource allocation: publishes device files as a ResourceSlice and prepares claims with CDI.

One process per node. The slice is owned by the node, so it goes with it. Preparing a claim writes one CDI specification
with the claim's devices; unpreparing removes it. Both may be repeated.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pynetes.apis.core import nodes
from pynetes.apis.resource import resourceclaims, resourceslices
from pynetes.client.rest import Client
from pynetes.component import logs, tasks
from pynetes.component.config import option
from pynetes.component.remedy import RemedyError
from pynetes.devices.plugin import matching
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.rpc import server
from pynetes.rpc.dra import api_pb2 as pb
from pynetes.rpc.pluginregistration import api_pb2 as registration

log = logging.getLogger(__name__)

KUBELET = "/var/lib/kubelet"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which devices are published, by which driver, on which node."""

    driver: str = option("--driver", "devices.pynetes.io", "The driver's name.")
    device: tuple[str, ...] = option("--device", ("/dev/fuse",), "Device files, or patterns as /dev/loop[0-9].")
    node_name: str = option("--node-name", "", "The node that this process serves.")
    kubeconfig: str = option("--kubeconfig", "", "Path to a kubeconfig; the pod's own identity if empty.")
    kubelet_dir: str = option("--kubelet-dir", KUBELET, "The kubelet's root, as this process sees it.")
    cdi_dir: str = option("--cdi-dir", "/var/run/cdi", "Where CDI specifications are written.")
    v: int = option("-v", 0, "Verbosity of the log, 0 to 10.")


class Driver:
    """The services DRAPlugin and Registration."""

    def __init__(self, config: Config, client: Client) -> None:
        self._config, self._client = config, client
        self.files = {path.name.lower().replace("_", "-"): path for path in matching(config.device)}
        self.socket = Path(config.kubelet_dir) / "plugins" / config.driver / "dra.sock"

    async def get_info(self, request: registration.InfoRequest) -> registration.PluginInfo:
        """Who this is."""
        return registration.PluginInfo(
            type="DRAPlugin",
            name=self._config.driver,
            endpoint=str(self.socket),
            supported_versions=["v1.DRAPlugin"],
        )

    async def notify_registration_status(
        self, request: registration.RegistrationStatus
    ) -> registration.RegistrationStatusResponse:
        """How it went."""
        if request.plugin_registered:
            log.info(logs.fact("registered", driver=self._config.driver))
        else:
            log.warning(logs.fact("not registered", driver=self._config.driver, error=request.error))
        return registration.RegistrationStatusResponse()

    async def node_prepare_resources(self, request: pb.NodePrepareResourcesRequest) -> pb.NodePrepareResourcesResponse:
        """Write a CDI specification for each claim."""
        return pb.NodePrepareResourcesResponse(claims={one.uid: await self._prepare(one) for one in request.claims})

    async def node_unprepare_resources(
        self, request: pb.NodeUnprepareResourcesRequest
    ) -> pb.NodeUnprepareResourcesResponse:
        """Remove it."""
        for one in request.claims:
            self._specification(one.uid).unlink(missing_ok=True)
        done = {one.uid: pb.NodeUnprepareResourceResponse() for one in request.claims}
        return pb.NodeUnprepareResourcesResponse(claims=done)

    async def _prepare(self, asked: pb.Claim) -> pb.NodePrepareResourceResponse:
        try:
            claim = await self._client.get(resourceclaims.RESOURCE, Key(asked.namespace, asked.name))
        except StatusError as error:
            return pb.NodePrepareResourceResponse(error=str(error))
        if claim["metadata"]["uid"] != asked.uid:
            return pb.NodePrepareResourceResponse(error=f"claim {asked.name} has another UID: it was made anew")
        results = list(_results(claim, self._config.driver))
        unknown = [one["device"] for one in results if one["device"] not in self.files]
        if unknown:
            return pb.NodePrepareResourceResponse(error=f"no such device: {', '.join(unknown)}")
        self._write(asked.uid, {one["device"] for one in results})
        kind = f"{self._config.driver}/claim"
        return pb.NodePrepareResourceResponse(
            devices=[
                pb.Device(
                    request_names=[one["request"]],
                    pool_name=one["pool"],
                    device_name=one["device"],
                    cdi_device_ids=[f"{kind}={asked.uid}-{one['device']}"],
                )
                for one in results
            ]
        )

    def _write(self, uid: str, names: set[str]) -> None:
        devices = []
        for name in sorted(names):
            file = str(self.files[name])
            edits = {"deviceNodes": [{"path": file}], "env": [f"DEVICE_{name.upper().replace('-', '_')}={file}"]}
            devices.append({"name": f"{uid}-{name}", "containerEdits": edits})
        document = {"cdiVersion": "0.5.0", "kind": f"{self._config.driver}/claim", "devices": devices}
        path = self._specification(uid)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(document))
        fresh.replace(path)

    def _specification(self, uid: str) -> Path:
        return Path(self._config.cdi_dir) / f"{self._config.driver}-{uid}.json"

    async def publish(self) -> None:
        """Write the node's slice: a new generation where it has changed."""
        name = self._config.node_name
        node = await self._client.get(nodes.RESOURCE, Key("", name))
        wanted = self.slice(node)
        key = Key("", wanted["metadata"]["name"])
        found = await self._client.find(resourceslices.RESOURCE, key)
        if found is None:
            await self._client.create(resourceslices.RESOURCE, wanted)
        elif found["spec"]["devices"] != wanted["spec"]["devices"]:
            generation = found["spec"]["pool"]["generation"] + 1
            pool = {**wanted["spec"]["pool"], "generation": generation}
            await self._client.update(resourceslices.RESOURCE, {**found, "spec": {**wanted["spec"], "pool": pool}})

    def slice(self, node: Object) -> Object:
        """The ResourceSlice of this node's devices."""
        name = node["metadata"]["name"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"], "controller": True}
        return {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceSlice",
            "metadata": {"name": f"{name}-{self._config.driver}", "ownerReferences": [owner]},
            "spec": {
                "driver": self._config.driver,
                "nodeName": name,
                "pool": {"name": name, "generation": 1, "resourceSliceCount": 1},
                "devices": [_device(device, path) for device, path in sorted(self.files.items())],
            },
        }


def _device(name: str, path: Path) -> Object:
    found = path.stat()
    attributes = {
        "path": {"string": str(path)},
        "kind": {"string": "block" if path.is_block_device() else "char"},
        "major": {"int": found.st_rdev >> 8 & 0xFFF},
        "minor": {"int": found.st_rdev & 0xFF},
    }
    return {"name": name, "attributes": attributes}


def _results(claim: Object, driver: str) -> Iterator[Object]:
    allocation = (claim.get("status") or {}).get("allocation") or {}
    for one in (allocation.get("devices") or {}).get("results") or ():
        if one["driver"] == driver:
            yield one


async def run(config: Config, client: Client | None = None) -> None:
    """Serve until cancelled. Raises RemedyError."""
    if not config.node_name:
        raise RemedyError("no node is named", "give --node-name, in a pod from the field spec.nodeName")
    own = client or Client.from_kubeconfig(config.kubeconfig, component="dra-driver")
    driver = Driver(config, own)
    if not driver.files:
        raise RemedyError(f"there is no {' or '.join(config.device)} on this machine", "name others with --device")
    try:
        await driver.publish()
        plugin = pb.DESCRIPTOR.services_by_name["DRAPlugin"]
        registry = registration.DESCRIPTOR.services_by_name["Registration"]
        place = Path(config.kubelet_dir) / "plugins_registry" / f"{config.driver}-reg.sock"
        async with (
            server.serving(driver.socket, {plugin: driver}, path=16, target="DRA driver"),
            server.serving(place, {registry: driver}, path=0, target="DRA driver"),
        ):
            await tasks.forever()
    finally:
        if client is None:
            await own.close()
