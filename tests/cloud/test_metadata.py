"""The metadata service: IMDSv2 only, and what the AWS SDK's own credential provider makes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from pynetes.cloud.metadata.credentials import Issuer
from pynetes.cloud.metadata.service import TOKEN, TTL, Facts, Service
from pynetes.cloud.metadata.sessions import Sessions
from pynetes.component import serving

FACTS = Facts(
    id="i-1", name="n1", type="local.standard", zone="local-a", region="local", address="10.0.0.1",
    tags={"cluster": "trial"}, user_data="#!/bin/sh\n", role="pynetes-node",
)  # fmt: skip


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@asynccontextmanager
async def served(clock: Clock, facts: Facts | None = FACTS) -> AsyncIterator[tuple[str, Issuer]]:
    """The service on a port of this machine."""
    issuer = Issuer(b"k" * 32, seconds=3600, clock=clock)
    service = Service(lambda: facts, issuer=issuer, sessions=Sessions(b"k" * 32, clock))
    async with serving.serve(service.application()) as port:
        yield f"http://127.0.0.1:{port}", issuer


async def token(session: aiohttp.ClientSession, url: str, seconds: int = 60) -> str:
    async with session.put(f"{url}/latest/api/token", headers={TTL: str(seconds)}) as answer:
        assert answer.status == 200 and answer.headers[TTL] == str(seconds)
        return await answer.text()


async def test_nothing_is_told_without_a_token() -> None:
    """No token, a wrong one, one of another instance: 401; a token asked for badly or through a proxy: refused."""
    async with served(Clock()) as (url, _), aiohttp.ClientSession() as session:
        foreign = Sessions(b"k" * 32, Clock()).open("i-2", 60)
        for wrong in ("", "nonsense", "a.b", foreign):
            headers = {TOKEN: wrong} if wrong else {}
            async with session.get(f"{url}/latest/meta-data/", headers=headers) as answer:
                assert answer.status == 401, wrong
        for bad in ("", "0", "21601", "-1", "soon"):
            async with session.put(f"{url}/latest/api/token", headers={TTL: bad}) as answer:
                assert answer.status == 400, bad
        headers = {TTL: "60", "X-Forwarded-For": "10.0.0.9"}
        async with session.put(f"{url}/latest/api/token", headers=headers) as answer:
            assert answer.status == 403


async def test_an_instance_learns_about_itself() -> None:
    """Names end in a slash where there is more below; leaves are texts."""
    async with served(Clock()) as (url, _), aiohttp.ClientSession() as session:
        headers = {TOKEN: await token(session, url)}

        async def read(path: str) -> str:
            async with session.get(f"{url}/latest/{path}", headers=headers) as answer:
                return await answer.text() if answer.status == 200 else str(answer.status)

        assert "instance-id" in (await read("meta-data/")).splitlines()
        assert "placement/" in (await read("meta-data")).splitlines()
        assert await read("meta-data/instance-id") == "i-1"
        assert await read("meta-data/instance-type") == "local.standard"
        assert await read("meta-data/local-ipv4") == "10.0.0.1"
        assert await read("meta-data/placement/availability-zone") == "local-a"
        assert await read("meta-data/placement/region") == "local"
        assert await read("meta-data/tags/instance/cluster") == "trial"
        assert await read("user-data") == "#!/bin/sh\n"
        assert await read("meta-data/nothing") == "404"
        assert '"instanceId": "i-1"' in await read("dynamic/instance-identity/document")


async def test_a_session_ends_with_its_time() -> None:
    """After its TTL the token is worth nothing."""
    clock = Clock()
    async with served(clock) as (url, _), aiohttp.ClientSession() as session:
        headers = {TOKEN: await token(session, url, 60)}
        for seconds, status in ((59, 200), (2, 401)):
            clock.at += timedelta(seconds=seconds)
            async with session.get(f"{url}/latest/meta-data/instance-id", headers=headers) as answer:
                assert answer.status == status


async def test_a_stopped_instance_is_told_nothing() -> None:
    """Facts are asked for at each request."""
    async with (
        served(Clock(), None) as (url, _),
        aiohttp.ClientSession() as session,
        session.put(f"{url}/latest/api/token", headers={TTL: "60"}) as answer,
    ):
        assert answer.status == 404


async def test_role_credentials_expire() -> None:
    """The token that comes with them says whose it is until its time is over, and cannot be made by others."""
    clock = Clock()
    issuer = Issuer(b"k" * 32, seconds=3600, clock=clock)
    made = issuer.issue("pynetes-node", "i-1")
    assert made.access_key.startswith("ASIA") and len(made.access_key) == 20
    assert issuer.role_of(made.token) == "pynetes-node/i-1"
    assert Issuer(b"x" * 32, seconds=3600, clock=clock).role_of(made.token) == ""
    assert issuer.role_of(made.token[:-1]) == "" and issuer.role_of("é.x") == ""
    clock.at += timedelta(seconds=3601)
    assert issuer.role_of(made.token) == ""


async def test_the_sdk_finds_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's own provider for instances gets what was issued, expiry included."""
    # The tests of the AWS provider set it for the whole session.
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED", raising=False)
    credentials = pytest.importorskip("botocore.credentials")
    utils = pytest.importorskip("botocore.utils")
    clock = Clock()
    async with served(clock) as (url, issuer):
        config = {"ec2_metadata_service_endpoint": f"{url}/", "ec2_metadata_v1_disabled": True}
        fetcher = utils.InstanceMetadataFetcher(timeout=30, num_attempts=1, config=config)
        found = await asyncio.to_thread(credentials.InstanceMetadataProvider(fetcher).load)
        assert found is not None and found.method == "iam-role"
        assert issuer.role_of(found.token) == "pynetes-node/i-1"
        assert abs((found._expiry_time - clock.now()).total_seconds() - 3600) < 2
