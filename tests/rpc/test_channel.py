"""Channels record what crosses them."""

from pathlib import Path

import pytest

from pynetes.component.tracing import RECORDER
from pynetes.kubelet.cri.runtime import Runtime, RuntimeFailure
from pynetes.rpc.cri import runtime_v1_pb2 as pb
from tests.kubelet import fake_runtime


async def test_calls_are_recorded_with_their_pod(tmp_path: Path) -> None:
    """An interaction of path 14, with the method, the pod and how it ended."""
    metadata = pb.PodSandboxMetadata(name="web", namespace="default", uid="u")
    async with fake_runtime.serving(tmp_path) as (fake, endpoint):
        runtime = Runtime(endpoint)
        await runtime.run_sandbox(pb.PodSandboxConfig(metadata=metadata))
        fake.refuse["RunPodSandbox"] = "no room"
        with pytest.raises(RuntimeFailure, match="no room"):
            await runtime.run_sandbox(pb.PodSandboxConfig(metadata=metadata))
        await runtime.close()
    good, bad = list(RECORDER.ring)[-2:]
    assert (good.path, good.action, good.object, good.error) == (14, "RunPodSandbox", "pods default/web", "")
    assert bad.error == "UNKNOWN"


async def test_nobody_at_the_socket_is_unavailable(tmp_path: Path) -> None:
    """A runtime that is down is told from one that refuses."""
    runtime = Runtime(f"unix://{tmp_path}/none.sock")
    with pytest.raises(RuntimeFailure) as caught:
        await runtime.version()
    assert caught.value.code == "UNAVAILABLE"
    await runtime.close()
