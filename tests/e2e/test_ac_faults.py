"""kill -9 of every component: the cluster answers again, nothing acknowledged is lost, no container restarts."""

import contextlib
import json
import os
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pynetes.cluster import lock
from tests.e2e.conftest import Cluster, pynetes
from tests.e2e.traces import NAME
from tests.e2e.writer import Writer

pytestmark = pytest.mark.e2e


def processes() -> dict[str, dict[str, object]]:
    """Rows of `pynetes status` by name."""
    status = json.loads(pynetes("status", "--cluster", NAME, "--json", check=False).stdout)
    return {row["name"]: row for row in status["processes"]}


def containers(cluster: Cluster) -> dict[str, tuple[int, str]]:
    """Restart count and container id of every container that is there to stay."""
    found = cluster.json("get", "pods", "-A", "--field-selector=status.phase=Running")["items"]
    kept = ("ReplicaSet", "StatefulSet")
    pods = [pod for pod in found if pod["metadata"].get("ownerReferences", [{"kind": ""}])[0]["kind"] in kept]
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/{status['name']}": (
            status["restartCount"],
            status["containerID"],
        )
        for pod in pods
        for status in pod["status"]["containerStatuses"]
    }


def all_ready() -> bool:
    """Whether the supervisor calls every process ready."""
    return all(row["ready"] for row in processes().values())


@pytest.mark.parametrize(
    "component", ["apiserver", "etcd", "controller-manager", "scheduler", "kubelet-", "kube-proxy-", "containerd-"]
)
def test_a_killed_component_comes_back(
    cluster: Cluster, component: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every write acknowledged before, meanwhile and after is there, and the containers are the same ones."""
    before = containers(cluster)
    name = next(name for name in processes() if name.startswith(component))
    with Writer(cluster.kubeconfig, tmp_path, f"killed-{component.strip('-')}") as writer:
        os.kill(int(str(processes()[name]["pid"])), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while not all_ready():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        writer.wait_for_more()
    record_property("longest silence of the API in seconds", round(writer.longest_silence, 2))
    stored = {item["metadata"]["name"] for item in cluster.json("get", "configmaps")["items"]}
    assert set(writer.acknowledged) <= stored
    pod = f"after-{component.strip('-')}"
    cluster.run("run", pod, "--image=pynetes.io/busybox:1.35", "--command", "--", "sleep", "1000")
    cluster.run("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=60s")
    after = containers(cluster)
    assert {name: after.get(name) for name in before} == before
    cluster.run("delete", "pod", pod, "--grace-period=0", "--force")


def test_a_killed_supervisor_takes_nothing_with_it(cluster: Cluster) -> None:
    """Everything runs on, status says who is missing, and the next `up` takes all processes over as they are."""
    # Authorities that were replaced have changed how etcd is started: that is done with first.
    pynetes("up", "--cluster", NAME)
    before = {name: row["pid"] for name, row in processes().items()}
    mark = f"PYNETES_RUN=/run/pynetes/{NAME}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"supervise" in (entry / "cmdline").read_bytes() and mark in (entry / "environ").read_bytes():
                os.kill(int(entry.name), signal.SIGKILL)
    status = pynetes("status", "--cluster", NAME, check=False)
    assert (status.returncode, status.stderr.splitlines()) == (
        1,
        [
            f"error: {len(before)} processes of {NAME} run, but nothing supervises them",
            f"remedy: `pynetes up --cluster {NAME}` takes them over",
        ],
    )
    cluster.run("create", "configmap", "unsupervised")
    pynetes("up", "--cluster", NAME)
    assert {name: row["pid"] for name, row in processes().items()} == before


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    """`up` of a running cluster starts no process anew."""
    before = {name: row["pid"] for name, row in processes().items()}
    pynetes("up", "--cluster", NAME)
    assert {name: row["pid"] for name, row in processes().items()} == before


def test_what_the_certificates_say_is_what_runs(cluster: Cluster) -> None:
    """A certificate that is gone is issued anew, and shown by the process that runs: none is started again."""
    before = {name: row["pid"] for name, row in processes().items()}
    path = Path(f"/var/lib/pynetes/{NAME}/pki/apiserver.crt")
    path.unlink()
    pynetes("up", "--cluster", NAME)
    assert {name: row["pid"] for name, row in processes().items()} == before
    cluster.run("get", "--raw", "/readyz")
    server = urlsplit(cluster.run("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"))
    issued = ssl.PEM_cert_to_DER_cert(
        path.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----"
    )
    deadline = time.monotonic() + 30
    while ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate((str(server.hostname), server.port or 443))) != issued:
        assert time.monotonic() < deadline, "the API server still shows the old certificate"
        time.sleep(0.5)


def test_only_one_command_works_at_a_time(cluster: Cluster) -> None:
    """The second is told who is at work."""
    with lock.held("pynetes up --cluster other"):
        for command in (("up",), ("down",), ("reset", "--yes")):
            refused = pynetes(*command, "--cluster", NAME, check=False)
            assert refused.returncode == 1
            assert f"`pynetes up --cluster other` (process {os.getpid()}) is at work" in refused.stderr
    cluster.run("get", "--raw", "/readyz")
