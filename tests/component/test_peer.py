"""What a client's TLS context notes of the server."""

import asyncio
import ssl
from dataclasses import asdict

from aiohttp import web

from pynetes.component import serving, tls
from pynetes.component.health import Checks
from pynetes.component.peer import Peer, described
from pynetes.component.tracing import Certificate, Identity


async def test_the_servers_certificate_is_noted_at_the_handshake() -> None:
    """Whatever library dials, and though nobody asked it."""
    app: web.Application = serving.application(Checks())
    server = tls.self_signed_context(("localhost", "dashboard.kube-system.svc"))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer = Peer(context)
    assert peer.certificate is None
    async with serving.serve(app, context=server) as port:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.close()
    shown = peer.certificate
    assert shown is not None
    assert shown.names == ("DNS:localhost", "DNS:dashboard.kube-system.svc")
    assert shown.subject.startswith("CN=localhost@")
    assert shown.begins < shown.expires


def test_an_identity_survives_json() -> None:
    """Components tell it each other over their sockets."""
    certificate = Certificate("CN=a", "CN=ca", ("DNS:a",), "2026", "2027")
    identity = Identity("a", rule="allowed", client=certificate)
    assert Identity.of(asdict(identity)) == identity


def test_what_is_no_certificate_is_none() -> None:
    """A file that is being written, or not PEM at all."""
    assert described(b"-----BEGIN CERTIFICATE-----") is None
    assert described(b"\x00\x01") is None
