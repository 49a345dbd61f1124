"""Connections out of a pod's own network.

The kubelet reaches what a pod does not: the node's loopback, its metadata service, what network policies forbid. So the
`host` that a user writes into a probe or hook is dialled from where the pod is: whatever answers, the pod could have
asked it by itself (docs/decisions/252). Pods in the node's network are the node.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pynetes.kubelet.cri.runtime import Runtime

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


class PodNetwork:
    """A pod's network namespace, held open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def socket(self, info: Sequence[Any]) -> socket.socket:
        """A socket in it, for an address as getaddrinfo gives them. Raises OSError."""
        family, kind, protocol = info[:3]
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._descriptor)
            try:
                made = socket.socket(family, kind, protocol)
            finally:
                # Only this thread has gone there, and nothing else runs in it before it is back.
                _enter(own)
        finally:
            os.close(own)
        made.setblocking(False)
        return made

    async def connect(self, host: str, port: int) -> None:
        """Find out whether something answers. Raises OSError."""
        loop = asyncio.get_running_loop()
        problem = OSError(f"no address of {host}")
        for info in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with self.socket(info) as trying:
                try:
                    await loop.sock_connect(trying, info[4])
                    return
                except OSError as error:
                    problem = error
        raise problem


@contextlib.asynccontextmanager
async def of(runtime: Runtime, container_id: str) -> AsyncIterator[PodNetwork]:
    """The network of a running container. Raises OSError, RuntimeFailure."""
    process = await runtime.process(container_id)
    if not process:
        raise ProcessLookupError(f"container {container_id} has no process")
    descriptor = os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # While the container runs nobody else gets its number: it was this process that was opened.
        if await runtime.process(container_id) != process:
            raise ProcessLookupError(f"container {container_id} has ended")
        yield PodNetwork(descriptor)
    finally:
        os.close(descriptor)


def _enter(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
