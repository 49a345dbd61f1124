"""In-place resize: what is granted, what the runtime is told, and what the status says meanwhile and afterwards."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import pods
from pynetes.kubelet import resize
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.resize import Verdict
from pynetes.machinery.meta import Key, Object
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.fake_runtime import FakeRuntime
from tests.kubelet.rig import Rig, pod

FREE = {"cpu": "2", "memory": "2Gi"}


def sized(name: str, cpu: str = "100m", memory: str = "64Mi", **container: Any) -> Object:
    """A Guaranteed pod of one container."""
    amounts = {"cpu": cpu, "memory": memory}
    return pod(name, container={"resources": {"requests": amounts, "limits": amounts}, **container})


def resized(api: Any, name: str, **amounts: str) -> None:
    """Change the resources as the resize subresource does."""
    obj = api.get(pods.RESOURCE, Key("default", name))
    before = obj["spec"]["containers"][0]
    merged = {kind: {**before["resources"][kind], **amounts} for kind in ("requests", "limits")}
    api.put({**obj, "spec": {**obj["spec"], "containers": [{**before, "resources": merged}]}})


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[tuple[Rig, FakeRuntime]]:
    """A kubelet on a fake runtime."""
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        rigs.running(endpoint, tmp_path / "kubelet", cgroups=Cgroups(mount=tmp_path / "cgroup")) as rig,
    ):
        yield rig, runtime


def test_what_fits_is_granted() -> None:
    """More than the node has is infeasible, more than is free is deferred, and exclusive processors stay."""
    assert resize.judge(sized("a", cpu="1"), [sized("b", cpu="1")], FREE, exclusive=False) == Verdict()
    deferred = resize.judge(sized("a", cpu="1500m"), [sized("b", cpu="1")], FREE, exclusive=False)
    assert deferred.reason == "Deferred"
    assert "cpu, requested: 1500, used: 1000, capacity: 2000" in deferred.message
    assert resize.judge(sized("a", memory="3Gi"), [], FREE, exclusive=False).reason == "Infeasible"
    assert resize.judge(sized("a"), [], FREE, exclusive=True).reason == "Infeasible"


def test_amounts_are_compared_not_texts() -> None:
    """1000m is 1; a policy counts for the resource that changes."""
    assert resize.same({"requests": {"cpu": "1000m"}}, {"requests": {"cpu": "1"}})
    container = {"resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}
    before = {"limits": {"cpu": "1", "memory": "1Gi"}}
    assert not resize.restarts(container, before, {"limits": {"cpu": "2", "memory": "1Gi"}})
    assert resize.restarts(container, before, {"limits": {"cpu": "1", "memory": "2Gi"}})


async def test_a_running_container_is_resized(node: tuple[Rig, FakeRuntime]) -> None:
    """The runtime is told, nothing restarts, and the status shows what the container has."""
    rig, runtime = node
    await rig.started(sized("web"))
    assert rig.container("web")["allocatedResources"] == {"cpu": "100m", "memory": "64Mi"}
    resized(rig.api, "web", cpu="200m")
    await rig.until(lambda: rig.container("web")["resources"]["limits"]["cpu"] == "200m")
    ((name, told),) = runtime.updates
    assert (name, told.cpu_quota, told.memory_limit_in_bytes) == ("c", 20000, 64 << 20)
    await rig.until(lambda: rig.container("web")["allocatedResources"]["cpu"] == "200m")
    assert rig.container("web")["restartCount"] == 0
    assert not any(one["type"].startswith("PodResize") for one in rig.status("web")["conditions"])


async def test_what_never_fits_is_infeasible(node: tuple[Rig, FakeRuntime]) -> None:
    """The container keeps what it has, and a condition says why; it goes when the wish is taken back."""
    rig, runtime = node
    await rig.started(sized("web"))
    resized(rig.api, "web", cpu="1000")
    await rig.until(lambda: _condition(rig, "PodResizePending").get("reason") == "Infeasible")
    assert not runtime.updates
    assert rig.container("web")["resources"]["limits"]["cpu"] == "100m"
    resized(rig.api, "web", cpu="100m")
    await rig.until(lambda: not _condition(rig, "PodResizePending"))


async def test_deferred_until_there_is_room(node: tuple[Rig, FakeRuntime]) -> None:
    """A wish that others stand in the way of is granted when they go."""
    rig, _ = node
    whole = rig.kubelet.ctx.allocatable()["cpu"]
    half = f"{int(whole) * 500}m"
    await rig.started(sized("other", cpu=half))
    await rig.started(sized("web"))
    resized(rig.api, "web", cpu=f"{int(whole) * 600}m")
    await rig.until(lambda: _condition(rig, "PodResizePending").get("reason") == "Deferred")
    await rig.deleted_object("other")
    await rig.until(lambda: rig.container("web")["resources"]["limits"]["cpu"] == f"{int(whole) * 600}m")


async def test_failure_shows_in_the_condition(node: tuple[Rig, FakeRuntime]) -> None:
    """What the runtime refuses is in progress, with its words, until it works."""
    rig, runtime = node
    await rig.started(sized("web"))
    runtime.refuse["UpdateContainer"] = "device or resource busy"
    resized(rig.api, "web", memory="32Mi")
    await rig.until(lambda: "ResizeError" in rig.reasons("web"))
    rig.kubelet.workers["uid-web"].wake()
    await rig.until(lambda: rig.container("web")["resources"]["limits"]["memory"] == "32Mi")


async def test_restart_where_the_policy_wants_it(node: tuple[Rig, FakeRuntime]) -> None:
    """A resource whose policy is RestartContainer restarts the container with its new limits."""
    rig, runtime = node
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    await rig.started(sized("web", resizePolicy=policy))
    resized(rig.api, "web", memory="128Mi")
    await rig.until(lambda: rig.container("web").get("restartCount") == 1)
    newest = max(runtime.configs.values(), key=lambda one: one.metadata.attempt)
    assert newest.linux.resources.memory_limit_in_bytes == 128 << 20
    assert not runtime.updates


def _condition(rig: Rig, kind: str) -> Object:
    return next((one for one in rig.status("web").get("conditions") or () if one["type"] == kind), {})
