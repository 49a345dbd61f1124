"""Volumes on a real cluster: a StatefulSet keeps its data, snapshots and clones are what they say, volumes grow."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pynetes.cluster import supervisor
from pynetes.cluster.config import Cluster as Config
from tests.e2e.conftest import NAME, Cluster, pynetes

pytestmark = pytest.mark.e2e
STORAGE = Path(__file__).parents[2] / "examples" / "storage"


def until(holds: Callable[[], bool], what: str, within: float = 90.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, f"{what} within {within:.0f} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def database(cluster: Cluster) -> Cluster:
    """The example of two pods with a volume each."""
    pynetes("up", "--cluster", NAME, "--nodes", "3", "--with", "storage")
    cluster.run("apply", "-f", str(STORAGE / "1-statefulset.yaml"))
    cluster.run("rollout", "status", "statefulset/db", "--timeout=90s")
    return cluster


def log(cluster: Cluster, pod: str) -> list[str]:
    return cluster.run("exec", pod, "--", "cat", "/data/log").splitlines()


def test_data_survives_pods_and_nodes(database: Cluster) -> None:
    """Deleting a pod and draining its node leave its volume as it was, on another node too."""
    before = log(database, "db-0")
    database.run("delete", "pod", "db-0")
    database.run("rollout", "status", "statefulset/db", "--timeout=90s")
    assert log(database, "db-0") == [*before, "db-0 started"]
    node = database.json("get", "pod", "db-0")["spec"]["nodeName"]
    database.run("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s", timeout=120)
    database.run("rollout", "status", "statefulset/db", "--timeout=120s")
    assert database.json("get", "pod", "db-0")["spec"]["nodeName"] != node
    assert log(database, "db-0") == [*before, "db-0 started", "db-0 started"]
    database.run("uncordon", node)


def test_snapshot_and_clone(database: Cluster) -> None:
    """What was written before is in both; a clone may be larger."""
    for name in ("2-snapshot.yaml", "3-clone.yaml"):
        database.run("apply", "-f", str(STORAGE / name))
    database.run("wait", "--for=condition=Ready", "pod/restored", "pod/clone", "--timeout=90s")
    assert log(database, "restored")[0] == "db-0 started" and log(database, "clone")[0] == "db-1 started"
    size = int(database.run("exec", "clone", "--", "df", "-k", "/data").splitlines()[-1].split()[1])
    assert size > 100 * 1024
    database.run("delete", "-f", str(STORAGE / "2-snapshot.yaml"), "-f", str(STORAGE / "3-clone.yaml"))


def test_node_that_dies(database: Cluster) -> None:
    """A node that a person calls dead loses its volumes by force: the pod comes back elsewhere with its data. When the
    node returns it ends what still ran there, and unmounts the volume that is another's now."""
    before = log(database, "db-1")
    control = database.json("get", "nodes", "-l", "node-role.kubernetes.io/control-plane")["items"][0]
    if database.json("get", "pod", "db-1")["spec"]["nodeName"] == control["metadata"]["name"]:
        database.run("cordon", control["metadata"]["name"])
        database.run("delete", "pod", "db-1")
        database.run("rollout", "status", "statefulset/db", "--timeout=90s")
        database.run("uncordon", control["metadata"]["name"])
        before = log(database, "db-1")
    pod = database.json("get", "pod", "db-1")
    node = pod["spec"]["nodeName"]
    processes = (f"kubelet-{node}", f"containerd-{node}")
    for name in processes:
        supervised("halt", name)
    # As the node lifecycle controller says it after the grace period.
    silent = '{"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown"}]}}'
    database.run("patch", "node", node, "--subresource=status", "--type=strategic", "-p", silent)
    taint = "node.kubernetes.io/out-of-service"
    database.run("taint", "node", node, f"{taint}=down:NoExecute")
    try:
        until(lambda: moved(database, pod["metadata"]["uid"]), "db-1 runs elsewhere")
        assert database.json("get", "pod", "db-1")["spec"]["nodeName"] != node
        assert log(database, "db-1") == [*before, "db-1 started"]
    finally:
        for name in reversed(processes):
            supervised("start", name)
        database.run("wait", "--for=condition=Ready", f"node/{node}", "--timeout=60s")
        database.run("taint", "node", node, f"{taint}-")
    volume = database.json("get", "pvc", "data-db-1")["spec"]["volumeName"]
    mine = f"/{node}/kubelet/pods/{pod['metadata']['uid']}/volumes/kubernetes.io~csi/{volume}/"
    until(lambda: mine not in Path("/proc/mounts").read_text(), "the node that came back lets the volume go")
    assert log(database, "db-1") == [*before, "db-1 started"]


def moved(cluster: Cluster, old: str) -> bool:
    """Whether db-1 is another pod than the old one, and ready."""
    found = cluster.json("get", "pods", "-l", "app=db", "--field-selector=metadata.name=db-1")["items"]
    return any(
        one["metadata"]["uid"] != old and one["status"].get("containerStatuses", [{}])[0].get("ready") for one in found
    )


def supervised(what: str, name: str) -> None:
    """Tell the cluster's supervisor what to do with one of its processes."""
    asyncio.run(supervisor.request(Config(name=NAME).control_socket, do=what, name=name))


def test_growth(database: Cluster) -> None:
    """A claim that asks for more gets it, at the latest with its next pod."""
    patch = '{"spec":{"resources":{"requests":{"storage":"96Mi"}}}}'
    database.run("patch", "pvc", "data-db-0", "--type=merge", "-p", patch)

    def grown() -> bool:
        return bool(database.json("get", "pv", volume)["spec"]["capacity"]["storage"] == "96Mi")

    volume = database.json("get", "pvc", "data-db-0")["spec"]["volumeName"]
    until(grown, "the volume grows")
    database.run("delete", "pod", "db-0")
    database.run("rollout", "status", "statefulset/db", "--timeout=90s")
    until(
        lambda: database.json("get", "pvc", "data-db-0")["status"]["capacity"]["storage"] == "96Mi", "the claim says so"
    )


def test_restart(database: Cluster) -> None:
    """Stopping and starting the cluster is no end of data; and in the end nothing is left of volumes."""
    before = log(database, "db-1")
    pynetes("down", "--cluster", NAME)
    assert f"/pynetes/{NAME}/" not in Path("/proc/mounts").read_text()
    pynetes("up", "--cluster", NAME)
    until(lambda: "db-1 started" in database.run("exec", "db-1", "--", "cat", "/data/log", check=False), "db-1 runs")
    assert log(database, "db-1")[: len(before)] == before
    database.run("delete", "-f", str(STORAGE / "1-statefulset.yaml"))
    database.run("delete", "pvc", "--all", timeout=120)

    def left() -> list[str]:
        """Those of drivers: what other tests made by hand is theirs."""
        return [one["metadata"]["name"] for one in database.json("get", "pv")["items"] if "csi" in one["spec"]]

    until(lambda: not left(), "all volumes go")
    assert not list(Path(f"/var/lib/pynetes/{NAME}/volumes/volumes").iterdir())
