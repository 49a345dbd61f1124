"""Pod workers against a runtime that runs nothing: which calls a pod's life makes, and in what order."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.apis.core import pods
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.machinery.meta import Key
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.rig import Rig, pod


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[tuple[Rig, FakeRuntime]]:
    """A kubelet on a fake runtime."""
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        rigs.running(endpoint, tmp_path / "kubelet", cgroups=Cgroups(mount=tmp_path / "cgroup")) as rig,
    ):
        yield rig, runtime


async def test_the_calls_of_a_life(node: tuple[Rig, FakeRuntime]) -> None:
    """One sandbox, one container; deletion stops both, then the object goes, then the sandbox is removed."""
    rig, runtime = node
    await rig.started(pod("web"))
    await rig.deleted("web")
    verbs = [call.split()[0] for call in runtime.calls]
    assert verbs == [
        "RunPodSandbox",
        "CreateContainer",
        "StartContainer",
        "StopContainer",
        "StopPodSandbox",
        "RemovePodSandbox",
    ]


async def test_one_status_write_when_pending_and_one_when_running(node: tuple[Rig, FakeRuntime]) -> None:
    """A quick start costs two writes of status, and looking again none."""
    rig, _ = node
    await rig.started(pod("web"))
    rig.kubelet.workers["uid-web"].wake()
    writes = [write for write in rig.api.writes if write.resource == "pods/status"]
    assert len(writes) == 2


async def test_a_lost_sandbox_is_replaced(node: tuple[Rig, FakeRuntime]) -> None:
    """When the sandbox ends, the pod starts again in a new one and its restart count grows."""
    rig, runtime = node
    await rig.started(pod("web"))
    runtime.loses("c")
    await rig.until(lambda: rig.container("web").get("restartCount") == 1 and rig.ready("web"))
    assert [one.metadata.attempt for one in runtime.sandboxes.values()] == [0, 1]


async def test_a_changed_image_restarts_the_container(node: tuple[Rig, FakeRuntime]) -> None:
    """Another image in the spec stops the container and starts it anew, whatever the restart policy."""
    rig, runtime = node
    runtime.images.add("other:1")
    await rig.started(pod("web", restartPolicy="Never"))
    found = rig.api.get(pods.RESOURCE, Key("default", "web"))
    assert found
    container = {**found["spec"]["containers"][0], "image": "other:1"}
    rig.api.put({**found, "spec": {**found["spec"], "containers": [container]}})
    await rig.until(lambda: rig.container("web")["image"] == "other:1" and rig.ready("web"))
    assert rig.container("web")["restartCount"] == 1


async def test_pulls_by_policy(node: tuple[Rig, FakeRuntime]) -> None:
    """An absent image is pulled; a failed pull is told, waited with, and not tried at once again."""
    rig, runtime = node
    await rig.started(pod("one", container={"image": "fresh:1"}))
    assert "PullImage fresh:1" in runtime.calls
    runtime.refuse["PullImage"] = "no such image"
    rig.api.put(pod("two", container={"image": "missing:1"}))

    def waiting() -> str:
        return str(((rig.container("two").get("state") or {}).get("waiting") or {}).get("reason", ""))

    await rig.until(lambda: waiting() in ("ErrImagePull", "ImagePullBackOff"))
    assert [call for call in runtime.calls if call.startswith("PullImage missing")] == []
    rig.kubelet.workers["uid-two"].wake()
    await rig.until(lambda: waiting() == "ImagePullBackOff")


async def test_a_failing_sandbox_is_told_and_tried_again(node: tuple[Rig, FakeRuntime]) -> None:
    """A sandbox that cannot be made is an event; the next try makes the pod run."""
    rig, runtime = node
    runtime.refuse["RunPodSandbox"] = "no network"
    await rig.started(pod("web"))
    assert "FailedCreatePodSandBox" in rig.reasons("web")


async def test_readiness_gate(node: tuple[Rig, FakeRuntime]) -> None:
    """A pod with a readiness gate is Ready only once somebody sets that condition, which the kubelet then keeps."""
    rig, _ = node
    rig.api.put(pod("gated", readinessGates=[{"conditionType": "example.com/up"}]))
    await rig.until(lambda: rig.container("gated").get("ready"))
    assert not rig.ready("gated")
    found = rig.api.get(pods.RESOURCE, Key("default", "gated"))
    assert found
    condition = {"type": "example.com/up", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    conditions = [*found["status"]["conditions"], condition]
    rig.api.put({**found, "status": {**found["status"], "conditions": conditions}})
    await rig.until(lambda: rig.ready("gated"))
    assert condition in rig.status("gated")["conditions"]


async def test_a_new_kubelet_goes_on_from_the_old_ones_verdicts(tmp_path: Path) -> None:
    """A pod with probes stays Ready while another kubelet takes over, before any probe has run again."""
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    groups = Cgroups(mount=tmp_path / "cgroup")
    async with fake_runtime.serving(tmp_path) as (_, endpoint):
        async with rigs.running(endpoint, tmp_path / "kubelet", cgroups=groups) as first:
            await first.started(pod("web", container={"readinessProbe": probe, "startupProbe": probe}))
        late = {**probe, "initialDelaySeconds": 1000}
        found = first.api.listed(pods.RESOURCE)[0]
        containers = [{**found["spec"]["containers"][0], "readinessProbe": late, "startupProbe": late}]
        first.api.put({**found, "spec": {**found["spec"], "containers": containers}})
        async with rigs.running(endpoint, tmp_path / "kubelet", first.api, cgroups=groups) as second:
            before = len(second.api.writes)
            await second.until(lambda: "uid-web" in second.kubelet.workers)
            second.kubelet.workers["uid-web"].wake()
            await second.until(lambda: second.kubelet.ctx.prober.failed("uid-web") == {})
            assert second.ready("web")
            assert not [write for write in second.api.writes[before:] if write.resource == "pods/status"]


async def test_same_name_new_pod(node: tuple[Rig, FakeRuntime]) -> None:
    """A pod forced away and made again under its name is another pod: the old one stops, the new one starts."""
    rig, runtime = node
    await rig.started(pod("web"))
    old = rig.api.get(pods.RESOURCE, Key("default", "web"))
    assert old
    rig.api.remove(old)
    await rig.started({**pod("web"), "metadata": {"name": "web", "namespace": "default", "uid": "uid-web-2"}})
    await rig.until(lambda: list(rig.kubelet.workers) == ["uid-web-2"])
    assert len(runtime.sandboxes) == 1
