"""Serves gRPC on a Unix socket: the seam for what others call, as a CSI driver or a device plugin.

A service is an object whose methods are the RPCs in snake case: `async def create_volume(self, request) -> response`.
What it has not is UNIMPLEMENTED; `Failure` is the one way to answer with an error. A streaming RPC is an async
generator. So a driver is written, and tested, without a word of gRPC.
"""

import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import message_factory

from pynetes.component import logs
from pynetes.component.tracing import RECORDER, Interaction, now
from pynetes.rpc.channel import MAX_MESSAGE, reachable

_LOG = logging.getLogger(__name__)
#: Seconds that running calls get to end when the server stops.
GRACE = 5.0


class Failure(Exception):
    """An RPC's answer is an error; `code` is gRPC's name of it (NOT_FOUND, INVALID_ARGUMENT, …)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = grpc.StatusCode[code]


def method_name(rpc: str) -> str:
    """The method that serves an RPC: ListAndWatch → list_and_watch."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", rpc).lower()


def handlers(service: Any, implementation: object, *, path: int, target: str) -> grpc.GenericRpcHandler:
    """What gRPC needs to serve one service (a ServiceDescriptor) by an implementation."""
    made: dict[str, Any] = {}
    for rpc in service.methods:
        function = getattr(implementation, method_name(rpc.name), None)
        if function is None:
            continue
        codecs = {
            "request_deserializer": message_factory.GetMessageClass(rpc.input_type).FromString,
            "response_serializer": message_factory.GetMessageClass(rpc.output_type).SerializeToString,
        }
        if rpc.server_streaming:
            made[rpc.name] = grpc.unary_stream_rpc_method_handler(_streaming(function), **codecs)
        else:
            answer = _unary(rpc.name, function, path, target)
            made[rpc.name] = grpc.unary_unary_rpc_method_handler(answer, **codecs)
    return grpc.method_handlers_generic_handler(service.full_name, made)


def _unary(rpc: str, function: Callable[[Any], Awaitable[Any]], path: int, target: str) -> Any:
    async def answer(request: Any, context: Any) -> Any:
        started, error = time.monotonic(), ""
        try:
            return await function(request)
        except Failure as failure:
            error = failure.code.name
            _LOG.info(logs.fact("refused", rpc=rpc, code=error, error=str(failure)))
            await context.abort(failure.code, str(failure))
        except Exception as failure:
            error = "INTERNAL"
            _LOG.exception(logs.fact("failed", rpc=rpc, error=str(failure)))
            await context.abort(grpc.StatusCode.INTERNAL, f"{type(failure).__name__}: {failure}")
        finally:
            seconds = time.monotonic() - started
            if path:
                RECORDER.record(Interaction(path, now(), "client", target, rpc, seconds=seconds, error=error))

    return answer


def _streaming(function: Callable[[Any], AsyncIterator[Any]]) -> Any:
    async def answer(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async for message in function(request):
                yield message
        except Failure as failure:
            await context.abort(failure.code, str(failure))

    return answer


@asynccontextmanager
async def serving(
    socket: str | Path, services: Mapping[Any, object], *, path: int, target: str
) -> AsyncIterator[grpc.aio.Server]:
    """Serve implementations by service descriptor on a socket (a path, or unix:///path) while the block runs."""
    address = Path(str(socket).removeprefix("unix://"))
    address.parent.mkdir(parents=True, exist_ok=True)
    # What a killed process left behind would make bind fail.
    address.unlink(missing_ok=True)
    server = grpc.aio.server(
        options=(
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
        )
    )
    server.add_generic_rpc_handlers(
        tuple(handlers(service, one, path=path, target=target) for service, one in services.items())
    )
    server.add_insecure_port(f"unix:{reachable(address)}")
    await server.start()
    address.chmod(0o600)
    try:
        yield server
    finally:
        await server.stop(GRACE)
        with suppress(FileNotFoundError):
            address.unlink()
