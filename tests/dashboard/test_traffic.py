"""The map's figures, from what components tell."""

import asyncio
from pathlib import Path

from pynetes.component import serving, tasks
from pynetes.component.clock import SystemClock
from pynetes.component.tracing import Identity, Interaction, Recorder, now
from pynetes.dashboard.traffic import Edge, Traffic
from pynetes.paths import observed


def test_figures_are_of_the_last_half_minute() -> None:
    """Rate, errors and latency from the difference between ticks; a component that begins anew counts as nothing."""
    edge = Edge(observed.Row(requests=1000))
    buckets = [0] * 14
    for count in range(1, 31):
        buckets = [buckets[0] + 3, *buckets[1:5], buckets[5] + 1, *buckets[6:]]
        assert edge.tick(observed.Row(requests=1000 + 4 * count, errors=count, buckets=list(buckets))) == 4
    told = edge.told(())
    assert (told["rate"], told["failing"], told["p50"], told["p99"]) == (4.0, 1.0, 0.001, 0.05)
    assert edge.tick(observed.Row(requests=1)) == 0
    for _ in range(30):
        edge.tick(observed.Row(requests=1))
    assert not edge.settling
    assert edge.told(())["p50"] is None


async def test_components_are_added_up_and_followed(tmp_path: Path) -> None:
    """First all that is known, then ticks; what the dialler tells is not told again by the API server."""
    server, manager = Recorder(), Recorder()
    call = Interaction(7, now(), "kube-controller-manager", "kube-apiserver", "create", "pods default/a", 0.004)
    for recorder, who in ((server, "allowed by a rule"), (manager, "")):
        recorder.record(call, Identity(subject="manager", rule=who))
    shown = (
        serving.serve_paths(str(tmp_path / "apiserver.sock"), "kube-apiserver", server),
        serving.serve_paths(str(tmp_path / "manager.sock"), "kube-controller-manager", manager),
    )
    async with asyncio.timeout(20), shown[0], shown[1], tasks.Group() as group:
        following = Traffic(tmp_path, SystemClock(), group).follow()
        whole = await anext(following)
        assert len(whole["paths"]) == 30
        assert whole["edges"]["7"]["requests"] == 1
        assert whole["edges"]["7"]["identity"]["rule"] == "allowed by a rule"
        assert whole["components"] == {"kube-apiserver": ["apiserver"], "kube-controller-manager": ["manager"]}
        later = call._replace(at=now(), object="pods default/b")
        for recorder in (server, manager):
            recorder.record(later)
        tick = await anext(following)
        while "7" not in tick["edges"]:
            tick = await anext(following)
        assert tick["edges"]["7"]["requests"] == 2
        assert [item["object"] for item in tick["edges"]["7"]["calls"]] == ["pods default/b"]
        await following.aclose()
