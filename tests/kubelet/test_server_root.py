"""The kubelet's server before a real container: logs, exec, statistics, and who is let in."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from pynetes.apis.core import pods
from pynetes.cluster.containerd import Containerd
from tests.kubelet import rig as rigs
from tests.kubelet.rig import Rig, pod

pytestmark = pytest.mark.root


@pytest.fixture
async def rig(containerd: Containerd, tmp_path: Path) -> AsyncIterator[Rig]:
    """A kubelet with one pod that says hello and waits."""
    async with rigs.running(containerd.endpoint, tmp_path, cgroup_root="/pynetes-kubelet-test") as made:
        await made.started(pod("web", "echo hello; while test ! -e /tmp/stop; do sleep 0.05; done; echo bye"))
        yield made
        for obj in made.api.listed(pods.RESOURCE):
            made.api.remove(obj)
        await made.until(lambda: not made.kubelet.workers)


def url(rig: Rig, path: str) -> str:
    """Where a path is served."""
    return f"https://127.0.0.1:{rig.kubelet.facts.port}{path}"


async def test_logs(rig: Rig) -> None:
    """A log is read, and followed until the container ends; an unknown container is 404."""
    await rig.until(lambda: "hello" in rig.log("web"))
    async with aiohttp.ClientSession() as session:
        async with session.get(url(rig, "/containerLogs/default/web/c"), ssl=False) as answer:
            assert await answer.text() == "hello\n"
        async with session.get(url(rig, "/containerLogs/default/web/none"), ssl=False) as answer:
            assert answer.status == 404
        async with session.get(url(rig, "/containerLogs/default/web/c?follow=true"), ssl=False) as answer:
            assert await answer.content.readline() == b"hello\n"
            await rig.exec("web", "sh", "-c", "mkdir -p /tmp; touch /tmp/stop")
            async with asyncio.timeout(20):
                assert await answer.content.read() == b"bye\n"


@pytest.mark.parametrize("protocol", ["v4.channel.k8s.io", "channel.k8s.io"])
async def test_exec_over_websocket(rig: Rig, protocol: str) -> None:
    """Output, errors and the exit code pass through the joined connections; the oldest one ends with text."""
    command = "command=sh&command=-c&command=echo+oops+>%262;exit+3"
    target = url(rig, f"/exec/default/web/c?{command}&output=1&error=1")
    channels: dict[int, bytes] = {}
    async with (
        aiohttp.ClientSession() as session,
        asyncio.timeout(20),
        session.ws_connect(target, ssl=False, protocols=[protocol]) as socket,
    ):
        async for message in socket:
            channels[message.data[0]] = channels.get(message.data[0], b"") + message.data[1:]
    assert channels[2] == b"oops\n"
    ended = b'"reason":"ExitCode","message":"3"' if protocol.startswith("v4") else b"exit code 3"
    assert ended in channels[3]


async def test_statistics(rig: Rig) -> None:
    """The summary and the resource metrics name the pod and count its memory."""
    async with aiohttp.ClientSession() as session:
        async with session.get(url(rig, "/stats/summary"), ssl=False) as answer:
            summary = await answer.json()
        assert [one["podRef"]["name"] for one in summary["pods"]] == ["web"]
        async with session.get(url(rig, "/metrics/resource"), ssl=False) as answer:
            text = await answer.text()
    assert 'pod_memory_working_set_bytes{namespace="default",pod="web"}' in text


async def test_nobody_gets_in_without_credentials(containerd: Containerd, tmp_path: Path) -> None:
    """With anonymous access off, a request without a certificate or token is refused."""
    async with (
        rigs.running(containerd.endpoint, tmp_path, cgroup_root="/pynetes-kubelet-test", anonymous_auth=False) as made,
        aiohttp.ClientSession() as session,
    ):
        for path in ("/pods", "/healthz", "/exec/default/web/c", "/metrics"):
            async with session.get(url(made, path), ssl=False) as answer:
                assert answer.status == 401
