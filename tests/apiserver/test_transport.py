"""The HTTPS listener under attack: old protocol versions, weak ciphers, renegotiation, oversized heads."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pynetes.apiserver.config import Config
from pynetes.apiserver.http import Request, Response
from pynetes.apiserver.server import TLS, Server
from pynetes.cmd.apiserver import tls_of
from pynetes.pki import renew
from pynetes.pki.layout import Hosts, Layout


async def _hello(request: Request) -> Response:
    return Response(200, b"hello" + request.body)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    layout = Layout(tmp_path)
    renew.ensure(layout, Hosts(node_name="n", addresses=("127.0.0.1",)))
    pair, ca = layout.pair("apiserver"), str(layout.pair("ca").certificate)
    server = Server(_hello)
    async with asyncio.TaskGroup() as group:
        tls = TLS(certificate=str(pair.certificate), key=str(pair.key), client_cas=(ca,))
        await server.listen(group, host="127.0.0.1", port=0, tls=tls)
        yield server.port
        await server.shutdown()


def client() -> ssl.SSLContext:
    """Trusts anybody and would accept anything: what a downgrade needs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def negotiated(port: int, context: ssl.SSLContext) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"hello" in await reader.read()
        found = writer.get_extra_info("ssl_object")
        return found.version(), found.cipher()[0]
    finally:
        writer.close()


async def test_the_oldest_version_can_be_chosen(tmp_path: Path) -> None:
    """--tls-min-version=VersionTLS13 refuses 1.2."""
    layout = Layout(tmp_path)
    renew.ensure(layout, Hosts(node_name="n", addresses=("127.0.0.1",)))
    pair = layout.pair("apiserver")
    given = Config(
        tls_cert_file=str(pair.certificate), tls_private_key_file=str(pair.key), tls_min_version="VersionTLS13"
    )
    old = client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server = Server(_hello)
    async with asyncio.TaskGroup() as group:
        await server.listen(group, host="127.0.0.1", port=0, tls=tls_of(given))
        assert (await negotiated(server.port, client()))[0] == "TLSv1.3"
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await negotiated(server.port, old)
        await server.shutdown()


async def test_the_best_is_preferred(port: int) -> None:
    """TLS 1.3 where the client has it, 1.2 with forward secrecy where not."""
    assert (await negotiated(port, client()))[0] == "TLSv1.3"
    old = client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    version, cipher = await negotiated(port, old)
    assert version == "TLSv1.2" and cipher.startswith("ECDHE-")


@pytest.mark.parametrize(
    "ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "DHE", "NULL", "3DES"]
)
async def test_weak_ciphers_are_refused(port: int, ciphers: str) -> None:
    """Nothing without forward secrecy, nothing with CBC, nothing in plain text."""
    weak = client()
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        weak.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip("this OpenSSL cannot even ask for it")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await negotiated(port, weak)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_several_records_in_one_packet(port: int) -> None:
    """Head and body each in a TLS record of its own, and both there before the server looks."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client().wrap_bio(incoming, outgoing)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            incoming.write(await reader.read(1 << 16))
    tls.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nConnection: close\r\n\r\n")
    tls.write(b"wor")
    tls.write(b"ld!")
    writer.write(outgoing.read())
    answer = b""
    while b"world!" not in answer:
        received = await reader.read(1 << 16)
        assert received, answer
        incoming.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            answer += tls.read(1 << 16)
    writer.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_old_versions_are_refused(port: int, version: ssl.TLSVersion) -> None:
    """Below 1.2 there is no handshake."""
    old = client()
    old.minimum_version = old.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await negotiated(port, old)


async def test_plain_text_gets_nothing(port: int) -> None:
    """HTTP to the HTTPS port is cut without an answer from the handler."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        assert b"hello" not in await reader.read()
    writer.close()


async def test_an_endless_head_is_cut(port: int) -> None:
    """Header bytes beyond the limit end the connection; memory does not grow with what a stranger sends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    try:
        for _ in range(64):
            writer.write(b"X-Long: " + b"a" * (64 << 10) + b"\r\n")
            await writer.drain()
        assert b"hello" not in await reader.read()
    except (ConnectionError, ssl.SSLError):
        pass
    writer.close()


async def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    """The one too many is closed; when others go, there is room again."""

    async def handle(request: Request) -> Response:
        return Response(200, b"hello")

    async def answers(port: int, writers: list[asyncio.StreamWriter]) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writers.append(writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return (await reader.readline()).startswith(b"HTTP/1.1 200")
        except ConnectionError:
            return False

    server = Server(handle)
    server.most_connections = 3
    async with asyncio.TaskGroup() as group:
        await server.listen(group, host="127.0.0.1", port=0)
        writers: list[asyncio.StreamWriter] = []
        assert [await answers(server.port, writers) for _ in range(5)] == [True, True, True, False, False]
        for writer in writers:
            writer.close()
        async with asyncio.timeout(5):
            while not await answers(server.port, writers):
                await asyncio.sleep(0.01)
        writers[-1].close()
        await server.shutdown()


async def test_unfinished_handshakes_of_one_address_are_limited(port: int, tmp_path: Path) -> None:
    """Who connects and says nothing gets so far; others, and he himself when he has let go, are served."""
    pair = Layout(tmp_path).pair("apiserver")

    async def handle(request: Request) -> Response:
        return Response(200, b"hello")

    async def cut(reader: asyncio.StreamReader) -> bool:
        try:
            return await reader.read(1) == b""
        except ConnectionError:
            return True

    server = Server(handle)
    server.most_handshakes = 3
    async with asyncio.TaskGroup() as group:
        tls = TLS(certificate=str(pair.certificate), key=str(pair.key))
        await server.listen(group, host="127.0.0.1", port=0, tls=tls)
        silent = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert await cut(reader)
        writer.close()
        other = await asyncio.open_connection("127.0.0.1", server.port, local_addr=("127.0.0.2", 0), ssl=client())
        other[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await other[0].readline()).startswith(b"HTTP/1.1 200")
        other[1].close()
        for _, writer in silent:
            writer.close()
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(ssl.SSLError, ConnectionError):
                    assert await negotiated(server.port, client())
                    break
        await server.shutdown()


async def test_both_families_at_once() -> None:
    """`::` serves IPv4 as well."""

    async def handle(request: Request) -> Response:
        return Response(200, b"hello")

    server = Server(handle)
    async with asyncio.TaskGroup() as group:
        await server.listen(group, host="::", port=0)
        for address in ("127.0.0.1", "::1"):
            reader, writer = await asyncio.open_connection(address, server.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
        await server.shutdown()
