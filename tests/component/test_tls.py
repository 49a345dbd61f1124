"""Servers take new certificates and authorities up without a restart, and let go of those that are taken away."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvloop

from pynetes.component import files, tls
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, names

NOW = datetime.now(UTC)


class Site:
    """A folder with a server's files, and authorities to sign with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first, self.second = issue.authority("one", NOW), issue.authority("two", NOW)
        self.serve(self.first)
        self.trust(self.first)

    def write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        partial = self.folder / f".{name}"
        partial.write_bytes(data)
        partial.replace(path)
        return path

    def serve(self, issuer: issue.Issued, stem: str = "server", *more: str) -> tuple[Path, Path]:
        made = issue.leaf(Leaf("s", CLUSTER_CA, "s", server=True, names=names("localhost", *more)), issuer, NOW)
        return self.write(f"{stem}.crt", made.certificate_pem), self.write(f"{stem}.key", made.key_pem)

    def trust(self, *authorities: issue.Issued) -> None:
        self.write("ca.crt", b"".join(each.certificate_pem for each in authorities))

    def client(self, issuer: issue.Issued | None, server: issue.Issued) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=server.certificate_pem.decode())
        if issuer is not None:
            made = issue.leaf(Leaf("c", CLUSTER_CA, "me", client=True), issuer, NOW)
            tls.load(context, made.certificate_pem + made.key_pem)
        return context


@asynccontextmanager
async def listening(context: ssl.SSLContext) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        shown = writer.get_extra_info("ssl_object").getpeercert()
        writer.write(b"known\n" if shown else b"nobody\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, context: ssl.SSLContext, name: str = "localhost") -> str:
    """What the server says; "refused" when it hangs up, which in TLS 1.3 is after the client's part is done."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        return (await reader.readline()).decode().strip() or "refused"
    except (ConnectionError, ssl.SSLError):
        return "refused"
    finally:
        writer.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_authorities_come_and_go(loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """A client of a new authority is known as soon as the bundle has it, one of the old no longer once it has not."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_come_and_go(tmp_path))


async def _come_and_go(tmp_path: Path) -> None:
    site = Site(tmp_path)
    context = tls.server_context(tmp_path / "server.crt", tmp_path / "server.key", client_cas=(tmp_path / "ca.crt",))
    old, new = site.client(site.first, site.first), site.client(site.second, site.first)
    async with listening(context) as port:
        assert await ask(port, old) == "known"
        assert await ask(port, site.client(None, site.first)) == "nobody"
        assert await ask(port, new) == "refused"
        site.trust(site.first, site.second)
        assert [await ask(port, old), await ask(port, new)] == ["known", "known"]
        site.trust(site.second)
        assert [await ask(port, old), await ask(port, new)] == ["refused", "known"]


async def test_no_session_outlives_its_authority(tmp_path: Path) -> None:
    """A session of before cannot be resumed around the check of the certificate."""
    site = Site(tmp_path)
    context = tls.server_context(tmp_path / "server.crt", tmp_path / "server.key", client_cas=(tmp_path / "ca.crt",))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = site.client(site.first, site.first)
        client.maximum_version = version
        async with listening(context) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="localhost")
            assert await reader.readline() == b"known\n"
            session = writer.get_extra_info("ssl_object").session
            writer.close()
            assert session is None or not session.has_ticket


async def test_a_new_certificate_is_served(tmp_path: Path) -> None:
    """Also when its two files arrive one after the other: the pair of before serves meanwhile."""
    site = Site(tmp_path)
    context = tls.server_context(tmp_path / "server.crt", tmp_path / "server.key")
    before, after = site.client(None, site.first), site.client(None, site.second)
    async with listening(context) as port:
        assert await ask(port, before) == "nobody"
        made = issue.leaf(Leaf("s", CLUSTER_CA, "s", server=True, names=names("localhost")), site.second, NOW)
        site.write("server.key", made.key_pem)
        assert await ask(port, before) == "nobody"
        site.write("server.crt", made.certificate_pem)
        assert await ask(port, after) == "nobody"
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, before)


async def test_certificates_by_name(tmp_path: Path) -> None:
    """Who asks for a name gets the certificate of that name; a star is for one label."""
    site = Site(tmp_path)
    named = (*site.serve(site.second, "other", "*.example.org"), ())
    context = tls.server_context(tmp_path / "server.crt", tmp_path / "server.key", named=(named,))
    async with listening(context) as port:
        assert await ask(port, site.client(None, site.second), "a.example.org") == "nobody"
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(port, site.client(None, site.second), "a.b.example.org")
    assert tls.matches("*.example.org", "A.Example.org") and not tls.matches("*.example.org", "example.org")


def test_a_broken_file_is_told_once_and_the_last_good_value_stays(tmp_path: Path) -> None:
    """Whoever rereads a file goes on with what it knew."""
    path, told = tmp_path / "number", []
    path.write_text("1")
    reread = files.Reread((path,), lambda: int(path.read_text()), failed=told.append)
    assert reread.current() == 1
    path.write_text("not a number")
    assert [reread.current(), reread.current()] == [1, 1] and len(told) == 1
    path.write_text("22")
    assert reread.current() == 22
    path.unlink()
    assert reread.current() == 22


def test_a_self_signed_certificate_stays_over_restarts(tmp_path: Path) -> None:
    """The same file again and again; another one for other names, or instead of one that cannot be read."""
    path = tmp_path / "made" / "tls.pem"
    tls.kept_self_signed(path.parent, ("localhost", "one"))
    first = path.read_bytes()
    assert path.stat().st_mode & 0o77 == 0
    tls.kept_self_signed(path.parent, ("localhost", "one"))
    assert path.read_bytes() == first
    tls.kept_self_signed(path.parent, ("localhost", "two"))
    second = path.read_bytes()
    assert second != first
    path.write_text("cut off")
    tls.kept_self_signed(path.parent, ("localhost", "two"))
    assert b"PRIVATE KEY" in path.read_bytes() != second
