"""The connection to etcd: who is refused and why, several members, renewal while serving, and what is recorded."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pynetes.apis.core import pods
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group
from pynetes.component.tracing import Recorder
from pynetes.machinery.meta import Key, Revision
from pynetes.pki import issue, layout
from pynetes.storage import etcd_channel
from pynetes.storage.backend import Unavailable
from pynetes.storage.cache import Cacher
from pynetes.storage.etcd import EtcdBackend
from pynetes.storage.etcd_channel import Credentials, EtcdChannel
from tests.contract.etcd_server import EtcdServer, free_port

pytestmark = pytest.mark.root
POD = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"default"}}'


@pytest.fixture
async def etcd(tmp_path: Path) -> AsyncIterator[EtcdServer]:
    server = EtcdServer(tmp_path)
    try:
        await server.start()
        yield server
    finally:
        await server.kill()


async def refused(endpoint: str, credentials: Credentials) -> str:
    """What the client says when it may not connect.

    In TLS 1.3 the server refuses after the client has begun to talk; now and then its reset overtakes its reason."""
    said = "reset by peer"
    for _ in range(20):
        backend = EtcdBackend([endpoint], credentials)
        try:
            with pytest.raises(Unavailable) as caught:
                await backend.current_revision()
            said = str(caught.value)
        finally:
            await backend.close()
        if "reset by peer" not in said:
            break
    return said


async def test_a_client_without_a_certificate_is_refused(etcd: EtcdServer) -> None:
    """etcd wants one."""
    assert "bad certificate" in await refused(etcd.endpoint, etcd.credentials(""))


async def test_a_client_of_another_authority_is_refused(etcd: EtcdServer) -> None:
    """The cluster's own CA means nothing to etcd."""
    etcd.certificate("stranger", issuer=issue.authority("kubernetes", datetime.now(UTC)))
    assert "bad certificate" in await refused(etcd.endpoint, etcd.credentials("stranger"))


async def test_an_expired_client_is_refused(etcd: EtcdServer) -> None:
    """etcd says that the certificate is bad, in TLS's own words."""
    etcd.certificate("old", life=timedelta(seconds=-10))
    assert "bad certificate" in await refused(etcd.endpoint, etcd.credentials("old"))


async def test_a_stolen_server_certificate_is_no_clients(etcd: EtcdServer) -> None:
    """Whoever takes etcd's own certificate and key can pretend to be etcd to those who dial him, and ask nothing."""
    assert "bad certificate" in await refused(etcd.endpoint, etcd.credentials("server"))


async def test_a_server_of_another_authority_is_refused(etcd: EtcdServer, tmp_path: Path) -> None:
    """We verify etcd too."""
    (tmp_path / "other.crt").write_bytes(issue.authority("other", datetime.now(UTC)).certificate_pem)
    text = "its certificate was refused: unable to get local issuer certificate"
    assert text in await refused(etcd.endpoint, etcd.credentials(ca="other"))


async def test_a_server_of_another_name_is_refused(etcd: EtcdServer) -> None:
    """The host that was dialled must be in its certificate."""
    etcd.certificate("server", names=layout.names("elsewhere.example"))
    await etcd.kill()
    with pytest.raises(TimeoutError):
        await etcd.start(patience=2)
    text = "its certificate was refused: IP address mismatch, certificate is not valid for '127.0.0.1'"
    assert text in await refused(etcd.endpoint, etcd.credentials())


async def test_certificates_are_renewed_while_it_serves(etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A renewed file is shown from the next call on, and the open watch goes on."""
    monkeypatch.setattr(etcd_channel, "LOOK", 0.0)
    recorder = Recorder()
    backend = EtcdBackend([etcd.endpoint], etcd.credentials(), recorder=recorder)
    first = await backend.create("/registry/a", b"")
    before = recorder.counters[4].identity
    async with backend.watch("", after=Revision(first - 1)) as changes:
        await anext(changes)
        etcd.certificate("client", subject="renewed")
        await backend.create("/registry/b", b"")
        assert [change.key for change in await anext(changes)] == ["/registry/b"]
    assert (before.subject, recorder.counters[4].identity.subject) == ("CN=test-client", "CN=renewed")
    assert before.issuer == "CN=etcd-ca"
    await backend.close()


async def test_no_request_fails_while_certificates_are_renewed(
    etcd: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides', again and again, under writers and readers; each write is there once, and the watch saw them all."""
    monkeypatch.setattr(etcd_channel, "LOOK", 0.0)
    backend = EtcdBackend([etcd.endpoint], etcd.credentials())
    done = asyncio.Event()

    async def load(worker: int) -> list[str]:
        keys: list[str] = []
        while not done.is_set():
            keys.append(f"/registry/{worker}/{len(keys):06}")
            revision = await backend.create(keys[-1], b"1")
            await backend.update(keys[-1], b"2", expected=revision)
            found = await backend.get(keys[-1])
            assert found is not None and found.value == b"2"
        return keys

    async with backend.watch("/registry/", after=Revision(await backend.current_revision())) as changes:
        async with asyncio.TaskGroup() as group:
            loads = [group.create_task(load(worker)) for worker in range(4)]
            for number in range(10):
                etcd.certificate("server", names=layout.names("localhost", "127.0.0.1"))
                etcd.certificate("client", subject=f"renewed-{number}")
                await backend.create(f"/registry/renewal/{number}", b"")
            done.set()
        wanted = Counter({key: 2 for task in loads for key in task.result()})
        wanted.update(f"/registry/renewal/{number}" for number in range(10))
        seen: Counter[str] = Counter()
        while seen.total() < wanted.total():
            seen.update(change.key for change in await anext(changes))
    assert seen == wanted
    await backend.close()


async def test_the_next_member_is_used_when_one_is_away(etcd: EtcdServer) -> None:
    """For reads and writes: nothing was sent to the one that is not there."""
    backend = EtcdBackend([f"https://127.0.0.1:{free_port()}", etcd.endpoint], etcd.credentials())
    assert await backend.create("/registry/a", b"")
    assert await backend.get("/registry/a")
    await backend.close()


async def test_interactions_are_recorded(etcd: EtcdServer) -> None:
    """Path 4 for calls, path 5 for what the watch brings, each with the object's name."""
    recorder = Recorder()
    backend = EtcdBackend([etcd.endpoint], etcd.credentials(), recorder=recorder)
    revision = await backend.create("/registry/pods/default/web", b"")
    async with backend.watch("", after=Revision(revision - 1)) as changes:
        await anext(changes)
    seen = [(each.path, each.action, each.object, each.revision) for each in recorder.ring]
    assert seen == [(4, "create", "pods default/web", revision), (5, "watch", "pods default/web", revision)]
    await backend.close()


def test_schemes_and_files_must_agree() -> None:
    """A mistake in the flags is told before anything is dialled."""
    with pytest.raises(ValueError, match="--etcd-cafile"):
        EtcdChannel(["https://127.0.0.1:2379"], Credentials())
    with pytest.raises(ValueError, match="write https"):
        EtcdChannel(["http://127.0.0.1:2379"], Credentials(ca="a", certificate="b", key="c"))
    with pytest.raises(ValueError, match="--etcd-servers"):
        EtcdChannel([], Credentials())


async def test_the_cache_knows_whether_the_store_answers(etcd: EtcdServer) -> None:
    """What /readyz tells: not while etcd is gone, again once it is back, and nothing was missed."""
    backend = EtcdBackend([etcd.endpoint], etcd.credentials())
    cacher = Cacher(backend, SystemClock(), [pods.RESOURCE])
    async with asyncio.timeout(60), Group() as group:
        group.start(cacher.run())
        await cacher.ready()
        assert await cacher.answers()
        await etcd.kill()
        assert not await cacher.answers()
        await etcd.start()
        assert await cacher.answers()
        written = await backend.create("/registry/pods/default/a", POD)
        assert await cacher.fresh() >= written
        assert cacher.of(pods.RESOURCE).entry(Key("default", "a")) is not None
        group.cancel()
    await backend.close()


async def test_a_full_etcd_is_told_with_the_remedy(etcd: EtcdServer) -> None:
    """What was acknowledged can be read, and writes are refused, until somebody makes room."""
    await etcd.kill()
    await etcd.start("--quota-backend-bytes=1000000")
    backend = EtcdBackend([etcd.endpoint], etcd.credentials())
    written = 0
    with pytest.raises(Unavailable, match="space exceeded; `etcdctl defrag`"):
        for number in range(100):
            await backend.create(f"/registry/pods/default/{number}", POD + b" " * 100_000)
            written += 1
    found = await backend.list("/registry/pods/default/")
    assert written
    assert len(found.items) == written
    await backend.close()
