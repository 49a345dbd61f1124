"""Logging in, what a session may do, and what another site's page may not."""

import asyncio

import pytest

from pynetes.dashboard.credentials import Identification
from pynetes.dashboard.sessions import Sessions
from pynetes.dashboard.upstream import Server, Upstream
from pynetes.testing.clock import VirtualClock
from tests.dashboard.conftest import Browser, Dashboard

PODS = "/api/v1/pods"


async def test_a_kubeconfig_with_a_certificate_logs_in(dashboard: Dashboard, browser: Browser) -> None:
    """The viewer is who the certificate says, and the API server sees them."""
    answer = await browser.login(dashboard.cluster.kubeconfig.read_text())
    assert answer.status == 200
    assert browser.user["username"] == "kubernetes-admin"
    cookie = answer.headers["Set-Cookie"]
    assert all(word in cookie for word in ("__Host-pynetes=", "HttpOnly", "Secure", "SameSite=Strict", "Path=/"))
    assert (await browser.ask("GET", PODS)).status == 200


async def test_a_viewer_sees_what_rbac_allows_and_no_more(dashboard: Dashboard, browser: Browser) -> None:
    """A token of one namespace: its pods, nobody else's; the refusal is the API server's own."""
    token = await dashboard.token("shop", "clerk", "view")
    assert (await browser.login(token)).status == 200
    assert browser.user["username"] == "system:serviceaccount:shop:clerk"
    assert (await browser.ask("GET", "/api/v1/namespaces/shop/pods")).status == 200
    refused = await browser.ask("GET", PODS)
    assert (refused.status, refused.json()["reason"]) == (403, "Forbidden")
    assert (await browser.ask("DELETE", "/api/v1/namespaces/shop/pods/web")).status == 403


async def test_a_wrong_token_is_told_in_words(browser: Browser) -> None:
    """No session comes of it."""
    answer = await browser.login("eyJhbGciOiJub25lIn0.e30.nothing")
    assert (answer.status, answer.json()["reason"]) == (401, "Unauthorized")
    assert "does not know" in str(answer.json()["message"])
    assert (await browser.ask("GET", "/session")).json() == {"user": None}


async def test_nobody_is_let_in_without_a_session(browser: Browser) -> None:
    """Not even to what anonymous users may read: the dashboard has no rights to lend."""
    for path in (PODS, "/version", "/live", "/pynetes/paths/4"):
        assert (await browser.ask("GET", path)).status == 401


async def test_another_site_cannot_use_the_session(dashboard: Dashboard, browser: Browser) -> None:
    """By the browser's word on where a request comes from, and by the secret that only our page knows."""
    await browser.login(dashboard.cluster.kubeconfig.read_text())
    path = "/api/v1/namespaces/default/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "planted"}}
    assert (await browser.ask("POST", path, body, Origin="https://evil.example")).status == 403
    assert (await browser.ask("POST", path, body, Sec_Fetch_Site="cross-site")).status == 403
    assert (await browser.ask("GET", PODS, Sec_Fetch_Site="same-site")).status == 403
    assert (await browser.ask("POST", path, body, guard=False)).status == 403
    assert (await browser.ask("POST", path, body, X_Pynetes_Guard="guessed")).status == 403
    assert (await browser.ask("DELETE", "/session", guard=False)).status == 403
    assert (await browser.ask("POST", path, body)).status == 201


async def test_a_websocket_of_another_site_is_refused(dashboard: Dashboard, browser: Browser) -> None:
    """WebSockets know no CORS; the origin is all there is."""
    await browser.login(dashboard.cluster.kubeconfig.read_text())
    answer = await browser.ask("GET", "/live", Origin="https://evil.example", Upgrade="websocket")
    assert answer.status == 403


async def test_logging_out_ends_it(dashboard: Dashboard, browser: Browser) -> None:
    """Open pages too."""
    await browser.login(dashboard.cluster.kubeconfig.read_text())
    async with browser.http.ws_connect(f"{browser.url}/live") as page:
        assert (await browser.ask("DELETE", "/session")).status == 200
        async with asyncio.timeout(10):
            assert (await page.receive()).type.name.startswith("CLOS")
    assert (await browser.ask("GET", PODS)).status == 401


async def test_every_answer_keeps_to_itself(dashboard: Dashboard, browser: Browser) -> None:
    """Pages run our own scripts only; what comes from the API runs nowhere."""
    await browser.login(dashboard.cluster.kubeconfig.read_text())
    page = await browser.ask("GET", "/")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    answer = await browser.ask("GET", PODS)
    assert answer.headers["Content-Security-Policy"].endswith("sandbox")
    for each in (page, answer, await browser.ask("GET", "/assets/js/main.js")):
        assert each.headers["X-Content-Type-Options"] == "nosniff"
        assert each.headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize("path", ["/assets/../app.py", "/assets/%2e%2e/app.py", "/assets/js", "/assets/nothing.js"])
async def test_only_assets_are_served(browser: Browser, path: str) -> None:
    """None of the program's own files."""
    assert (await browser.ask("GET", path)).status in (401, 404)


async def test_sessions_expire() -> None:
    """After half an hour unused, and after their longest life however busy; open pages keep one in use."""
    clock = VirtualClock()
    sessions = Sessions(clock, idle=1800, longest=43200)
    begun = await sessions.begin(Upstream(Server("https://127.0.0.1:1"), Identification(token="t-o-k-e-n")), {})
    assert begun is not None
    number, session = begun
    await clock.advance(1700)
    assert sessions.find(number) is session
    await clock.advance(1900)
    assert sessions.find(number) is None
    session.pages.add(sessions.close)
    assert sessions.find(number) is session
    await clock.advance(43200)
    assert sessions.find(number) is None
    session.pages.clear()
    await sessions.sweep()
    assert len(sessions) == 0
