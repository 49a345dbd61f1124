"""Adding up what components saw, over real sockets."""

import asyncio
from pathlib import Path

from pynetes.component import serving
from pynetes.component.tracing import Identity, Interaction, Recorder
from pynetes.paths import observed


def interaction(path: int, at: float, **rest: object) -> Interaction:
    """An interaction with what matters to a test."""
    values = {"source": "a", "target": "b", "action": "get", **rest}
    return Interaction(path=path, at=at, **values)  # type: ignore[arg-type]


async def test_counters_of_two_components_add_up(tmp_path: Path) -> None:
    """Requests and errors are summed, the newest identity and time win, quantiles are of both."""
    one, two = Recorder(), Recorder()
    one.record(interaction(7, 10.0, seconds=0.002), Identity(subject="old"))
    two.record(interaction(7, 20.0, seconds=0.2, error="Conflict"), Identity(subject="new"))
    async with (
        serving.serve_paths(str(tmp_path / "one.sock"), "one", one),
        serving.serve_paths(str(tmp_path / "two.sock"), "two", two),
    ):
        row = observed.rows(await observed.snapshots(tmp_path))[7]
    assert (row.requests, row.errors, row.last, row.identity.subject) == (2, 1, 20.0, "new")
    assert (row.quantile(0.5), row.quantile(0.99)) == (0.0025, 0.25)


async def test_what_both_ends_saw_counts_once(tmp_path: Path) -> None:
    """A scheduler's request is counted by the scheduler; the API server adds the rule that allowed it."""
    server, scheduler = Recorder(), Recorder()
    server.record(interaction(9, 1.0), Identity(subject="system:kube-scheduler", rule="allowed by a ClusterRole"))
    server.record(interaction(1, 1.0), Identity(subject="admin"))
    scheduler.record(interaction(9, 1.0), Identity(subject="CN=system:kube-scheduler"))
    async with (
        serving.serve_paths(str(tmp_path / "a.sock"), observed.SERVER, server),
        serving.serve_paths(str(tmp_path / "b.sock"), "kube-scheduler", scheduler),
    ):
        documents = await observed.snapshots(tmp_path)
    rows = observed.rows(documents)
    assert (rows[9].requests, rows[9].identity.rule, rows[1].requests) == (1, "allowed by a ClusterRole", 1)
    assert [item.path for item in observed.interactions(documents)].count(9) == 1


async def test_a_dead_socket_is_left_out(tmp_path: Path) -> None:
    """A component that was killed leaves its socket; the others are shown all the same."""
    server = await asyncio.start_unix_server(lambda reader, writer: None, tmp_path / "dead.sock")
    server.close()
    async with serving.serve_paths(str(tmp_path / "live.sock"), "live", Recorder()):
        assert [document["component"] for document in await observed.snapshots(tmp_path)] == ["live"]


async def test_the_stream_shows_interactions_as_they_happen(tmp_path: Path) -> None:
    """One after the other, whole."""
    recorder, seen = Recorder(), asyncio.Queue[Interaction]()
    async with serving.serve_paths(str(tmp_path / "one.sock"), "one", recorder):
        following = asyncio.ensure_future(observed.follow(tmp_path, seen.put_nowait))
        while not recorder._listeners:
            await asyncio.sleep(0.01)
        for number in (1, 2):
            recorder.record(interaction(number, float(number), object="pods default/web"))
        assert [(await seen.get()).path, (await seen.get()).path] == [1, 2]
        following.cancel()


def test_a_story_follows_revisions_from_write_to_reconcile() -> None:
    """A write's revision is the cause of a reconcile, whose own write is the cause of the next."""
    found = [
        interaction(1, 1.0, action="create", object="deployments default/web", revision=10),
        interaction(7, 2.0, action="create", object="replicasets default/web-1", revision=11, cause=10),
        interaction(7, 3.0, action="create", object="pods default/web-1-a", revision=12, cause=11),
        interaction(7, 4.0, action="create", object="pods default/other", revision=13, cause=9),
    ]
    assert [item.revision for item in observed.story(found, "deployment/web")] == [10, 11, 12]


def test_a_story_goes_on_after_the_binding() -> None:
    """Its answer has no revision: the store's update of the pod in that moment does, and leads to the node."""
    found = [
        interaction(7, 3.0, action="create", object="pods default/web-1-a", revision=12),
        interaction(4, 4.0, target="etcd", action="update", object="pods default/other", revision=13),
        interaction(4, 4.0, target="etcd", action="update", object="pods default/web-1-a", revision=14),
        interaction(9, 4.01, action="create binding", object="pods default/web-1-a", cause=12, seconds=0.02),
        interaction(14, 5.0, action="StartContainer", object="c", cause=14),
        interaction(14, 5.0, action="StartContainer", object="d", cause=13),
        interaction(4, 9.0, target="etcd", action="update", object="pods default/web-1-a", revision=15),
        interaction(14, 9.5, action="StopContainer", object="c", cause=15),
    ]
    shop = [interaction(1, 2.0, action="create", object="replicasets default/web-1", revision=12), *found[1:7]]
    assert [item.action for item in observed.story(shop, "web-1")] == ["create", "create binding", "StartContainer"]


def test_objects_are_meant_by_several_names() -> None:
    """web, default/web, pod/web, pods/web and the full form."""
    item = interaction(14, 1.0, object="pods default/web")
    for name in ("web", "default/web", "pod/web", "pods/web", "pods default/web"):
        assert observed.story([item], name) == [item]
    assert observed.story([item], "service/web") == []
