"""What goes through the guard in front of metrics on loopback, and what does not."""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from pynetes.apis.rbac import clusterrolebindings, clusterroles
from pynetes.component import serving, tls
from pynetes.component.clock import SystemClock
from pynetes.metrics_guard import app
from pynetes.testing.cluster import Cluster
from tests.client.test_guard import token_of


class Shown:
    """A component that serves metrics, and more that is nobody's business; remembers who asked for what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers.get("Authorization", "")))
        return web.Response(text=f"# {request.path}\n", headers={"Content-Type": "text/plain; version=0.0.4"})

    def application(self) -> web.Application:
        made = web.Application()
        made.router.add_get("/{rest:.*}", self.answer)
        return made


@pytest.fixture
async def reader(cluster: Cluster) -> str:
    """The token of somebody who may read metrics."""
    token = await token_of(cluster, "reader")
    rule = {"nonResourceURLs": ["/metrics", "/metrics/*"], "verbs": ["get"]}
    await cluster.client.create(clusterroles.RESOURCE, {"metadata": {"name": "reader"}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "reader"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"}
    binding = {"metadata": {"name": "reader"}, "roleRef": role, "subjects": [subject]}
    await cluster.client.create(clusterrolebindings.RESOURCE, binding)
    return token


@pytest.fixture
async def anybody(cluster: Cluster) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that trusts every server."""
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
        yield session


async def _status(session: aiohttp.ClientSession, url: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with session.get(url, headers=headers) as answer:
        await answer.read()
        return answer.status


async def test_only_who_may_reads_metrics_and_nothing_else_goes_through(
    cluster: Cluster, reader: str, anybody: aiohttp.ClientSession
) -> None:
    """By token; strangers, other paths and ways out of /metrics end here."""
    shown, config = Shown(), app.Config(secure_listen_address="127.0.0.1")
    stranger = await token_of(cluster, "stranger")
    async with serving.serve(shown.application()) as upstream:
        behind = app.application(f"http://127.0.0.1:{upstream}", cluster.client, SystemClock(), timeout=5)
        async with app.guarded(behind, config, 0) as port:
            url = f"https://127.0.0.1:{port}"
            assert await _status(anybody, f"{url}/metrics") == 403
            assert await _status(anybody, f"{url}/metrics", "nonsense") == 401
            assert await _status(anybody, f"{url}/metrics", stranger) == 403
            assert await _status(anybody, f"{url}/healthz") == 200
            assert shown.asked == []
            assert await _status(anybody, f"{url}/metrics", reader) == 200
            assert await _status(anybody, f"{url}/metrics/resources", reader) == 200
            for path in ("/metrics/%2e%2e/debug", "/metrics/..%2Fdebug", "/metrics/a/../../debug", "/metrics/x%2Fy"):
                assert await _status(anybody, url + path, reader) in (403, 404)
            with pytest.raises(aiohttp.ClientError):
                await _status(anybody, f"http://127.0.0.1:{port}/metrics", reader)
    # What is behind plain HTTP never sees the token.
    assert shown.asked == [("/metrics", ""), ("/metrics/resources", "")]


async def test_a_component_that_asks_itself_is_shown_the_token(
    cluster: Cluster, reader: str, anybody: aiohttp.ClientSession
) -> None:
    """Over TLS it goes along."""
    shown, config = Shown(), app.Config(secure_listen_address="127.0.0.1")
    async with serving.serve(shown.application(), context=tls.self_signed_context()) as upstream:
        behind = app.application(f"https://127.0.0.1:{upstream}", cluster.client, SystemClock(), timeout=5)
        async with app.guarded(behind, config, 0) as port:
            assert await _status(anybody, f"https://127.0.0.1:{port}/metrics", reader) == 200
    assert shown.asked == [("/metrics", f"Bearer {reader}")]


async def test_what_does_not_answer_is_said(cluster: Cluster, reader: str, anybody: aiohttp.ClientSession) -> None:
    """502, not a hanging scrape."""
    async with serving.serve(web.Application()) as gone:
        pass
    behind = app.application(f"http://127.0.0.1:{gone}", cluster.client, SystemClock(), timeout=5)
    async with app.guarded(behind, app.Config(secure_listen_address="127.0.0.1"), 0) as port:
        assert await _status(anybody, f"https://127.0.0.1:{port}/metrics", reader) == 502


@pytest.mark.parametrize("wrong", [(), ("2381",), ("x=http://a",), ("1=ftp://a",), ("1=http://a/path",)])
def test_what_cannot_be_guarded_is_refused(wrong: tuple[str, ...]) -> None:
    """The message names the flag and shows how it is written."""
    with pytest.raises(app.BadConfig, match=r"--upstreams.*2381=http"):
        app.upstreams(app.Config(upstreams=wrong))
