"""Ends the pods of a node through its container runtime, so that CNI takes their addresses and namespaces back."""

import asyncio

from pynetes.cluster.containerd import Containerd
from pynetes.rpc import channel
from pynetes.rpc.cri import runtime_v1_pb2 as messages
from pynetes.rpc.cri import runtime_v1_pb2_grpc as stubs


async def remove_all(containerd: Containerd, *, timeout: float = 60) -> int:
    """Stop and remove every sandbox; returns how many there were. Raises RpcError, TimeoutError."""
    async with asyncio.timeout(timeout):
        connection = channel.unix_channel(containerd.socket, path=0, source="pynetes", target="containerd")
        try:
            runtime = stubs.RuntimeServiceStub(connection)  # type: ignore[no-untyped-call] # generated
            listed = await runtime.ListPodSandbox(messages.ListPodSandboxRequest())

            async def remove(sandbox: str) -> None:
                await runtime.StopPodSandbox(messages.StopPodSandboxRequest(pod_sandbox_id=sandbox))
                await runtime.RemovePodSandbox(messages.RemovePodSandboxRequest(pod_sandbox_id=sandbox))

            async with asyncio.TaskGroup() as group:
                for item in listed.items:
                    group.create_task(remove(item.id))
            return len(listed.items)
        finally:
            await connection.close()
