"""Three nodes, every add-on and a cloud: the same `up`, extended; and all 29 paths between them."""

import pytest

from pynetes.cluster.addons import catalog
from tests.e2e.conftest import NAME, SHOP, Cluster, pynetes

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def three(cluster: Cluster) -> Cluster:
    """The cluster with two more nodes and all there is to have, and the shop on it."""
    pynetes("up", "--cluster", NAME, "--nodes", "3", "--with", ",".join(catalog.OPTIONAL), "--cloud", "local")
    cluster.run("apply", "-f", str(SHOP))
    cluster.run("-n", "shop", "rollout", "status", "deployment/front", "--timeout=90s")
    cluster.run("-n", "shop", "rollout", "status", "statefulset/stock", "--timeout=90s")
    return cluster


def test_all_three_are_ready(three: Cluster) -> None:
    """Each with an address and a pod network of its own."""
    nodes = three.json("get", "nodes")["items"]
    ready = [c["status"] for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready"]
    assert ready == ["True"] * 3
    assert len({node["spec"]["podCIDR"] for node in nodes}) == 3


def test_pods_spread_and_reach_each_other_and_every_service(three: Cluster) -> None:
    """From a pod on every node: every other pod by its address, the Service by its name, the API server."""
    pods = three.json("-n", "shop", "get", "pods", "-l", "app=front")["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) > 1
    for source in pods:
        for target in pods:
            said = _fetch(three, source["metadata"]["name"], f"http://{target['status']['podIP']}:8080/cgi-bin/who")
            assert target["metadata"]["name"] in said
        assert "served by front-" in _fetch(three, source["metadata"]["name"], "http://front.shop/cgi-bin/who")


def _fetch(cluster: Cluster, pod: str, url: str) -> str:
    return cluster.run("-n", "shop", "exec", pod, "--", "timeout", "10", "wget", "-q", "-O", "-", url)


def test_logs_and_exec_reach_pods_on_every_node(three: Cluster) -> None:
    """The API server dials each kubelet."""
    for pod in three.json("-n", "shop", "get", "pods", "-l", "app=front")["items"]:
        name = pod["metadata"]["name"]
        assert "opens on" in three.run("-n", "shop", "logs", name)
        assert three.run("-n", "shop", "exec", name, "--", "hostname").strip() == name


def test_paths_are_verified(three: Cluster) -> None:
    """All of them, with evidence from this cluster."""
    result = pynetes("paths", "verify", "--cluster", NAME, timeout=400, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "30 passed, 0 failed, 0 not there yet" in result.stdout
