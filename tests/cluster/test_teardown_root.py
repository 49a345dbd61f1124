"""Removing what a cluster left, also where nobody is left who could be asked to."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pynetes.cluster import netns, network, process, teardown
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nftables")]
NAME = "downtest"
FOREVER = ("sleep", "1000")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """One that has been saved, its state in a folder of the test's."""
    made = Cluster(name=NAME, data_dir=str(tmp_path / "state"))
    made.save()
    made.run.mkdir(parents=True, exist_ok=True)
    yield made
    shutil.rmtree(made.run, ignore_errors=True)


class Started:
    """Processes of a test's own."""

    def __init__(self) -> None:
        self.children: list[subprocess.Popen[bytes]] = []

    def start(self, run: Path | None = None, *through: str) -> "subprocess.Popen[bytes]":
        """One that sleeps, marked as a cluster's if run is given; `through` is the program that becomes it."""
        child = subprocess.Popen([*through, *FOREVER], env=process.environment(run) if run else None)
        self.children.append(child)
        return child


@pytest.fixture
def started() -> Iterator[Started]:
    """They are ended after the test, if they still run."""
    found = Started()
    yield found
    for child in found.children:
        child.kill()
        child.wait()


def bind(source: Path, place: Path) -> None:
    """Show source at place too, with a file in it that must survive."""
    for folder in (source, place):
        folder.mkdir(parents=True)
    (source / "thesis.tex").touch()
    subprocess.run(["mount", "--bind", source, place], check=True)


async def test_a_process_that_no_note_knows_is_ended(cluster: Cluster, started: Started) -> None:
    """A supervisor that was killed between starting and noting left one: its mark gives it away."""
    ours, other = started.start(cluster.run), started.start(Path(f"{cluster.run}x"))
    await teardown.down(cluster)
    assert ours.wait(timeout=10) == -signal.SIGKILL
    assert other.poll() is None


async def test_the_processes_of_a_killed_supervisor_are_asked_first(cluster: Cluster, started: Started) -> None:
    """What is noted gets TERM, so that etcd can close its files."""
    spec = process.Process(name="kubelet-x", argv=FOREVER)
    running = process.spawn(spec, cluster.run, cluster.state)
    await teardown.down(cluster)
    assert running.child is not None
    assert running.child.returncode == -signal.SIGTERM


async def test_processes_in_the_cluster_s_cgroups_are_ended_and_the_cgroups_removed(
    cluster: Cluster, started: Started
) -> None:
    """Containers whose runtime was killed, nested as pods are, in every hierarchy."""
    root = next(path for path in (*teardown.CGROUPS.glob("pids"), teardown.CGROUPS))
    group = root / f"pynetes-{NAME}" / "node" / "pod"
    group.mkdir(parents=True)
    child = started.start()
    (group / "cgroup.procs").write_text(str(child.pid))
    done = await teardown.down(cluster)
    assert child.wait(timeout=10) == -signal.SIGKILL
    assert f"cgroup pynetes-{NAME}" in done
    assert not (root / f"pynetes-{NAME}").exists()


async def test_mounts_go_before_files_and_what_was_mounted_stays(cluster: Cluster, tmp_path: Path) -> None:
    """A hostPath is somebody's data: reset removes the place where it was seen, not what is in it."""
    precious, place = tmp_path / "precious", cluster.node_state("n") / "kubelet" / "pods" / "with space"
    bind(precious, place)
    done = await teardown.reset(cluster)
    assert f"mount {place}" in done
    assert not cluster.state.exists()
    assert (precious / "thesis.tex").exists()


async def test_files_are_not_removed_through_a_mount_that_holds(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If unmounting fails, removing would reach somebody's data: refused, with what to do."""
    precious, place = tmp_path / "precious", cluster.state / "mounted"
    bind(precious, place)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "umount").write_text("#!/bin/sh\nexit 32\n")
    (tmp_path / "bin" / "umount").chmod(0o755)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        with pytest.raises(ClusterError, match="is still mounted") as refused:
            await teardown.reset(cluster)
    assert refused.value.remedy.startswith(f"umount {place}")
    assert (precious / "thesis.tex").exists()
    assert (cluster.state / "cluster.json").exists()
    await teardown.reset(cluster)
    assert not cluster.state.exists()


async def test_namespaces_of_pods_without_a_runtime_are_found(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libcni's kept results name them; those of other networks stay."""
    monkeypatch.setattr(network, "CNI_RESULTS", tmp_path)
    spaces = {f"pynetes-{NAME}": "cni-dead0001", "other": "cni-dead0002", f"pynetes-{NAME}-x": "cni-dead0003"}
    try:
        for label, space in spaces.items():
            await asyncio.to_thread(netns.ensure_namespace, space)
            (tmp_path / f"{label}-{'a' * 64}-eth0").write_text(f'{{"sandbox": "/var/run/netns/{space}"}}')
        (tmp_path / f"cni-loopback-{'a' * 64}-lo").touch()
        await teardown.down(cluster)
        assert set(spaces.values()) & set(netns.namespaces()) == {"cni-dead0002", "cni-dead0003"}
        assert sorted(path.name for path in tmp_path.glob("*-eth0")) == [
            f"other-{'a' * 64}-eth0",
            f"pynetes-{NAME}-x-{'a' * 64}-eth0",
        ]
        assert not list(tmp_path.glob("cni-loopback-*"))
    finally:
        for space in spaces.values():
            netns.delete_namespace(space)


async def test_a_node_too_many_is_removed_by_its_name(cluster: Cluster) -> None:
    """Its namespace, its cgroup and its folders; the first node is never one too many."""
    node, space = f"{NAME}-node-2", f"pynetes-{NAME}-2"
    for folder in (cluster.node_state(node), cluster.node_state("machine"), cluster.node_run(node)):
        folder.mkdir(parents=True)
    try:
        await asyncio.to_thread(netns.ensure_namespace, space)
        assert teardown.surplus(cluster) == [node]
        await teardown.remove_node(cluster, node)
        assert space not in netns.namespaces()
    finally:
        netns.delete_namespace(space)
    assert [path.name for path in (cluster.state / "nodes").iterdir()] == ["machine"]
    assert not cluster.node_run(node).exists()
    assert teardown.surplus(cluster) == []


async def test_a_cluster_of_another_network_namespace_keeps_no_rules_here(cluster: Cluster, started: Started) -> None:
    """Rules of kube-proxy stay for clusters that use them: those with a process in this network namespace."""
    other = cluster.run.with_name(f"{NAME}-other")
    other.mkdir(exist_ok=True)
    try:
        (other / "supervisor.sock").touch()
        assert not teardown._others(cluster)
        away = started.start(other, "unshare", "--net")
        while teardown._network(away.pid) == teardown._network(os.getpid()):
            await asyncio.sleep(0.01)
        assert not teardown._others(cluster)
        here = started.start(other)
        while not list(process.marked(other))[1:]:  # until it has become the program
            await asyncio.sleep(0.01)
        assert here.pid in dict(process.marked(other))
        assert teardown._others(cluster)
    finally:
        shutil.rmtree(other)


async def test_down_and_reset_of_nothing_are_no_errors(tmp_path: Path) -> None:
    """Both can be run twice, and where there never was a cluster."""
    nothing = Cluster(name=NAME, data_dir=str(tmp_path / "nothing"))
    assert await teardown.down(nothing) == []
    assert await teardown.reset(nothing) == []


async def test_specifications_of_claims_go(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What drivers wrote for this cluster's claims is removed; others' specifications stay."""
    monkeypatch.setattr(teardown, "CDI", tmp_path / "cdi")
    (tmp_path / "cdi").mkdir()
    mine, others = (tmp_path / "cdi" / f"loop.test-{uid}.json" for uid in ("u1", "u2"))
    for path in (mine, others):
        path.touch()
    note = cluster.node_state("vm") / "kubelet" / "dra_manager_state"
    note.parent.mkdir(parents=True)
    note.write_text('[{"uid": "u1"}]')
    assert "1 CDI specification(s) of claims" in await teardown.down(cluster)
    assert not mine.exists()
    assert others.exists()
