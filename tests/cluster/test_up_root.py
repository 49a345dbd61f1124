"""What `up` leaves behind when one of its phases fails: nothing that was not there before."""

import asyncio
import errno
import os
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pynetes.cluster import config, netns, preflight, process, supervisor, up
from pynetes.cluster.config import Cluster
from pynetes.cluster.errors import ClusterError
from pynetes.cluster.network import ClusterNetwork, NodeNetwork
from pynetes.cluster.up import Bringup, Phase
from pynetes.pki import renew
from pynetes.pki.layout import Hosts, Layout

pytestmark = [pytest.mark.root, pytest.mark.skipif(not shutil.which("nft"), reason="needs nftables")]
NAME = "uptest"
SPACE = f"pynetes-{NAME}-2"


class Silent:
    """Progress that nobody sees."""

    def started(self, title: str) -> None:
        """Nothing."""

    def finished(self, title: str, result: str, seconds: float) -> None:
        """Nothing."""


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """One whose state is in a folder of the test's."""
    made = Cluster(name=NAME, data_dir=str(tmp_path / "state"))
    yield made
    for pid, _ in process.marked(made.run):
        os.kill(pid, 9)
    netns.delete_namespace(SPACE)
    shutil.rmtree(made.run, ignore_errors=True)
    shutil.rmtree(f"/var/log/pynetes/{NAME}", ignore_errors=True)


async def make(bringup: Bringup) -> str:
    """A phase that makes what real ones make: files, a network namespace, a supervised process."""
    cluster = bringup.cluster
    cluster.save()
    cluster.logs.mkdir()
    (cluster.logs / "etcd.log").write_text("why\n")
    await asyncio.to_thread(netns.ensure_namespace, SPACE)
    cluster.run.mkdir(parents=True)
    wanted = [process.Process(name="etcd", argv=("sleep", "1000"))]
    (cluster.run / "processes.json").write_bytes(process.to_json(wanted))
    supervisor.daemonize(cluster.run, cluster.logs)
    async with asyncio.timeout(20):
        while len(list(process.marked(cluster.run))) < 2:
            await asyncio.sleep(0.02)
    return "made"


def failing(error: Exception) -> Phase:
    """A phase that meets the error."""

    async def fail(bringup: Bringup) -> str:
        raise error

    return Phase("Fail", fail)


async def failed(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, *phases: Phase) -> Exception:
    """What `up` raises with these phases, one after the other."""
    monkeypatch.setattr(up, "STAGES", tuple((phase,) for phase in phases))
    with pytest.raises(Exception) as raised:
        await up.up(cluster, Silent())
    return raised.value


def remains(cluster: Cluster) -> list[object]:
    """Everything of it that is still there."""
    paths = [str(path) for path in (cluster.state, cluster.run) if path.exists()]
    spaces = [name for name in netns.namespaces() if name == SPACE]
    return [*paths, *spaces, *process.marked(cluster.run)]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ClusterError("no luck", "try again"), "no luck"),
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), "/data/x: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (ExceptionGroup("two", [ValueError("a bug"), ClusterError("the cause", "do this")]), "the cause"),
    ],
)
async def test_a_new_cluster_that_fails_is_removed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """Whatever went wrong; the logs are kept elsewhere, since they say why."""
    told = await failed(cluster, monkeypatch, Phase("Make", make), failing(error))
    assert str(told) == message
    assert isinstance(told, ClusterError)
    assert told.remedy
    assert remains(cluster) == []
    assert Path(f"/var/log/pynetes/{NAME}/etcd.log").read_text() == "why\n"


async def test_a_bug_stays_a_bug_and_leaves_nothing_either(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not dressed up as something a person could remedy."""
    told = await failed(cluster, monkeypatch, Phase("Make", make), failing(KeyError("x")))
    assert isinstance(told, KeyError)
    assert remains(cluster) == []


async def test_half_an_earlier_up_counts_as_none(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cluster.json says that it never was whole, so it goes when the next `up` fails too."""
    cluster.save()
    await failed(cluster, monkeypatch, failing(ClusterError("no luck", "try again")))
    assert remains(cluster) == []


async def test_a_whole_cluster_that_was_stopped_is_stopped_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its data stays, its processes do not."""
    whole = Cluster(name=NAME, data_dir=cluster.data_dir, complete=True)
    whole.save()
    await failed(whole, monkeypatch, Phase("Make", make), failing(ClusterError("no luck", "try again")))
    assert remains(cluster) == [str(cluster.state)]
    assert config.load(NAME, cluster.data_dir) == whole


async def test_what_ran_goes_on_running(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed `up` of a running cluster, with wrong flags say, disturbs nothing."""
    whole = Cluster(name=NAME, data_dir=cluster.data_dir, complete=True)
    monkeypatch.setattr(up, "STAGES", ((Phase("Make", make),),))
    await up.up(whole, Silent())
    before = remains(cluster)
    await failed(whole, monkeypatch, failing(ClusterError("no luck", "try again")))
    assert remains(cluster) == before


@pytest.mark.parametrize("changed", [{"pod_cidr": "10.99.0.0/16"}, {"service_cidr": "10.100.0.0/16"}])
async def test_networks_in_use_cannot_change(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str]
) -> None:
    """Services and pods have addresses from them; refused before anything is touched."""
    Cluster(name=NAME, data_dir=cluster.data_dir, complete=True).save()
    monkeypatch.setattr(preflight, "BEFORE", ())
    (first, *_), *_ = up.STAGES
    wanted = Cluster(name=NAME, data_dir=cluster.data_dir, complete=True, **changed)  # type: ignore[arg-type]
    told = await failed(wanted, monkeypatch, first)
    assert "it cannot become" in str(told)
    assert remains(cluster) == [str(cluster.state)]


@pytest.mark.parametrize("number", [0, 1])
async def test_before_anything_is_made_nothing_is_undone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A check that fails, or apt-get, must not remove a folder that was there."""
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(preflight, "LEAST_DISK", 1 << 62 if number == 0 else 0)
    cluster.save()
    first, second, *_ = up.STAGES
    told = await failed(cluster, monkeypatch, *(first, second)[number])
    assert isinstance(told, up.NotStarted)
    assert remains(cluster) == [str(cluster.state)]


async def test_an_expired_authority_is_told_with_the_way_out(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything it signed stopped working: a person has to decide to start with a new one. Data is not touched."""
    whole = Cluster(name=NAME, data_dir=cluster.data_dir, complete=True)
    whole.save()
    hosts = Hosts(
        node_name="n", addresses=(), service_ips=("10.96.0.1",), dns_domain="cluster.local", server="https://x"
    )
    renew.ensure(Layout(cluster.state), hosts, now=datetime.now(UTC) - timedelta(days=4000))
    node = NodeNetwork(name="n", number=1, namespace="", address="192.0.2.1", pod_cidr="10.244.0.0/24")

    async def plan(bringup: Bringup) -> str:
        bringup.planned = ClusterNetwork(
            cluster=NAME, pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16", node_cidr="", mtu=1500, nodes=(node,)
        )
        return "planned"

    certificates = next(phase for stage in up.STAGES for phase in stage if phase.title == "Certificates")
    told = await failed(whole, monkeypatch, Phase("Plan", plan), certificates)
    assert isinstance(told, ClusterError)
    assert str(told) == f"{cluster.pki}/ca.crt has expired"
    assert told.remedy == "remove it and its key to start with a new authority"
    assert (cluster.pki / "ca.crt").exists()
