"""The device manager: plugins register, list their devices, and are asked for what a container needs to use some.

A plugin registers by calling the kubelet's socket in device-plugins, or by its own socket in plugins_registry. Devices
are given to a pod when it is admitted and taken back when it is over; a restart of either side changes nothing of that.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.component.tasks import Group
from pynetes.kubelet import podspec
from pynetes.kubelet.cm.topology import Nodes
from pynetes.kubelet.devices import checkpoint, pool
from pynetes.kubelet.devices.cdi import Edits
from pynetes.kubelet.devices.endpoint import Endpoint, PluginFailure
from pynetes.kubelet.devices.pool import Allocation, Pool
from pynetes.kubelet.plugins.registry import Plugin, Refused
from pynetes.machinery import names, quantity
from pynetes.machinery.meta import Object
from pynetes.rpc import server
from pynetes.rpc.cri import runtime_v1_pb2 as cri
from pynetes.rpc.deviceplugin import api_pb2 as pb

log = logging.getLogger(__name__)

VERSION = "v1beta1"
#: Seconds after which a resource whose plugin is gone is forgotten, as upstream.
PATIENCE = 300.0
REGISTRATIONS = REGISTRY.counter(
    "kubelet_device_plugin_registration_total",
    "Cumulative number of device plugin registrations. Broken down by resource name.",
    "resource_name",
)
SECONDS = REGISTRY.histogram(
    "kubelet_device_plugin_alloc_duration_seconds",
    "Duration in seconds to serve a device plugin Allocation request. Broken down by resource name.",
    "resource_name",
)


class Inadmissible(Exception):
    """The pod cannot have its devices."""


@dataclass(kw_only=True)
class ForContainer:
    """What a container's devices add to its configuration."""

    environment: dict[str, str] = field(default_factory=dict)
    mounts: list[cri.Mount] = field(default_factory=list)
    devices: list[cri.Device] = field(default_factory=list)
    cdi: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)

    def take(self, edits: Edits) -> None:
        """Put what the CDI names stand for in their place."""
        self.environment.update(edits.environment)
        self.mounts += edits.mounts
        self.devices += edits.devices
        self.cdi = []


class _Asked(NamedTuple):
    """What a container asks for; nodes are those of NUMA that it should be near to."""

    uid: str
    container: str
    resource: str
    amount: int
    nodes: Nodes | None


class Devices:
    """The devices of one node. on_change: what the node's status says of them is different now."""

    def __init__(self, folder: Path, clock: Clock, group: Group, on_change: Callable[[], None]) -> None:
        self._folder, self._clock, self._group, self._on_change = folder, clock, group, on_change
        #: Resources that the node had, and has no more.
        self.gone: set[str] = set()
        self.pool = Pool()
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def restore(self) -> None:
        """Learn from the checkpoint what was given away; its devices are unknown until their plugin is back."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self.pool.allocations, registered = checkpoint.load(self._folder)
        except checkpoint.Spoilt as error:
            log.warning(logs.fact("device checkpoint not used", error=error))
            return
        for resource, ids in registered.items():
            self.pool.listed(resource, [pool.Device(one, healthy=False) for one in ids])

    async def serve(self) -> None:
        """Serve the registration socket until cancelled. Sockets of before are removed: their plugins register anew."""
        for path in self._folder.iterdir():
            if path.is_socket():
                path.unlink()
        service = pb.DESCRIPTOR.services_by_name["Registration"]
        socket = self._folder / "kubelet.sock"
        async with server.serving(socket, {service: _Registration(self)}, path=16, target="kubelet"):
            await asyncio.get_running_loop().create_future()

    # Registration

    async def register(self, plugin: Plugin) -> None:
        """A plugin's socket in plugins_registry. Raises Refused."""
        if VERSION not in plugin.versions:
            raise Refused(f"device plugin {plugin.name} speaks {', '.join(plugin.versions) or '?'}, not {VERSION}")
        endpoint = Endpoint(plugin.endpoint, _checked(plugin.name))
        await endpoint.ask_options()
        self._follow(endpoint)

    async def deregister(self, plugin: Plugin) -> None:
        """The stream of its devices has ended with its process; nothing is left to do."""

    def registered(self, request: pb.RegisterRequest) -> None:
        """A plugin has called. Raises Refused."""
        if request.version != VERSION:
            raise Refused(
                f"requested API version {request.version!r} is not supported by kubelet. Supported: {VERSION}"
            )
        if "/" in request.endpoint or not request.endpoint:
            raise Refused(f"endpoint {request.endpoint!r} is not the name of a socket in {self._folder}")
        socket = str(self._folder / request.endpoint)
        self._follow(Endpoint(socket, _checked(request.resource_name), request.options))

    def _follow(self, endpoint: Endpoint) -> None:
        resource = endpoint.resource
        REGISTRATIONS.inc(resource)
        before = self._tasks.pop(resource, None)
        if before is not None:
            before.cancel()
        self._endpoints[resource] = endpoint
        self.gone.discard(resource)
        self._tasks[resource] = self._group.start(self._watch(endpoint), name=f"devices {resource}")
        log.info(logs.fact("device plugin registered", resource=resource))

    async def _watch(self, endpoint: Endpoint) -> None:
        resource, why = endpoint.resource, "it ended its list"
        try:
            async for devices in endpoint.devices():
                if self.pool.listed(resource, devices):
                    self._save()
                    self._on_change()
        except PluginFailure as failure:
            why = str(failure)
        finally:
            await endpoint.close()
        if self._endpoints.get(resource) is endpoint:
            del self._endpoints[resource]
            log.warning(logs.fact("device plugin is gone", resource=resource, error=why))
            self.pool.lost(resource)
            self._on_change()
            await self._clock.sleep(PATIENCE)
            # No plugin has come back for it: the node has no such resource any more.
            if resource not in self._endpoints:
                self.pool.devices.pop(resource, None)
                self.gone.add(resource)
                self._save()
                self._on_change()

    # Allocation

    async def allocate(self, pod: Object, places: Mapping[str, Nodes] | None = None) -> None:
        """Give a pod what it asks for, near to the NUMA nodes in places. Raises Inadmissible, and it has nothing."""
        uid = pod["metadata"]["uid"]
        if any(one.uid == uid for one in self.pool.allocations):
            return
        reusable: dict[str, set[str]] = {}
        try:
            for container in [*podspec.inits(pod), *podspec.regulars(pod)]:
                lasting = container not in podspec.inits(pod) or podspec.is_sidecar(container)
                for resource, wanted in self.wanted(container):
                    asked = _Asked(uid, container["name"], resource, wanted, (places or {}).get(container["name"]))
                    ids = await self._container(asked, reusable.get(resource, set()))
                    # What an init container leaves is the others'; what a lasting one has is its own.
                    left = reusable.setdefault(resource, set())
                    left.difference_update(ids) if lasting else left.update(ids)
        except (PluginFailure, pool.Shortage) as failure:
            self.pool.release(uid)
            raise Inadmissible(f"Allocate failed due to {failure}, which is unexpected") from failure
        if any(one.uid == uid for one in self.pool.allocations):
            self._save()

    def wanted(self, container: Object) -> Iterator[tuple[str, int]]:
        """The devices that a container asks for, and how many."""
        limits = (container.get("resources") or {}).get("limits") or {}
        for resource in sorted(limits):
            if resource in self.pool.devices:
                yield resource, quantity.parse(limits[resource]).value()

    async def _container(self, asked: _Asked, reusable: set[str]) -> tuple[str, ...]:
        resource, wanted = asked.resource, asked.amount
        if wanted <= 0:
            return ()
        endpoint = self._endpoints.get(resource)
        if endpoint is None:
            raise pool.Shortage(f"no plugin is registered for {resource}")
        available = self.pool.available(resource, reusable)
        first = sorted(reusable & set(available))[:wanted]
        preferred: list[str] = []
        if endpoint.options.get_preferred_allocation_available and len(available) > wanted:
            preferred = await endpoint.prefer(available, first, wanted)
            # Others may have been given some while the plugin was asked.
            available = self.pool.available(resource, reusable)
        near = self._near(resource, asked.nodes)
        ids = pool.choose(resource, wanted, available, first=first, preferred=preferred, near=near)
        taken = Allocation(uid=asked.uid, container=asked.container, resource=resource, ids=ids)
        # Taken before the plugin is asked, so that nobody else gets them meanwhile.
        self.pool.allocations.append(taken)
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await endpoint.allocate(ids)
        SECONDS.observe(loop.time() - began, resource)
        kept = [one for one in self.pool.allocations if one is not taken]
        self.pool.allocations = [*kept, replace(taken, response=answer.SerializeToString())]
        return ids

    def _near(self, resource: str, nodes: Nodes | None) -> dict[str, bool] | None:
        """Which devices are near to the nodes; nobody minds where there are none."""
        if not nodes:
            return None
        return {one.id: not one.nodes or bool(nodes & set(one.nodes)) for one in self.pool.devices[resource].values()}

    def release(self, uid: str) -> None:
        """A pod is over."""
        if self.pool.release(uid):
            self._save()

    def keep_only(self, uids: set[str]) -> None:
        """After a start: pods that are gone have nothing any more."""
        for uid in {one.uid for one in self.pool.allocations} - uids:
            self.release(uid)

    async def for_container(self, pod: Object, container: Object) -> ForContainer:
        """What a container's devices add to it, prepared for its start. Raises PluginFailure."""
        made = ForContainer()
        for one in self.pool.of_container(pod["metadata"]["uid"], container["name"]):
            endpoint = self._endpoints.get(one.resource)
            if endpoint is not None and endpoint.options.pre_start_required:
                await endpoint.pre_start(one.ids)
            _add(made, pb.ContainerAllocateResponse.FromString(one.response))
        return made

    def _save(self) -> None:
        registered = {resource: sorted(devices) for resource, devices in self.pool.devices.items()}
        checkpoint.save(self._folder, self.pool.allocations, registered)


class _Registration:
    """The kubelet's service Registration."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    async def register(self, request: pb.RegisterRequest) -> pb.Empty:
        """Register."""
        try:
            self._devices.registered(request)
        except Refused as refusal:
            log.warning(logs.fact("device plugin refused", resource=request.resource_name, error=refusal))
            raise server.Failure("INVALID_ARGUMENT", str(refusal)) from refusal
        return pb.Empty()


def _checked(resource: str) -> str:
    """The name, if a node may have such a resource. Raises Refused."""
    domain, slash, _ = resource.partition("/")
    own = domain == "kubernetes.io" or domain.endswith(".kubernetes.io") or resource.startswith("requests.")
    if not slash or own or list(names.qualified_name(resource)):
        raise Refused(f"the ResourceName {resource!r} is invalid: it has to be DOMAIN/NAME, outside of kubernetes.io")
    return resource


def _add(made: ForContainer, answer: pb.ContainerAllocateResponse) -> None:
    made.environment.update(answer.envs)
    made.annotations.update(answer.annotations)
    made.cdi += [one.name for one in answer.cdi_devices if one.name not in made.cdi]
    for mount in answer.mounts:
        path = mount.container_path
        if all(one.container_path != path for one in made.mounts):
            made.mounts.append(cri.Mount(container_path=path, host_path=mount.host_path, readonly=mount.read_only))
    for device in answer.devices:
        path = device.container_path
        if all(one.container_path != path for one in made.devices):
            shown = cri.Device(container_path=path, host_path=device.host_path, permissions=device.permissions)
            made.devices.append(shown)
