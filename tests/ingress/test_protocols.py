"""Backends that speak gRPC and TLS, through a real nginx: with servers and clients of gRPC itself."""

from pathlib import Path

import pytest

from tests.ingress import grpcs
from tests.ingress.conftest import Edge, pair

pytestmark = pytest.mark.root


@pytest.mark.parametrize("secure", [False, True])
async def test_grpc(edge: Edge, secure: bool) -> None:
    """backend-protocol GRPC and GRPCS: answers, streams both ways, and a status with its trailers."""
    port = await grpcs.serve(edge.stack, "stock", "127.0.0.1", pair("inner.test") if secure else None)
    edge.service("stock", [("127.0.0.1", port)])
    chain, key = pair("a.test")
    edge.secret("cert", tls_crt=chain, tls_key=key)
    edge.ingress(
        "i", ("a.test", "/", "Prefix", "stock"), tls={"hosts": ["a.test"], "secretName": "cert"},
        backend_protocol="GRPCS" if secure else "GRPC",
    )  # fmt: skip
    await edge.settled()
    async with grpcs.channel(edge.https, "a.test", chain) as channel:
        assert await grpcs.ask(channel) == "stock x"
        assert await grpcs.talk(channel) == ["stock one", "stock two"]
        assert await grpcs.ask(channel, f"/{grpcs.SERVICE}/Missing") == "NOT_FOUND no such thing sold"


async def test_grpc_by_path(edge: Edge) -> None:
    """A service's name is the first part of the path; what no rule matches is unimplemented, as 404 is to gRPC."""
    for name in ("one", "two"):
        edge.service(name, [("127.0.0.1", await grpcs.serve(edge.stack, name, "127.0.0.1"))])
    chain, key = pair("a.test")
    edge.secret("cert", tls_crt=chain, tls_key=key)
    edge.ingress(
        "i", ("a.test", "/shop.One", "Prefix", "one"), ("a.test", "/shop.Two/Count", "Exact", "two"),
        tls={"hosts": ["a.test"], "secretName": "cert"}, backend_protocol="GRPC",
    )  # fmt: skip
    await edge.settled()
    async with grpcs.channel(edge.https, "a.test", chain) as channel:
        assert await grpcs.ask(channel, "/shop.One/Count") == "one x"
        assert await grpcs.ask(channel, "/shop.Two/Count") == "two x"
        assert (await grpcs.ask(channel, "/shop.Two/Other")).startswith("UNIMPLEMENTED")


async def test_https_backend_is_asked_for_the_host(edge: Edge, tmp_path: Path) -> None:
    """backend-protocol HTTPS: the backend is spoken to with TLS, and learns the name that the client dialled."""
    port, names = await grpcs.secure_web(edge.stack, pair("a.test"), tmp_path)
    edge.service("secure", [("127.0.0.1", port)])
    edge.ingress("i", ("a.test", "/", "Prefix", "secure"), backend_protocol="HTTPS")
    edge.ingress("v", ("b.test", "/", "Prefix", "secure"), backend_protocol="HTTPS", upstream_vhost="inner.test")
    edge.ingress("plain", ("c.test", "/", "Prefix", "secure"))
    await edge.settled()
    assert (await edge.get("a.test")).server == "secure"
    assert (await edge.get("b.test")).server == "secure"
    assert names == ["a.test", "inner.test"]
    assert (await edge.get("c.test")).status in (400, 502)
