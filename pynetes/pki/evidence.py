"""Proof that etcd and the API server verify each other: four attempts that must fail, and the check that stopped each.

Every attempt is a real TLS handshake with the running etcd. In TLS 1.3 a server refuses a client's certificate after
the client's side of the handshake is done, so an attempt counts as accepted only when the server answers a request.
"""

import asyncio
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, ETCD_CA, Layout, Leaf, Pair

WITHIN = 5.0
#: No certificate has this name: the top-level domain is reserved (RFC 2606).
WRONG_HOST = "etcd.elsewhere.invalid"


class Refusal(NamedTuple):
    """An attempt: what was tried, whether it was refused, and which check refused it, in TLS's own words."""

    what: str
    refused: bool
    evidence: str


async def refusals(layout: Layout, host: str, port: int) -> list[Refusal]:
    """Try all four. Raises ConnectionError when the rightful client is refused too: then nothing is proven."""
    ca, rightful = layout.pair(ETCD_CA.stem), layout.pair("apiserver-etcd-client")
    said = await _attempt(host, port, _client(ca, rightful))
    if not said.startswith("HTTP/"):
        raise ConnectionError(f"etcd refuses the API server's own certificate: {said}")
    found = []
    for what, identity in IDENTITIES:
        with identity(layout) as pair:
            said = await _attempt(host, port, _client(ca, pair))
        found.append(Refusal(what, not said.startswith("HTTP/"), said))
    said = await _attempt(host, port, _client(ca, rightful), name=WRONG_HOST)
    found.append(
        Refusal(
            f"a server that shows a certificate for another host than {WRONG_HOST}", not said.startswith("HTTP/"), said
        )
    )
    return found


def _client(ca: Pair, identity: Pair | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca.certificate))
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


async def _attempt(host: str, port: int, context: ssl.SSLContext, *, name: str = "") -> str:
    """The first line of etcd's answer, or why there was none."""
    try:
        async with asyncio.timeout(WITHIN):
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name or host)
            try:
                writer.write(f"GET /health HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                line = await reader.readline()
                return line.decode(errors="replace").strip() or "the connection was closed without an answer"
            finally:
                writer.close()
    except ssl.SSLCertVerificationError as error:
        return f"client: {error.verify_message}"
    except ssl.SSLError as error:
        return f"server: {(error.reason or str(error)).lower().replace('_', ' ')}"
    except ConnectionError as error:
        return f"server: {error}"


@contextmanager
def _nothing(layout: Layout) -> Iterator[Pair | None]:
    yield None


@contextmanager
def _of_cluster(layout: Layout) -> Iterator[Pair | None]:
    """A certificate that the cluster's CA signed: right for the API server, wrong for etcd."""
    yield layout.pair("apiserver-kubelet-client")


@contextmanager
def _expired(layout: Layout) -> Iterator[Pair | None]:
    """A certificate of etcd's own CA that ended before this minute."""
    pair = layout.pair(ETCD_CA.stem)
    authority = issue.load(pair.certificate.read_bytes(), pair.key.read_bytes())
    began = authority.certificate.not_valid_before_utc
    wanted = Leaf("expired", ETCD_CA, "expired", client=True)
    issued = issue.leaf(wanted, authority, began + timedelta(seconds=1), life=timedelta(seconds=1))
    with tempfile.TemporaryDirectory() as folder:
        made = Pair(Path(folder, "expired.crt"), Path(folder, "expired.key"))
        made.certificate.write_bytes(issued.certificate_pem)
        made.key.touch(mode=0o600)
        made.key.write_bytes(issued.key_pem)
        yield made


IDENTITIES: tuple[tuple[str, Callable[[Layout], AbstractContextManager[Pair | None]]], ...] = (
    ("a client without a certificate", _nothing),
    (f"a client whose certificate is of the cluster's CA ({CLUSTER_CA.common_name})", _of_cluster),
    ("a client whose certificate has expired", _expired),
)
