"""The check of path 3, on the in-process cluster, which has everything that it needs."""

from pathlib import Path

from pynetes.client.rest import Client
from pynetes.paths.checks import delivery
from pynetes.paths.scene import Scene, Site
from pynetes.testing.cluster import Cluster
from tests.delivery.conftest import found


async def test_the_evidence_names_who_what_and_where_not(cluster: Cluster, tmp_path: Path) -> None:
    """The token's user, the fields it owns, and the refusal of another namespace."""
    site = Site(
        state=tmp_path, kubeconfig=cluster.kubeconfig, kubectl=found("kubectl"), paths_dir=tmp_path, etcd="",
        dns_service="", domain="cluster.local", proxy_mode="nftables", shell_image="busybox", python_image="python",
        runtimes={},
    )  # fmt: skip
    client = Client.from_kubeconfig(str(cluster.kubeconfig))
    try:
        evidence = await delivery.CHECKS[0].run(Scene(site, client))
    finally:
        await client.close()
    assert "system:serviceaccount:pynetes-verify:pipeline" in evidence and "1 pod ready" in evidence
    assert 'in the namespace "kube-system"' in evidence
