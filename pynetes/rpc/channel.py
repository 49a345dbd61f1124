"""Opens gRPC channels: the seam where calls over gRPC are timed and recorded for `pynetes paths`.

A channel is opened for one interaction path (14: kubelet to container runtime, 15: to a CSI driver, 16: to a device
plugin), so that no caller has to remember to record.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from pynetes.component.tracing import CAUSE, RECORDER, Interaction, Recorder, now

#: What is larger than gRPC's default of 4 MB: a node's full container list with its annotations.
MAX_MESSAGE = 16 << 20
#: The kernel's limit of a socket's path, without its closing zero.
LONGEST_SOCKET = 107

RpcError = grpc.aio.AioRpcError
StatusCode = grpc.StatusCode


class Tracing(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc]
    """Records every unary call as an Interaction of one path."""

    def __init__(self, *, path: int, source: str, target: str, recorder: Recorder = RECORDER) -> None:
        self._path, self._source, self._target, self._recorder = path, source, target, recorder

    async def intercept_unary_unary(
        self, continuation: Callable[[Any, Any], Awaitable[Any]], details: Any, request: Any
    ) -> Any:
        """Let the call through; note how long it took and how it ended."""
        started = time.monotonic()
        call = await continuation(details, request)
        code = await call.code()
        method = details.method.decode() if isinstance(details.method, bytes) else details.method
        self._recorder.record(
            Interaction(
                path=self._path,
                at=now(),
                source=self._source,
                target=self._target,
                action=method.rsplit("/", 1)[-1],
                object=_object(request),
                seconds=time.monotonic() - started,
                error="" if code == grpc.StatusCode.OK else code.name,
                cause=CAUSE.get(),
            )
        )
        return call


def reachable(socket: str | Path) -> str:
    """A socket's path in the 107 bytes that the kernel takes; a longer one goes through its folder's descriptor.

    Nodes' names and clusters' names are in the paths of plugins' sockets, so they do get longer. The descriptor stays
    open for as long as the process runs, one per folder."""
    path = str(socket).removeprefix("unix://")
    if len(path.encode()) <= LONGEST_SOCKET:
        return path
    folder, _, name = path.rpartition("/")
    return f"/proc/self/fd/{_descriptor(folder, Path(folder).stat().st_ino)}/{name}"


@lru_cache(maxsize=256)
def _descriptor(folder: str, _inode: int) -> int:
    return os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def unix_channel(socket: str | Path, *, path: int, source: str, target: str) -> grpc.aio.Channel:
    """A channel to a Unix socket (a path, or upstream's unix:///path), used inside a running event loop.

    path 0: what is none of the interaction paths, as a key management service, is not recorded."""
    address = reachable(socket)
    return grpc.aio.insecure_channel(
        f"unix:{address}",
        options=(
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            # A runtime that restarts is back within a second; gRPC's own back-off would grow to two minutes.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # Without an authority the socket's path becomes one, which some servers refuse.
            ("grpc.default_authority", "localhost"),
        ),
        interceptors=(Tracing(path=path, source=source, target=target),) if path else (),
    )


def was_closed() -> bool:
    """Of a call that ended with CancelledError: whether its channel was closed. gRPC raises that then in the task that
    waits, which nobody has cancelled, and which would end without a word."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0


def _object(request: Any) -> str:
    """The pod or volume that a request names, as Interaction.object has it; "" for requests by other IDs."""
    volume = getattr(request, "volume_id", "")
    if volume:
        return f"volumes {volume}"
    config = getattr(request, "config", None) or getattr(request, "sandbox_config", None)
    metadata = getattr(config, "metadata", None)
    namespace = getattr(metadata, "namespace", "")
    return f"pods {namespace}/{metadata.name}" if namespace and metadata is not None else ""


async def check_health(host: str, port: int, service: str, timeout: float) -> str:
    """Ask a gRPC server how it is: the name of its serving status, or of the error that the call ended with."""
    from pynetes.rpc.health import health_pb2, health_pb2_grpc

    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with grpc.aio.insecure_channel(address) as opened:
        try:
            stub = health_pb2_grpc.HealthStub(opened)
            response = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))
