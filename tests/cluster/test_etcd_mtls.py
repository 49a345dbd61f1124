"""mTLS between API server and etcd, against the distribution's etcd: the right pair gets in, nothing else does."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pynetes.pki import evidence, renew
from pynetes.pki.layout import Hosts, Layout

pytestmark = [pytest.mark.root, pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")]

READY = 20.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Layout, int]]:
    """etcd with exactly the certificates and flags that paths.md names."""
    root: Path = tmp_path_factory.mktemp("etcd")
    layout = Layout(root)
    renew.ensure(layout, Hosts(node_name="node-1"))
    ca, server, peer = (layout.pair(f"etcd/{stem}") for stem in ("ca", "server", "peer"))
    port, peers = free_port(), free_port()
    command = [
        "etcd",
        f"--data-dir={root}/data",
        f"--listen-client-urls=https://127.0.0.1:{port}",
        f"--advertise-client-urls=https://127.0.0.1:{port}",
        f"--listen-peer-urls=https://127.0.0.1:{peers}",
        f"--initial-advertise-peer-urls=https://127.0.0.1:{peers}",
        f"--initial-cluster=default=https://127.0.0.1:{peers}",
        "--client-cert-auth",
        "--enable-grpc-gateway=false",
        f"--trusted-ca-file={ca.certificate}",
        f"--cert-file={server.certificate}",
        f"--key-file={server.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={ca.certificate}",
        f"--peer-cert-file={peer.certificate}",
        f"--peer-key-file={peer.key}",
    ]
    with (root / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(port, process)
            yield layout, port
        finally:
            process.kill()


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + READY
    while time.monotonic() < deadline:
        assert process.poll() is None, "etcd ended"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("etcd does not listen")


def test_handshakes(etcd: tuple[Layout, int]) -> None:
    """The right certificate is accepted; the wrong ones are refused, each by whom it must be, with a reason."""
    layout, port = etcd
    found = {item.seen.case: item for item in evidence.handshakes(layout, "127.0.0.1", port, log=layout.root / "log")}
    assert [case for case, item in found.items() if not item.passed] == []
    assert found["right certificate"].seen.refused_by == ""
    checks = {case: item.seen.check for case, item in found.items()}
    assert "didn't provide a certificate" in checks["no certificate"]
    assert "signed by unknown authority" in checks["signed by the cluster CA"]
    assert "has expired" in checks["expired"]
    # Stolen from etcd, it is good for being etcd, not for asking it.
    assert "incompatible key usage" in checks["the server's own certificate"]
    assert "unsupported versions" in checks["TLS 1.1"]
    assert "mismatch" in checks["wrong-host server certificate"]


def test_renewed_while_serving(etcd: tuple[Layout, int]) -> None:
    """After renewal the new client certificate opens the etcd that is still running, and etcd shows its new one."""
    layout, port = etcd
    done = renew.renew(layout, Hosts(node_name="node-1"), only=frozenset({"apiserver-etcd-client", "etcd/server"}))
    assert len(done) == 2
    assert all(item.passed for item in evidence.handshakes(layout, "127.0.0.1", port))
