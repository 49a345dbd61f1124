"""A container runtime that runs nothing: the CRI service over a real Unix socket, with containers as records.

A test decides what containers do: `exits` makes one end, `commands` answers exec, `refuse` makes a call fail.
"""

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from pynetes.kubelet.cri import state
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from pynetes.rpc.cri import runtime_v1_pb2_grpc as stubs


class FakeRuntime(stubs.RuntimeServiceServicer, stubs.ImageServiceServicer):
    """Sandboxes and containers as the runtime would report them."""

    def __init__(self) -> None:
        self.sandboxes: dict[str, pb.PodSandboxStatus] = {}
        self.containers: dict[str, pb.ContainerStatus] = {}
        self.of: dict[str, str] = {}
        self.configs: dict[str, pb.ContainerConfig] = {}
        #: Handler → whether it has user namespaces; an old runtime tells of none.
        self.handlers: dict[str, bool] = {}
        #: Handlers that make mounts below a read-only one read-only.
        self.recursive: set[str] = set()
        #: What each sandbox was asked for, by the pod's name.
        self.asked: dict[str, pb.PodSandboxConfig] = {}
        self.images = {"pynetes.io/busybox:1.35"}
        #: What it calls itself.
        self.name, self.version = "fake", "1"
        #: Resources that running containers were given, by the container's name.
        self.updates: list[tuple[str, pb.LinuxContainerResources]] = []
        #: Calls that changed something, as "Verb name".
        self.calls: list[str] = []
        #: Verb → message: the next such call fails.
        self.refuse: dict[str, str] = {}
        #: What a command in a container answers: (exit code, output).
        self.commands: Callable[[str, list[str]], tuple[int, bytes]] = lambda name, command: (0, b"")
        self._ids = itertools.count(1)

    def named(self, name: str) -> pb.ContainerStatus:
        """The newest attempt of a container."""
        found = [one for one in self.containers.values() if one.metadata.name == name]
        return max(found, key=lambda one: one.metadata.attempt)

    def exits(self, name: str, code: int) -> None:
        """The newest attempt of a container ends."""
        one = self.named(name)
        one.state, one.exit_code, one.finished_at = pb.CONTAINER_EXITED, code, time.time_ns()

    def loses(self, name: str) -> None:
        """The sandbox of a container ends, and all inside it."""
        sandbox = self.of[self.named(name).id]
        self._stop(sandbox)

    async def _note(self, context: Any, verb: str, name: str) -> None:
        if verb in self.refuse:
            await context.abort(grpc.StatusCode.UNKNOWN, self.refuse.pop(verb))
        self.calls.append(f"{verb} {name}")

    async def Version(self, request: Any, context: Any) -> pb.VersionResponse:  # noqa: N802 - the protocol's names
        return pb.VersionResponse(runtime_name=self.name, runtime_version=self.version, runtime_api_version="v1")

    async def Status(self, request: Any, context: Any) -> pb.StatusResponse:  # noqa: N802
        conditions = [pb.RuntimeCondition(type=kind, status=True) for kind in ("RuntimeReady", "NetworkReady")]
        handlers = [
            pb.RuntimeHandler(
                name=name,
                features=pb.RuntimeHandlerFeatures(
                    user_namespaces=users, recursive_read_only_mounts=name in self.recursive
                ),
            )
            for name, users in self.handlers.items()
        ]
        return pb.StatusResponse(status=pb.RuntimeStatus(conditions=conditions), runtime_handlers=handlers)

    async def RunPodSandbox(self, request: Any, context: Any) -> pb.RunPodSandboxResponse:  # noqa: N802
        config = request.config
        await self._note(context, "RunPodSandbox", config.metadata.name)
        taken = next((one.id for one in self.sandboxes.values() if one.metadata == config.metadata), "")
        if taken:
            await context.abort(grpc.StatusCode.UNKNOWN, f"failed to reserve sandbox name: it is reserved for {taken}")
        self.asked[config.metadata.name] = config
        number = next(self._ids)
        self.sandboxes[f"s{number}"] = pb.PodSandboxStatus(
            id=f"s{number}",
            metadata=config.metadata,
            state=pb.SANDBOX_READY,
            created_at=time.time_ns(),
            network=pb.PodSandboxNetworkStatus(ip=f"10.1.0.{number}"),
            labels=config.labels,
            annotations=config.annotations,
        )
        return pb.RunPodSandboxResponse(pod_sandbox_id=f"s{number}")

    async def StopPodSandbox(self, request: Any, context: Any) -> pb.StopPodSandboxResponse:  # noqa: N802
        await self._note(context, "StopPodSandbox", request.pod_sandbox_id)
        self._stop(request.pod_sandbox_id)
        return pb.StopPodSandboxResponse()

    def _stop(self, sandbox: str) -> None:
        if sandbox in self.sandboxes:
            self.sandboxes[sandbox].state = pb.SANDBOX_NOTREADY
        for one in self.containers.values():
            if self.of[one.id] == sandbox and one.state == pb.CONTAINER_RUNNING:
                one.state, one.exit_code, one.finished_at = pb.CONTAINER_EXITED, 137, time.time_ns()

    async def RemovePodSandbox(self, request: Any, context: Any) -> pb.RemovePodSandboxResponse:  # noqa: N802
        await self._note(context, "RemovePodSandbox", request.pod_sandbox_id)
        self.sandboxes.pop(request.pod_sandbox_id, None)
        for one in [one for one, sandbox in self.of.items() if sandbox == request.pod_sandbox_id]:
            self.containers.pop(one, None)
        return pb.RemovePodSandboxResponse()

    async def PodSandboxStatus(self, request: Any, context: Any) -> pb.PodSandboxStatusResponse:  # noqa: N802
        return pb.PodSandboxStatusResponse(status=self.sandboxes[request.pod_sandbox_id])

    async def ListPodSandbox(self, request: Any, context: Any) -> pb.ListPodSandboxResponse:  # noqa: N802
        wanted = request.filter.label_selector.get(state.POD_UID, "")
        items = [
            pb.PodSandbox(
                id=one.id,
                metadata=one.metadata,
                state=one.state,
                created_at=one.created_at,
                labels=one.labels,
                annotations=one.annotations,
            )
            for one in self.sandboxes.values()
            if wanted in ("", one.labels[state.POD_UID])
        ]
        return pb.ListPodSandboxResponse(items=items)

    async def CreateContainer(self, request: Any, context: Any) -> pb.CreateContainerResponse:  # noqa: N802
        config = request.config
        await self._note(context, "CreateContainer", config.metadata.name)
        made = f"c{next(self._ids)}"
        self.of[made], self.configs[made] = request.pod_sandbox_id, config
        self.containers[made] = pb.ContainerStatus(
            id=made,
            metadata=config.metadata,
            state=pb.CONTAINER_CREATED,
            created_at=time.time_ns(),
            image=pb.ImageSpec(image=config.image.user_specified_image),
            image_ref=config.image.image,
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            log_path=f"/nowhere/{config.log_path}",
        )
        return pb.CreateContainerResponse(container_id=made)

    async def StartContainer(self, request: Any, context: Any) -> pb.StartContainerResponse:  # noqa: N802
        one = self.containers[request.container_id]
        await self._note(context, "StartContainer", one.metadata.name)
        one.state, one.started_at = pb.CONTAINER_RUNNING, time.time_ns()
        return pb.StartContainerResponse()

    async def StopContainer(self, request: Any, context: Any) -> pb.StopContainerResponse:  # noqa: N802
        one = self.containers[request.container_id]
        await self._note(context, "StopContainer", one.metadata.name)
        if one.state == pb.CONTAINER_RUNNING:
            one.state, one.exit_code, one.finished_at = pb.CONTAINER_EXITED, 143, time.time_ns()
        return pb.StopContainerResponse()

    async def UpdateContainerResources(  # noqa: N802
        self, request: Any, context: Any
    ) -> pb.UpdateContainerResourcesResponse:
        one = self.containers[request.container_id]
        await self._note(context, "UpdateContainer", one.metadata.name)
        self.updates.append((one.metadata.name, request.linux))
        return pb.UpdateContainerResourcesResponse()

    async def ListContainers(self, request: Any, context: Any) -> pb.ListContainersResponse:  # noqa: N802
        wanted = request.filter.label_selector.get(state.POD_UID, "")
        found = [
            pb.Container(
                id=one.id, pod_sandbox_id=self.of[one.id], metadata=one.metadata, state=one.state, labels=one.labels
            )
            for one in self.containers.values()
            if wanted in ("", one.labels[state.POD_UID])
        ]
        return pb.ListContainersResponse(containers=found)

    async def ContainerStatus(self, request: Any, context: Any) -> pb.ContainerStatusResponse:  # noqa: N802
        return pb.ContainerStatusResponse(status=self.containers[request.container_id])

    async def ExecSync(self, request: Any, context: Any) -> pb.ExecSyncResponse:  # noqa: N802
        one = self.containers[request.container_id]
        code, output = self.commands(one.metadata.name, list(request.cmd))
        return pb.ExecSyncResponse(exit_code=code, stdout=output)

    async def ImageStatus(self, request: Any, context: Any) -> pb.ImageStatusResponse:  # noqa: N802
        if request.image.image not in self.images:
            return pb.ImageStatusResponse()
        name = request.image.image
        return pb.ImageStatusResponse(image=pb.Image(id=f"sha256:{name}", repo_tags=[name], size=1))

    async def ListImages(self, request: Any, context: Any) -> pb.ListImagesResponse:  # noqa: N802
        return pb.ListImagesResponse(images=[pb.Image(id=name, repo_tags=[name], size=1) for name in self.images])

    async def ImageFsInfo(self, request: Any, context: Any) -> pb.ImageFsInfoResponse:  # noqa: N802
        return pb.ImageFsInfoResponse()

    async def RemoveImage(self, request: Any, context: Any) -> pb.RemoveImageResponse:  # noqa: N802
        await self._note(context, "RemoveImage", request.image.image)
        return pb.RemoveImageResponse()

    async def ListContainerStats(self, request: Any, context: Any) -> pb.ListContainerStatsResponse:  # noqa: N802
        return pb.ListContainerStatsResponse()

    async def PullImage(self, request: Any, context: Any) -> pb.PullImageResponse:  # noqa: N802
        await self._note(context, "PullImage", request.image.image)
        self.images.add(request.image.image)
        return pb.PullImageResponse(image_ref=request.image.image)


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[tuple[FakeRuntime, str]]:
    """A runtime on a socket in folder until the block ends, and its endpoint."""
    runtime, server = FakeRuntime(), grpc.aio.server()
    stubs.add_RuntimeServiceServicer_to_server(runtime, server)  # type: ignore[no-untyped-call]
    stubs.add_ImageServiceServicer_to_server(runtime, server)  # type: ignore[no-untyped-call]
    socket = folder / "cri.sock"
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    try:
        yield runtime, f"unix://{socket}"
    finally:
        await server.stop(None)
