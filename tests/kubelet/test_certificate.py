"""Joining with a bootstrap token, against a real API server and the real approving and signing controllers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pynetes.apis.certificates import certificatesigningrequests as requests
from pynetes.apis.core import nodes, secrets
from pynetes.apis.rbac import clusterrolebindings
from pynetes.client import kubeconfig
from pynetes.client.rest import Client
from pynetes.client.transport import NetworkTransport
from pynetes.component.clock import SystemClock
from pynetes.kubelet import certificate
from pynetes.kubelet.config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.testing.cluster import Cluster

CLOCK = SystemClock()
TOKEN = "abcdef.0123456789abcdef"
#: What kubeadm gives nodes that join.
BINDINGS = {
    "system:node-bootstrapper": "system:bootstrappers",
    "system:certificates.k8s.io:certificatesigningrequests:nodeclient": "system:bootstrappers",
    "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient": "system:nodes",
}


def token(**more: str) -> Object:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        **more,
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with Cluster(nodes=0, run_scheduler=False) as made:
        for role, group in BINDINGS.items():
            binding: Object = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"test:{role.rpartition(':')[2]}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}],
            }
            await made.client.create(clusterrolebindings.RESOURCE, binding)
        yield made


def configured(cluster: Cluster, tmp_path: Path, bearer: str = TOKEN) -> Config:
    """A new node's: nothing but the token and the CA."""
    document: dict[str, Any] = yaml.safe_load(Path(cluster.kubeconfig).read_text())
    document["users"][0]["user"] = {"token": bearer}
    (tmp_path / "bootstrap.conf").write_text(yaml.safe_dump(document))
    return Config(
        kubeconfig=str(tmp_path / "kubelet.conf"),
        bootstrap_kubeconfig=str(tmp_path / "bootstrap.conf"),
        cert_dir=str(tmp_path / "pki"),
    )


async def test_a_node_joins_and_is_that_node_only(cluster: Cluster, tmp_path: Path) -> None:
    """Token → CSR → approved → signed → kubeconfig: it may register itself and read nobody's Secrets; the key stays."""
    await cluster.client.create(secrets.RESOURCE, token())
    config = configured(cluster, tmp_path)
    async with asyncio.timeout(30):
        await certificate.bootstrap(config, "fresh", CLOCK)
    written = Path(config.kubeconfig).read_text()
    assert TOKEN not in written and "PRIVATE" not in written
    current = Path(config.cert_dir) / certificate.CURRENT
    assert current.is_symlink() and current.stat().st_mode & 0o777 == 0o600
    client = Client.from_kubeconfig(config.kubeconfig, component="kubelet")
    try:
        await client.create(nodes.RESOURCE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "fresh"}})
        with pytest.raises(StatusError, match="forbidden"):
            await client.get(secrets.RESOURCE, Key("kube-system", "bootstrap-token-abcdef"))
        with pytest.raises(StatusError, match="forbidden"):
            await client.list(secrets.RESOURCE)
    finally:
        await client.close()
    # A second start needs no token any more.
    await cluster.client.delete(secrets.RESOURCE, Key("kube-system", "bootstrap-token-abcdef"))
    before = current.read_bytes()
    await certificate.bootstrap(config, "fresh", CLOCK)
    assert current.read_bytes() == before


async def test_a_certificate_is_renewed_with_itself(cluster: Cluster, tmp_path: Path) -> None:
    """A client that is in use goes on with the new certificate; the file before stays for those who have it open."""
    await cluster.client.create(secrets.RESOURCE, token())
    config = configured(cluster, tmp_path)
    async with asyncio.timeout(30):
        await certificate.bootstrap(config, "fresh", CLOCK)
        client = Client.from_kubeconfig(config.kubeconfig, component="kubelet")
        try:
            link = Path(config.cert_dir) / certificate.CURRENT
            first = certificate.load(link)
            pem = await certificate.ask(client, "fresh", CLOCK)
            certificate.keep(config, pem, datetime.now(UTC))
            second = certificate.load(link)
            assert first is not None and second is not None and first.serial_number != second.serial_number
            await client.create(nodes.RESOURCE, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "fresh"}})
            assert client.transport.identity.subject == second.subject.rfc4514_string()
        finally:
            await client.close()
    assert len(list(Path(config.cert_dir).glob("kubelet-client-2*.pem"))) == 2


async def test_a_node_cannot_ask_for_another_node(cluster: Cluster, tmp_path: Path) -> None:
    """A kubelet's own certificate gets it no certificate in another node's name: nobody approves that."""
    client = cluster.client_as("system:node:a", "system:nodes", component="kubelet")
    asking = asyncio.ensure_future(certificate.ask(client, "b", CLOCK))
    own = asyncio.ensure_future(certificate.ask(client, "a", CLOCK))
    async with asyncio.timeout(30):
        assert b"PRIVATE KEY" in await own
    assert not asking.done()
    asking.cancel()
    listed = await cluster.client.list(requests.RESOURCE)
    assert len([one for one in listed.items if not (one.get("status") or {}).get("certificate")]) == 1


@pytest.mark.parametrize(
    ("secret", "bearer"),
    [
        (token(expiration="2020-01-01T00:00:00Z"), TOKEN),
        (token(), "abcdef.0000000000000000"),
        (token(**{"usage-bootstrap-authentication": "false"}), TOKEN),
        (token(**{"token-secret": "0000000000000000"}), TOKEN),
    ],
    ids=["expired", "guessed", "not for authentication", "another secret"],
)
async def test_bad_tokens_join_nothing(secret: Object, bearer: str, cluster: Cluster, tmp_path: Path) -> None:
    """Not even a request is stored."""
    await cluster.client.create(secrets.RESOURCE, secret)
    credentials = kubeconfig.load(configured(cluster, tmp_path, bearer).bootstrap_kubeconfig)
    client = Client(NetworkTransport(credentials), component="kubelet")
    try:
        with pytest.raises(StatusError, match="Unauthorized"):
            await certificate.ask(client, "fresh", CLOCK)
    finally:
        await client.close()
    assert not (await cluster.client.list(requests.RESOURCE)).items
