"""The pod resources API: tells monitoring agents on the node which devices, processors and claims a container has."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from pynetes.component.metrics import REGISTRY
from pynetes.kubelet import podspec
from pynetes.kubelet.devices.pool import Device, Pool
from pynetes.machinery.meta import Object
from pynetes.rpc import server
from pynetes.rpc.podresources import api_pb2 as pb

_VERSION = "v1"
_ENDPOINT = {
    name: REGISTRY.counter(f"kubelet_pod_resources_endpoint_{name}", text, "server_api_version")
    for name, text in (
        ("requests_total", "Cumulative number of requests to the PodResource endpoint."),
        ("requests_list", "Number of requests to the PodResource List endpoint."),
        ("requests_get_allocatable", "Number of requests to the PodResource GetAllocatableResources endpoint."),
        ("requests_get", "Number of requests to the PodResource Get endpoint."),
        ("errors_get", "Number of requests to the PodResource Get endpoint which returned error."),
    )
}


def _called(method: str) -> None:
    _ENDPOINT["requests_total"].inc(_VERSION)
    _ENDPOINT[f"requests_{method}"].inc(_VERSION)


class Processors(Protocol):
    """Who has which processors for itself."""

    def of_container(self, uid: str, container: str) -> Sequence[int]:
        """A container's exclusive processors."""

    def allocatable(self) -> Sequence[int]:
        """Those that may be given away."""


class PodResources:
    """The service PodResourcesLister."""

    def __init__(
        self,
        pods: Callable[[], Iterable[Object]],
        pool: Pool,
        processors: Processors,
        claims: Callable[[Object, Object], list[pb.DynamicResource]],
    ) -> None:
        self._pods, self._pool, self._processors, self._claims = pods, pool, processors, claims

    async def list(self, request: pb.ListPodResourcesRequest) -> pb.ListPodResourcesResponse:
        """Every pod that runs here."""
        _called("list")
        return pb.ListPodResourcesResponse(pod_resources=[self._pod(pod) for pod in self._pods()])

    async def get(self, request: pb.GetPodResourcesRequest) -> pb.GetPodResourcesResponse:
        """One pod."""
        _called("get")
        for pod in self._pods():
            metadata = pod["metadata"]
            if (metadata["name"], metadata.get("namespace", "")) == (request.pod_name, request.pod_namespace):
                return pb.GetPodResourcesResponse(pod_resources=self._pod(pod))
        _ENDPOINT["errors_get"].inc(_VERSION)
        raise server.Failure("NOT_FOUND", f"pod {request.pod_namespace}/{request.pod_name} is not on this node")

    async def get_allocatable_resources(
        self, request: pb.AllocatableResourcesRequest
    ) -> pb.AllocatableResourcesResponse:
        """What there is to give away."""
        _called("get_allocatable")
        devices = [
            _devices(resource, [one for one in known.values() if one.healthy])
            for resource, known in sorted(self._pool.devices.items())
        ]
        return pb.AllocatableResourcesResponse(devices=devices, cpu_ids=self._processors.allocatable())

    def _pod(self, pod: Object) -> pb.PodResources:
        metadata = pod["metadata"]
        lasting = [one for one in podspec.inits(pod) if podspec.is_sidecar(one)] + podspec.regulars(pod)
        return pb.PodResources(
            name=metadata["name"],
            namespace=metadata.get("namespace", ""),
            containers=[self._container(pod, one) for one in lasting],
        )

    def _container(self, pod: Object, container: Object) -> pb.ContainerResources:
        uid, name = pod["metadata"]["uid"], container["name"]
        devices = []
        for one in self._pool.of_container(uid, name):
            known = self._pool.devices.get(one.resource, {})
            devices.append(
                _devices(one.resource, [known.get(device, Device(device, healthy=False)) for device in one.ids])
            )
        return pb.ContainerResources(
            name=name,
            devices=devices,
            cpu_ids=self._processors.of_container(uid, name),
            dynamic_resources=self._claims(pod, container),
        )


def _devices(resource: str, devices: Sequence[Device]) -> pb.ContainerDevices:
    nodes = sorted({node for one in devices for node in one.nodes})
    topology = pb.TopologyInfo(nodes=[pb.NUMANode(ID=node) for node in nodes])
    return pb.ContainerDevices(
        resource_name=resource, device_ids=[one.id for one in devices], topology=topology if nodes else None
    )


async def serve(socket: Path, service: PodResources) -> None:
    """Serve until cancelled."""
    descriptor = pb.DESCRIPTOR.services_by_name["PodResourcesLister"]
    async with server.serving(socket, {descriptor: service}, path=0, target="kubelet pod resources"):
        await asyncio.get_running_loop().create_future()
