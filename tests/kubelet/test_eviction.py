"""Eviction: thresholds with their grace periods, who goes first, what is said, and what a kubelet does about it."""

from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import nodes
from pynetes.component.remedy import RemedyError
from pynetes.kubelet import imagegc
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.config import Config, merged
from pynetes.kubelet.eviction import observe, ranking, thresholds
from pynetes.kubelet.eviction.ranking import Used
from pynetes.kubelet.eviction.thresholds import Judge, Seen, Threshold
from pynetes.kubelet.imagegc import Image
from pynetes.machinery.meta import Key, Object
from tests.kubelet import fake_runtime
from tests.kubelet import rig as rigs
from tests.kubelet.rig import pod

MEBI = 1 << 20


def test_flags_are_read() -> None:
    """Quantities and shares; what is wrong names the flag and what would be right."""
    hard = thresholds.parse("--eviction-hard", ["memory.available<100Mi", "nodefs.available<10%"])
    assert hard == [Threshold("memory.available", 100 * MEBI), Threshold("nodefs.available", share=0.1)]
    assert thresholds.graces("f", ["memory.available=1m30s"]) == {"memory.available": 90.0}
    for entry in ("memory<1Gi", "memory.available=1Gi", "memory.available<much"):
        with pytest.raises(RemedyError, match="--eviction-hard"):
            thresholds.parse("--eviction-hard", [entry])
    with pytest.raises(RemedyError, match="no grace period"):
        thresholds.parse("--eviction-soft", ["memory.available<1Gi"], {})


def test_soft_thresholds_wait_and_conditions_last() -> None:
    """A soft threshold acts after its grace period, a hard one at once; conditions outlast the shortage."""
    soft, hard = Threshold("memory.available", 300, grace=60), Threshold("memory.available", 100)
    judge = Judge([hard, soft], transition=300)
    assert judge.judge({"memory.available": Seen(200, 1000)}, 0) is None
    assert judge.conditions(0) == {"MemoryPressure"}
    assert judge.judge({"memory.available": Seen(200, 1000)}, 61) == soft
    assert judge.judge({"memory.available": Seen(50, 1000)}, 62) == hard
    assert judge.judge({"memory.available": Seen(500, 1000)}, 63) is None
    assert judge.conditions(360) == {"MemoryPressure"}
    assert judge.conditions(362) == set()


def test_a_shortage_is_over_when_enough_is_reclaimed() -> None:
    """What was met stays so until the minimum above it is free, as a quantity or a share of the capacity."""
    hard = thresholds.parse("--eviction-hard", ["memory.available<100", "nodefs.available<10%"])
    entries = ["memory.available=50", "nodefs.available=5%"]
    judge = Judge(thresholds.with_reclaim("--eviction-minimum-reclaim", hard, entries), transition=1)
    for name in ("memory.available", "nodefs.available"):
        assert judge.judge({name: Seen(120, 1000)}, 0) is None
        for left in (90, 120, 149):
            due = judge.judge({name: Seen(left, 1000)}, 1)
            assert due is not None and due.signal == name
        assert judge.judge({name: Seen(150, 1000)}, 2) is None
        assert judge.judge({name: Seen(120, 1000)}, 3) is None
    for entry in ("memory.available<5", "memory=5", "memory.available=much"):
        with pytest.raises(RemedyError, match="--eviction-minimum-reclaim"):
            thresholds.with_reclaim("--eviction-minimum-reclaim", hard, [entry])


def test_a_shortage_that_passes_starts_its_grace_anew() -> None:
    """What recovers in between has its whole grace period again."""
    judge = Judge([Threshold("pid.available", 10, grace=60)], transition=1)
    short, fine = {"pid.available": Seen(5, 100)}, {"pid.available": Seen(50, 100)}
    assert judge.judge(short, 0) is None
    assert judge.judge(fine, 50) is None
    assert judge.judge(short, 61) is None


def _pod(name: str, request: str = "0", priority: int = 0, **more: Any) -> Object:
    made = pod(name, container={"resources": {"requests": {"memory": request}}}, priority=priority)
    return {**made, **more}


def test_ranking() -> None:
    """Above its request first, then the least important, then the largest excess; critical pods never."""
    candidates = [
        (_pod("within", "1Gi"), Used(memory=900 * MEBI)),
        (_pod("little"), Used(memory=10 * MEBI)),
        (_pod("much"), Used(memory=500 * MEBI)),
        (_pod("important", priority=1000), Used(memory=800 * MEBI)),
        (_pod("critical", priority=ranking.CRITICAL), Used(memory=900 * MEBI)),
    ]
    ranked = [one["metadata"]["name"] for one, _ in ranking.rank(candidates, "memory")]
    assert ranked == ["much", "little", "important", "within"]


def test_own_limits_of_disk() -> None:
    """An emptyDir above its sizeLimit, a container above its limit, and a pod above all its containers' limits."""
    limited = {"resources": {"limits": {"ephemeral-storage": "1Mi"}}}
    volumes = [{"name": "cache", "emptyDir": {"sizeLimit": "1Mi"}}]
    obj = pod("web", container=limited, volumes=volumes)
    assert 'volume "cache" exceeds the limit "1Mi"' in ranking.over_limits(obj, Used(), {}, {"cache": 2 * MEBI})
    assert "Container c exceeded" in ranking.over_limits(obj, Used(), {"c": 2 * MEBI}, {})
    assert "total limit" in ranking.over_limits(obj, Used(disk=2 * MEBI), {"c": 1}, {"cache": 1})
    assert not ranking.over_limits(obj, Used(disk=1), {"c": 1}, {"cache": 1})


def test_folders_are_measured(tmp_path: Path) -> None:
    """Blocks on disk, each file and folder an inode; links are not followed."""
    (tmp_path / "a").write_bytes(b"x" * 10000)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "link").symlink_to("/usr")
    found = observe.size([tmp_path, tmp_path / "absent"])
    assert 10000 <= found.bytes < 30000
    assert found.inodes == 3


def test_images_that_go() -> None:
    """The one unused for longest first, until enough is free; what is used or young stays."""
    images = [Image("old", 10, 0, 0), Image("older", 10, 0, -1), Image("used", 50, 0, 1000), Image("young", 9, 990, 0)]
    assert [one.id for one in imagegc.choose(images, 5, 1000)] == ["older"]
    assert [one.id for one in imagegc.choose(images, 100, 1000)] == ["older", "old"]


def test_file_has_maps_and_durations(tmp_path: Path) -> None:
    """A KubeletConfiguration's maps and durations mean what the flags mean; a flag comes first."""
    path = tmp_path / "config.yaml"
    path.write_text(
        "kind: KubeletConfiguration\nkubeReserved: {cpu: 100m, memory: 1Gi}\nevictionHard: {memory.available: 5%}\n"
        "evictionPressureTransitionPeriod: 1m0s\npodPidsLimit: 500\nimageGCHighThresholdPercent: 70\n"
    )
    made = merged(Config(config=str(path), image_gc_high_threshold=60))
    assert made.kube_reserved == ("cpu=100m", "memory=1Gi")
    assert made.eviction_hard == ("memory.available<5%",)
    assert made.eviction_pressure_transition_period == 60.0
    assert (made.pod_max_pids, made.image_gc_high_threshold) == (500, 60)


async def test_kubelet_evicts_and_says_so(tmp_path: Path) -> None:
    """Under memory pressure the pod that uses most beyond its request fails as Evicted, the node has the condition and
    takes nobody who asked for no memory."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups) as rig,
    ):
        await rig.started(pod("greedy"))
        await rig.started(pod("vital", priority=ranking.CRITICAL))
        assert rig.kubelet.eviction
        await rig.kubelet.eviction.deal({"memory.available": Seen(MEBI, 1 << 30)})
        await rig.until(lambda: rig.status("greedy").get("phase") == "Failed")
        status = rig.status("greedy")
        assert status["reason"] == "Evicted"
        assert status["message"].startswith("The node was low on resource: memory. Threshold quantity: 104857600")
        assert rig.ready("vital")
        await rig.until(lambda: _condition(rig, "MemoryPressure") == "True")
        rig.api.put(pod("late"))
        await rig.until(lambda: rig.status("late").get("phase") == "Failed")
        assert "MemoryPressure" in rig.status("late")["message"]


def _condition(rig: rigs.Rig, kind: str) -> str:
    node = rig.api.get(nodes.RESOURCE, Key("", "n1")) or {}
    return next(one["status"] for one in node["status"]["conditions"] if one["type"] == kind)


async def test_reserves_show_in_allocatable(tmp_path: Path) -> None:
    """What is reserved, and what eviction keeps free, is not for pods."""
    options = {"kube_reserved": ("cpu=100m", "memory=1Gi"), "system_reserved": ("cpu=100m",)}
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (_, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups, **options) as rig,
    ):
        status = (rig.api.get(nodes.RESOURCE, Key("", "n1")) or {})["status"]
        assert status["allocatable"]["cpu"] == f"{int(status['capacity']['cpu']) * 1000 - 200}m"
        kept = int(status["capacity"]["memory"][:-2]) - int(status["allocatable"]["memory"][:-2])
        assert kept == (1 << 20) + 100 * 1024


async def test_restart_count_survives_a_runtime_that_forgot(tmp_path: Path) -> None:
    """A container that was lost with the machine counts on from what its pod's status says."""
    cgroups = Cgroups("", mount=tmp_path / "cgroup")
    async with (
        fake_runtime.serving(tmp_path) as (runtime, endpoint),
        rigs.running(endpoint, tmp_path / "root", cgroups=cgroups) as rig,
    ):
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        shown = {"name": "c", "restartCount": 4, "state": running, "image": rigs.IMAGE, "imageID": "", "ready": True}
        status = {"phase": "Running", "startTime": "2026-01-01T00:00:00Z", "containerStatuses": [shown]}
        rig.api.put({**pod("web"), "status": status})
        await rig.until(lambda: rig.ready("web"))
        assert rig.container("web")["restartCount"] == 5
        assert runtime.named("c").metadata.attempt == 5
