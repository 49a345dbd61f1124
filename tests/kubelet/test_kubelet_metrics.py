"""The kubelet's metrics of what happens move when it happens, and those of a pod go with it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.kubelet import metrics
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.probes.prober import PROBES
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.rig import Rig, pod

PROBE = {"exec": {"command": ["true"]}, "periodSeconds": 1}


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[tuple[Rig, FakeRuntime]]:
    """A kubelet on a fake runtime."""
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        rigs.running(endpoint, tmp_path / "kubelet", cgroups=Cgroups(mount=tmp_path / "cgroup")) as rig,
    ):
        yield rig, runtime


async def test_a_life_is_counted(node: tuple[Rig, FakeRuntime]) -> None:
    """A sandbox that fails and one that is made, containers per pod, and each status that the API server got."""
    rig, runtime = node
    runtime.refuse["RunPodSandbox"] = "no network"
    failed = metrics.SANDBOX_ERRORS.value("")
    counts = {one: one.count() for one in (metrics.CONTAINERS, metrics.SYNC_SECONDS)}
    sandboxes = metrics.SANDBOX_SECONDS.count("")
    await rig.started(pod("web"))
    assert metrics.SANDBOX_ERRORS.value("") == failed + 1
    assert metrics.SANDBOX_SECONDS.count("") == sandboxes + 2
    assert metrics.CONTAINERS.count() == counts[metrics.CONTAINERS] + 1
    assert metrics.SYNC_SECONDS.count() > counts[metrics.SYNC_SECONDS]


async def test_a_refused_pod_is_counted_by_its_reason(node: tuple[Rig, FakeRuntime]) -> None:
    """As upstream counts admission."""
    rig, _ = node
    before = metrics.REJECTIONS.value("NodeAffinity")
    rig.api.put(pod("far", nodeSelector={"on": "mars"}))
    await rig.until(lambda: rig.status("far").get("reason") == "NodeAffinity")
    assert metrics.REJECTIONS.value("NodeAffinity") == before + 1


async def test_probes_are_timed_and_forgotten_with_their_pod(node: tuple[Rig, FakeRuntime]) -> None:
    """By kind, container, pod and namespace: a page of metrics does not grow with pods that are gone."""
    rig, _ = node
    sample = (
        'prober_probe_duration_seconds_count{probe_type="Readiness",container="c",pod="probed",namespace="default"}'
    )
    await rig.started(pod("probed", container={"readinessProbe": PROBE}))
    assert sample in PROBES.text()
    await rig.deleted("probed")
    await rig.until(lambda: "probed" not in PROBES.text())
