"""The calls of CRI that the kubelet makes, with plain arguments and values back."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from pynetes.component.metrics import REGISTRY
from pynetes.kubelet.cri import state
from pynetes.kubelet.cri.state import Sandbox, State
from pynetes.rpc import channel
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from pynetes.rpc.cri import runtime_v1_pb2_grpc as stubs

#: As upstream's --runtime-request-timeout. Pulls and stops get their own.
TIMEOUT = 120.0
PULL_TIMEOUT = 3600.0

OPERATIONS = REGISTRY.counter(
    "kubelet_runtime_operations_total", "Cumulative number of runtime operations by operation type.", "operation_type"
)
ERRORS = REGISTRY.counter(
    "kubelet_runtime_operations_errors_total", "Cumulative number of runtime operation errors.", "operation_type"
)
SECONDS = REGISTRY.histogram(
    "kubelet_runtime_operations_duration_seconds", "Duration in seconds of runtime operations.", "operation_type"
)

STATES = {
    pb.CONTAINER_CREATED: State.CREATED,
    pb.CONTAINER_RUNNING: State.RUNNING,
    pb.CONTAINER_EXITED: State.EXITED,
    pb.CONTAINER_UNKNOWN: State.UNKNOWN,
}


class RuntimeFailure(Exception):
    """The runtime refused or failed; code is gRPC's name of the failure (NOT_FOUND, UNAVAILABLE, …)."""

    def __init__(self, error: channel.RpcError) -> None:
        super().__init__(error.details() or error.code().name)
        self.code: str = error.code().name

    @property
    def absent(self) -> bool:
        """What was asked for does not exist."""
        return self.code == "NOT_FOUND"


@dataclass(frozen=True, kw_only=True)
class Features:
    """What a runtime can do. handlers: by name, whether recursive read-only mounts, and whether user namespaces."""

    supplemental_groups: bool = False
    handlers: dict[str, tuple[bool, bool]] = field(default_factory=dict)

    @property
    def with_recursive_read_only(self) -> frozenset[str]:
        """The handlers that make mounts below a read-only one read-only."""
        return frozenset(name for name, (recursive, _) in self.handlers.items() if recursive)

    @property
    def with_user_namespaces(self) -> frozenset[str]:
        """The handlers that can give a pod users of its own; the default one is called ""."""
        return frozenset(name for name, (_, users) in self.handlers.items() if users)


class Runtime:
    """A client of one runtime. Made inside the running event loop; close it in the end."""

    def __init__(self, endpoint: str) -> None:
        self._channel = channel.unix_channel(endpoint, path=14, source="kubelet", target="container runtime")
        self._runtime = stubs.RuntimeServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._images = stubs.ImageServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def version(self) -> pb.VersionResponse:
        """Name and version of the runtime."""
        response: pb.VersionResponse = await self._call(self._runtime.Version, pb.VersionRequest(), timeout=5.0)
        return response

    async def conditions(self) -> dict[str, tuple[bool, str]]:
        """RuntimeReady and NetworkReady: whether, and if not why."""
        response = await self._call(self._runtime.Status, pb.StatusRequest(), timeout=10.0)
        return {one.type: (one.status, one.message or one.reason) for one in response.status.conditions}

    async def features(self) -> Features:
        """What the runtime can do beyond the basics; an old one says nothing, and can do none of it."""
        response = await self._call(self._runtime.Status, pb.StatusRequest(), timeout=10.0)
        handlers = {one.name: one.features for one in response.runtime_handlers}
        return Features(
            supplemental_groups=response.features.supplemental_groups_policy,
            handlers={
                name: (one.recursive_read_only_mounts, one.user_namespaces) for name, one in sorted(handlers.items())
            },
        )

    async def pods(self, uid: str = "") -> dict[str, list[tuple[pb.PodSandbox, list[pb.Container]]]]:
        """The cheap list of everything (or of one pod): sandboxes with their containers, by pod UID."""
        selector = {state.POD_UID: uid} if uid else {}
        sandboxes = await self._call(
            self._runtime.ListPodSandbox,
            pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=selector)),
        )
        containers = await self._call(
            self._runtime.ListContainers, pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=selector))
        )
        inside: dict[str, list[pb.Container]] = {}
        for container in containers.containers:
            inside.setdefault(container.pod_sandbox_id, []).append(container)
        found: dict[str, list[tuple[pb.PodSandbox, list[pb.Container]]]] = {}
        for sandbox in sandboxes.items:
            owner = sandbox.labels.get(state.POD_UID) or sandbox.metadata.uid
            found.setdefault(owner, []).append((sandbox, inside.get(sandbox.id, [])))
        return found

    async def sandbox(self, listed: pb.PodSandbox) -> Sandbox:
        """A sandbox with its addresses."""
        ips: tuple[str, ...] = ()
        if listed.state == pb.SANDBOX_READY:
            request = pb.PodSandboxStatusRequest(pod_sandbox_id=listed.id)
            network = (await self._call(self._runtime.PodSandboxStatus, request)).status.network
            ips = tuple(ip for ip in (network.ip, *(extra.ip for extra in network.additional_ips)) if ip)
        return Sandbox(
            id=listed.id,
            ready=listed.state == pb.SANDBOX_READY,
            attempt=listed.metadata.attempt,
            created=state.moment(listed.created_at),
            ips=ips,
        )

    async def container_status(self, container_id: str) -> pb.ContainerStatus:
        """The full status of a container."""
        request = pb.ContainerStatusRequest(container_id=container_id)
        response: pb.ContainerStatusResponse = await self._call(self._runtime.ContainerStatus, request)
        return response.status

    async def process(self, container_id: str) -> int:
        """The number of a running container's first process; 0 if it does not run, or the runtime does not say."""
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=True)
        response = await self._call(self._runtime.ContainerStatus, request)
        if response.status.state != pb.CONTAINER_RUNNING:
            return 0
        return int(json.loads(response.info.get("info") or "{}").get("pid") or 0)

    async def run_sandbox(self, config: pb.PodSandboxConfig, handler: str = "") -> str:
        """Start a sandbox; its ID."""
        request = pb.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return str((await self._call(self._runtime.RunPodSandbox, request, timeout=240.0)).pod_sandbox_id)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox and whatever still runs in it; an absent one is no error."""
        request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._tolerant(self._runtime.StopPodSandbox, request)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a stopped sandbox and its containers; an absent one is no error."""
        request = pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id)
        await self._tolerant(self._runtime.RemovePodSandbox, request)

    async def create_container(self, sandbox: str, config: pb.ContainerConfig, of: pb.PodSandboxConfig) -> str:
        """Create a container; its ID."""
        request = pb.CreateContainerRequest(pod_sandbox_id=sandbox, config=config, sandbox_config=of)
        return str((await self._call(self._runtime.CreateContainer, request)).container_id)

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        await self._call(self._runtime.StartContainer, pb.StartContainerRequest(container_id=container_id))

    async def stop_container(self, container_id: str, grace: int) -> None:
        """TERM, and KILL after grace seconds; an absent container is no error."""
        request = pb.StopContainerRequest(container_id=container_id, timeout=grace)
        await self._tolerant(self._runtime.StopContainer, request, timeout=TIMEOUT + grace)

    async def remove_container(self, container_id: str) -> None:
        """Remove a container that does not run; an absent one is no error."""
        await self._tolerant(self._runtime.RemoveContainer, pb.RemoveContainerRequest(container_id=container_id))

    async def update_container(self, container_id: str, resources: pb.LinuxContainerResources) -> None:
        """Change a running container's resources; fields that are 0 stay as they are."""
        request = pb.UpdateContainerResourcesRequest(container_id=container_id, linux=resources)
        await self._call(self._runtime.UpdateContainerResources, request)

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: int) -> tuple[int, bytes]:
        """Run a command: exit code and output (stdout, then stderr). RuntimeFailure DEADLINE_EXCEEDED on a timeout."""
        request = pb.ExecSyncRequest(container_id=container_id, cmd=list(command), timeout=timeout)
        response = await self._call(self._runtime.ExecSync, request, timeout=timeout + 5.0 if timeout else None)
        return response.exit_code, response.stdout + response.stderr

    async def exec_url(self, request: pb.ExecRequest) -> str:
        """The URL at which the runtime will stream a command's input and output, once."""
        return str((await self._call(self._runtime.Exec, request)).url)

    async def attach_url(self, request: pb.AttachRequest) -> str:
        """The URL at which the runtime streams a running container's input and output."""
        return str((await self._call(self._runtime.Attach, request)).url)

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """The URL at which the runtime forwards ports of a sandbox."""
        request = pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=list(ports))
        return str((await self._call(self._runtime.PortForward, request)).url)

    async def image(self, name: str) -> pb.Image | None:
        """A present image."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=name))
        response = await self._call(self._images.ImageStatus, request)
        return response.image if response.image.id else None

    async def images(self) -> list[pb.Image]:
        """All present images."""
        return list((await self._call(self._images.ListImages, pb.ListImagesRequest())).images)

    async def pull(self, name: str, sandbox: pb.PodSandboxConfig, auth: pb.AuthConfig | None = None) -> str:
        """Pull an image; its reference."""
        request = pb.PullImageRequest(image=pb.ImageSpec(image=name), auth=auth, sandbox_config=sandbox)
        return str((await self._call(self._images.PullImage, request, timeout=PULL_TIMEOUT)).image_ref)

    async def image_filesystem(self) -> pb.FilesystemUsage | None:
        """Where images are kept and what they take; None where the runtime does not say."""
        response = await self._call(self._images.ImageFsInfo, pb.ImageFsInfoRequest())
        return next((one for one in response.image_filesystems if one.fs_id.mountpoint), None)

    async def image_folder(self) -> Path | None:
        """Where images are kept; None where the runtime does not say."""
        found = await self.image_filesystem()
        return Path(found.fs_id.mountpoint) if found else None

    async def remove_image(self, name: str) -> None:
        """Remove an image; an absent one is no error."""
        await self._tolerant(self._images.RemoveImage, pb.RemoveImageRequest(image=pb.ImageSpec(image=name)))

    async def stats(self) -> list[pb.ContainerStats]:
        """Resource use of every running container."""
        return list((await self._call(self._runtime.ListContainerStats, pb.ListContainerStatsRequest())).stats)

    async def reopen_log(self, container_id: str) -> None:
        """Make the runtime open a rotated log anew."""
        await self._call(self._runtime.ReopenContainerLog, pb.ReopenContainerLogRequest(container_id=container_id))

    async def _call(self, method: Any, request: Message, *, timeout: float | None = TIMEOUT) -> Any:
        operation, started = type(request).__name__.removesuffix("Request"), time.monotonic()
        OPERATIONS.inc(operation)
        try:
            return await method(request, timeout=timeout)
        except channel.RpcError as error:
            ERRORS.inc(operation)
            raise RuntimeFailure(error) from error
        finally:
            SECONDS.observe(time.monotonic() - started, operation)

    async def _tolerant(self, method: Any, request: Message, *, timeout: float = TIMEOUT) -> None:
        try:
            await self._call(method, request, timeout=timeout)
        except RuntimeFailure as failure:
            if not failure.absent:
                raise
