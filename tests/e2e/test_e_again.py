"""Bringing a cluster up over what an earlier one left: half an `up`, other nodes, a machine that lost power."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Cluster, kubectl_binary, pynetes
from tests.e2e.machine import crash
from tests.e2e.traces import NAME, Traces, traces

pytestmark = pytest.mark.e2e
STATE = Path(f"/var/lib/pynetes/{NAME}")


@pytest.fixture(scope="module")
def again(before: Traces) -> Iterator[Cluster]:
    """kubectl for a cluster that the tests themselves bring up, one after the other."""
    pynetes("reset", "--cluster", NAME, "--yes")
    yield Cluster(kubeconfig=STATE / "admin.conf", kubectl=kubectl_binary())
    pynetes("reset", "--cluster", NAME, "--yes", check=False)


def kill_up_once(path: Path) -> None:
    """Begin an `up` of two nodes and kill it as soon as it has made the path."""
    argv = [sys.executable, "-m", "pynetes.cmd.main", "up", "--cluster", NAME, "--nodes", "2"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as started:
        deadline = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < deadline
            assert started.poll() is None
            time.sleep(0.01)
        os.kill(started.pid, signal.SIGKILL)


def left(before: Traces) -> dict[str, list[str]]:
    """What there is now and was not before."""
    found = {name: sorted(value - getattr(before, name)) for name, value in traces()._asdict().items()}
    return {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("path", ["cluster.json", "pki/ca.crt", "logs/etcd.log", "admin.conf"])
def test_reset_clears_half_an_up_away(again: Cluster, before: Traces, path: str) -> None:
    """Killed while it plans, while it issues, and while processes start."""
    kill_up_once(STATE / path)
    pynetes("reset", "--cluster", NAME, "--yes")
    assert left(before) == {}


def test_up_completes_half_an_up(again: Cluster) -> None:
    """Killed after the processes were started; with the flags it had, since they were saved first."""
    kill_up_once(STATE / "logs" / "apiserver.log")
    pynetes("up", "--cluster", NAME)
    assert len(again.json("get", "nodes")["items"]) == 2


def test_a_node_that_is_taken_away_leaves_nothing(again: Cluster) -> None:
    """Its Node, its pods, its processes, its namespace; what ran on it runs elsewhere. The flag is kept."""
    again.run("create", "deployment", "w", "--image=pynetes.io/busybox:1.35", "--replicas=4", "--", "sleep", "9999")
    again.run("rollout", "status", "deployment/w", "--timeout=60s")
    pynetes("up", "--cluster", NAME, "--nodes", "1")
    assert len(again.json("get", "nodes")["items"]) == 1
    again.run("rollout", "status", "deployment/w", "--timeout=60s")
    machine = again.json("get", "nodes")["items"][0]["metadata"]["name"]
    again.run("wait", "--for=delete", "pod", f"--field-selector=spec.nodeName={NAME}-node-2", "--timeout=30s")
    assert {pod["spec"]["nodeName"] for pod in again.json("get", "pods")["items"]} == {machine}
    found = traces()
    assert not [name for names in found for name in names if f"{NAME}-node-2" in name or f"pynetes-{NAME}-2" in name]
    assert not (STATE / "nodes" / f"{NAME}-node-2").exists()
    assert json.loads((STATE / "cluster.json").read_text())["nodes"] == 1


def test_a_reboot_is_survived(again: Cluster) -> None:
    """What was stored is there, pods run again with new containers under the same names, and DNS answers."""
    again.run("create", "configmap", "kept")
    pods = {pod["metadata"]["name"] for pod in again.json("get", "pods")["items"]}
    crash(NAME)
    assert "is stopped" in pynetes("status", "--cluster", NAME, check=False).stdout
    pynetes("up", "--cluster", NAME)
    again.run("get", "configmap", "kept")
    again.run("wait", "--for=condition=Ready", "pod", "-l", "app=w", "--timeout=60s")
    again.run("rollout", "status", "deployment/w", "--timeout=60s")
    assert {pod["metadata"]["name"] for pod in again.json("get", "pods", "-l", "app=w")["items"]} == pods
    addresses = {pod["status"]["podIP"] for pod in again.json("get", "pods", "-A")["items"]}
    leased = {path.name for path in STATE.glob("nodes/*/cni/leases/*/10.*")}
    assert leased == addresses


def test_reset_needs_no_configuration_and_nobody_to_ask(again: Cluster, before: Traces) -> None:
    """cluster.json is half a file, and supervisor and containerd were killed."""
    (STATE / "cluster.json").write_text("{")
    refused = pynetes("up", "--cluster", NAME, check=False)
    assert refused.returncode == 1
    assert f"remedy: run `pynetes reset --cluster {NAME}`" in refused.stderr
    notes = Path(f"/run/pynetes/{NAME}/pids").glob("containerd-*")
    pids = [int(note.read_text().split()[0]) for note in notes]
    for entry in Path("/proc").glob("[0-9]*"):
        if (
            b"supervise\0" in (entry / "cmdline").read_bytes()
            and f"/run/pynetes/{NAME}\0".encode() in (entry / "cmdline").read_bytes()
        ):
            pids.insert(0, int(entry.name))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    pynetes("reset", "--cluster", NAME, "--yes")
    assert left(before) == {}
