"""Calls a key management service on its Unix socket."""

from typing import Any

import grpc.aio

from pynetes.rpc.channel import unix_channel
from pynetes.rpc.kms import api_pb2_grpc as stubs


class CallError(Exception):
    """The service did not answer; the text says why."""


class KeyManagementService:
    """A client of one endpoint; connects with the first call, inside the running loop."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._channel: grpc.aio.Channel | None = None

    async def call(self, method: str, request: object, timeout: float) -> Any:
        """Raises CallError."""
        if self._channel is None:
            self._channel = unix_channel(self._endpoint, path=0, source="kube-apiserver", target="kms")
        stub = stubs.KeyManagementServiceStub(self._channel)
        try:
            return await getattr(stub, method)(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise CallError(f"{method}: {error.code().name}: {error.details()}") from None

    async def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            await self._channel.close()
            self._channel = None
