"""The certificates in real TLS handshakes: what should connect does, and what should not is refused."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pynetes.pki import files, issue, renew
from pynetes.pki.layout import CLUSTER_CA, ETCD_CA, Hosts, Layout, Leaf, Pair, names

HOSTS = Hosts(node_name="node-1", addresses=("127.0.0.1",))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    renew.ensure(made, HOSTS)
    return made


@asynccontextmanager
async def server(pair: Pair, ca: Path) -> AsyncIterator[int]:
    """A server that asks for a client certificate, as etcd and the API server do."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(ca))
    context.load_cert_chain(pair.certificate, pair.key)
    context.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def dial(port: int, *, ca: Path, pair: Pair | None, name: str = "localhost") -> bytes:
    """Connect, verifying the server's name, and read the greeting: TLS 1.3 refuses a client only then."""
    context = ssl.create_default_context(cafile=str(ca))
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        return await reader.readexactly(5)
    finally:
        writer.close()


async def test_etcd_client_and_server(layout: Layout) -> None:
    """The API server's etcd client certificate opens etcd's server, by name and by address."""
    ca = layout.pair("etcd/ca").certificate
    async with server(layout.pair("etcd/server"), ca) as port:
        for name in ("localhost", "127.0.0.1", "node-1"):
            assert await dial(port, ca=ca, pair=layout.pair("apiserver-etcd-client"), name=name) == b"hello"


async def test_cluster_client_is_refused_by_etcd(layout: Layout) -> None:
    """A certificate of the cluster's CA is nobody to etcd."""
    ca = layout.pair("etcd/ca").certificate
    async with server(layout.pair("etcd/server"), ca) as port:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await dial(port, ca=ca, pair=layout.pair("apiserver-kubelet-client"))


async def test_api_server_names(layout: Layout) -> None:
    """The API server is itself under each name a pod or a person uses, and under no other."""
    ca = layout.pair("ca").certificate
    wanted = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
    async with server(layout.pair("apiserver"), ca) as port:
        for name in (*wanted, "10.96.0.1", "node-1"):
            assert await dial(port, ca=ca, pair=layout.pair("apiserver-kubelet-client"), name=name) == b"hello"
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await dial(port, ca=ca, pair=None, name="evil.example.com")


async def test_server_certificate_is_no_client(layout: Layout) -> None:
    """The usages are held to: a serving certificate does not authenticate a client."""
    ca = layout.pair("ca").certificate
    async with server(layout.pair("apiserver"), ca) as port:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await dial(port, ca=ca, pair=layout.pair("apiserver"))


async def test_expired_client_is_refused(layout: Layout, tmp_path: Path) -> None:
    """An expired certificate is refused although its authority is the right one."""
    authority = layout.pair("etcd/ca")
    issuer = issue.load(authority.certificate.read_bytes(), authority.key.read_bytes())
    made = datetime.now(UTC) - timedelta(minutes=4)
    old = issue.leaf(Leaf("old", ETCD_CA, "old", client=True), issuer, made, life=timedelta(minutes=2))
    pair = Pair(tmp_path / "old.crt", tmp_path / "old.key")
    files.write(pair.certificate, old.certificate_pem)
    files.write(pair.key, old.key_pem)
    async with server(layout.pair("etcd/server"), authority.certificate) as port:
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await dial(port, ca=authority.certificate, pair=pair)


def test_names_are_sorted_from_addresses() -> None:
    """Each name stands once, addresses apart from host names."""
    found = names("a", "10.0.0.1", "a", "::1", "10.0.0.1")
    assert found.dns == ("a",)
    assert found.addresses == ("10.0.0.1", "::1")


def test_leaf_does_not_outlive_its_authority() -> None:
    """A leaf issued late ends with its authority."""
    now = datetime.now(UTC)
    ca = issue.authority("kubernetes", now - issue.AUTHORITY_LIFE + timedelta(days=10))
    leaf = issue.leaf(Leaf("x", CLUSTER_CA, "x", client=True), ca, now)
    assert leaf.certificate.not_valid_after_utc == ca.certificate.not_valid_after_utc
