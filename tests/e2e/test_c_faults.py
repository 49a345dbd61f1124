"""kill -9 of every component: the cluster answers again, nothing acknowledged is lost, no container restarts."""

import json
import os
import signal
import time

import pytest

from tests.e2e.conftest import NAME, Cluster, pynetes

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


@pytest.mark.parametrize(
    "component", ["apiserver", "etcd", "controller-manager", "scheduler", "kubelet-", "kube-proxy-", "containerd-"]
)
def test_a_killed_component_comes_back(cluster: Cluster, component: str) -> None:
    """What was acknowledged before is there after, and the containers are the same ones."""
    before = containers(cluster)
    name = next(name for name in processes() if name.startswith(component))
    marker = f"before-{component.strip('-')}"
    cluster.run("create", "configmap", marker, f"--from-literal=killed={name}")
    os.kill(int(str(processes()[name]["pid"])), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while cluster.run("get", "configmap", marker, "-o", "jsonpath={.data.killed}", check=False) != name:
        assert time.monotonic() < deadline
    while not all(row["ready"] for row in processes().values()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    cluster.run("run", f"after-{marker}", "--image=pynetes.io/busybox:1.35", "--command", "--", "sleep", "1000")
    cluster.run("wait", "--for=condition=Ready", f"pod/after-{marker}", "--timeout=60s")
    after = containers(cluster)
    assert {name: after.get(name) for name in before} == before
    cluster.run("delete", "pod", f"after-{marker}", "--grace-period=0", "--force")


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    """`up` of a running cluster starts no process anew."""
    before = {name: row["pid"] for name, row in processes().items()}
    pynetes("up", "--cluster", NAME)
    assert {name: row["pid"] for name, row in processes().items()} == before
