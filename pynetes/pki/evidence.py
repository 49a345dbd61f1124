"""Proof, from a running etcd, that its mTLS refuses what it must: what `pynetes paths verify` shows for it.

Each case is a real handshake. Refusals name who refused and the check that did: what etcd wrote into its log about this
very connection, else the alert it sent, or what the client's own verification said. The accepted control shows that
refusal is not mere silence.
"""

import re
import socket
import ssl
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from pynetes.pki import files, issue
from pynetes.pki.layout import ETCD_CA, Layout, Leaf, Pair

TIMEOUT = 5.0
#: Begins an HTTP/2 connection; a server that accepted us answers with its settings.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
WRONG_NAME = "not-this-etcd.invalid"
#: How long etcd may take to write the line about a refused connection, in seconds.
LOGGED = 1.0


class Evidence(NamedTuple):
    """One handshake. `refused_by` is "etcd", "client" or "" (it was accepted); `check` says why, in their words."""

    case: str
    refused_by: str
    check: str
    subject: str
    issuer: str

    def __str__(self) -> str:
        shown = f"{self.case} ({self.subject}, issuer {self.issuer})" if self.subject else self.case
        return f"{shown}: refused by {self.refused_by}: {self.check}" if self.refused_by else f"{shown}: accepted"


class Expectation(NamedTuple):
    """A case, who must refuse it ("" for nobody), and what was seen."""

    refused_by: str
    seen: Evidence

    @property
    def passed(self) -> bool:
        """Whether what was seen is what must be."""
        return self.refused_by == self.seen.refused_by


@dataclass(frozen=True)
class _Etcd:
    host: str
    port: int
    ca: Path
    log: Path | None


def handshakes(layout: Layout, host: str, port: int, *, log: Path | None = None) -> list[Expectation]:
    """The accepted control and the refusals, against etcd at host:port. Blocks for some milliseconds.

    With etcd's log, each refusal quotes what etcd says about it; the alert alone only says that the certificate is bad.

    Raises OSError when etcd is not there, FileNotFoundError when a certificate is not."""
    etcd = _Etcd(host, port, layout.pair("etcd/ca").certificate, log)
    good, other = layout.pair("apiserver-etcd-client"), layout.pair("apiserver-kubelet-client")
    stolen = layout.pair("etcd/server")
    with _expired(layout) as expired:
        return [
            Expectation("", _dial("right certificate", etcd, good)),
            Expectation("etcd", _dial("no certificate", etcd, None)),
            Expectation("etcd", _dial("signed by the cluster CA", etcd, other)),
            Expectation("etcd", _dial("expired", etcd, expired)),
            Expectation("etcd", _dial("the server's own certificate", etcd, stolen)),
            Expectation("etcd", _dial("TLS 1.1", etcd, good, newest=ssl.TLSVersion.TLSv1_1)),
            Expectation("client", _dial("wrong-host server certificate", etcd, good, name=WRONG_NAME)),
        ]


@contextmanager
def _expired(layout: Layout) -> Iterator[Pair]:
    """A client certificate of etcd's own authority whose time is over."""
    authority = layout.pair(ETCD_CA.stem)
    issuer = issue.load(authority.certificate.read_bytes(), authority.key.read_bytes())
    wanted = Leaf("expired", ETCD_CA, "expired-client", client=True)
    # An authority made a moment ago cannot have signed anything long expired.
    made = max(datetime.now(UTC) - timedelta(days=1), issuer.certificate.not_valid_before_utc)
    old = issue.leaf(wanted, issuer, made, life=timedelta(seconds=1))
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder) / "expired.crt", Path(folder) / "expired.key")
        files.write(pair.key, old.key_pem)
        files.write(pair.certificate, old.certificate_pem)
        yield pair


def _dial(
    case: str, etcd: _Etcd, pair: Pair | None, *, name: str = "", newest: ssl.TLSVersion | None = None
) -> Evidence:
    context = ssl.create_default_context(cafile=str(etcd.ca))
    if newest is not None:
        _until(context, newest)
    context.set_alpn_protocols(["h2"])
    subject = issuer = ""
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
        certificate = issue.load(pair.certificate.read_bytes(), pair.key.read_bytes()).certificate
        subject, issuer = certificate.subject.rfc4514_string(), certificate.issuer.rfc4514_string()
    with socket.create_connection((etcd.host, etcd.port), timeout=TIMEOUT) as connection:
        local = connection.getsockname()[1]
        who, check = _handshake(context, connection, name or etcd.host)
    if who == "etcd" and etcd.log is not None:
        check = _logged(etcd.log, local) or check
    return Evidence(case, who, check, subject, issuer)


def _until(context: ssl.SSLContext, newest: ssl.TLSVersion) -> None:
    """Offer this version and older ones, however weak OpenSSL believes them to be."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, newest


def _handshake(context: ssl.SSLContext, connection: socket.socket, name: str) -> tuple[str, str]:
    """Who refused it, and why; two empty texts when it was accepted."""
    try:
        with context.wrap_socket(connection, server_hostname=name) as stream:
            # In TLS 1.3 the client is done before the server has judged it; the first read tells.
            stream.sendall(PREFACE)
            return ("", "") if stream.recv(9) else ("etcd", "closed the connection")
    except ssl.SSLCertVerificationError as error:
        return "client", error.verify_message
    except ssl.SSLError as error:
        return "etcd", (error.reason or str(error)).lower().replace("_", " ")
    except (ConnectionResetError, BrokenPipeError):
        return "etcd", "reset the connection"


def _logged(log: Path, port: int) -> str:
    """What etcd wrote about the connection from this port; "" when it writes nothing in time. Both log formats."""
    plain = re.compile(rf'rejected connection from "[^"]*:{port}" \(error "([^"]*)"')
    structured = re.compile(rf'"rejected connection[^"]*".*"remote-addr":"[^"]*:{port}".*"error":"([^"]*)"')
    deadline = time.monotonic() + LOGGED
    while True:
        lines = [line for line in log.read_text(errors="replace").splitlines() if f":{port}" in line]
        for line in reversed(lines):
            if found := plain.search(line) or structured.search(line):
                return found[1]
        if time.monotonic() > deadline:
            return ""
        time.sleep(0.02)
