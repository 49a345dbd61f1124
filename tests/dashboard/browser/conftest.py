"""A real Chromium, headless, in front of the dashboard."""

import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.dashboard.conftest import Dashboard

CHROMIUM = shutil.which("chromium") or ""
#: Without the last ones Chromium looks for its maker's servers at every start.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class Visitor:
    """A person at a page. `troubles` are errors of scripts and breaches of the content security policy."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self._said(said.type, said.text))
        # Patience costs nothing where all is well, and a machine may be busy.
        page.set_default_timeout(60_000)

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" and ("Content Security Policy" in text or "Error" in text.split(" ", 1)[0]):
            self.troubles.append(text)

    async def login(self, credential: str, path: str = "") -> None:
        """Paste it, and wait for the first page."""
        from playwright.async_api import Error

        for patience in (15_000, 15_000, 60_000):
            # A browser drops what it loads when a network interface comes or goes, and others here make pods.
            with contextlib.suppress(*((Error,) if patience < 60_000 else ())):
                await self.page.goto(f"{self.url}/{path}")
                await self.page.wait_for_selector("#credential", timeout=patience)
                break
        await self.page.fill("#credential", credential)
        await self.page.click("button[type=submit]")
        await self.page.wait_for_selector(".shell")

    async def go(self, path: str) -> None:
        """To a page of the dashboard, by its hash, and wait for its heading or its refusal."""
        # What stood there before must not be taken for the new page.
        leave = "hash => { if (location.hash !== hash) document.querySelector('main')?.replaceChildren(); "
        await self.page.evaluate(leave + "location.hash = hash }", path)
        await self.page.wait_for_selector("main h1, main .refused")

    async def sees(self, text: str, within: str = "main") -> None:
        """Wait until a text stands there."""
        await self.page.locator(within).get_by_text(text).first.wait_for()


@pytest.fixture
async def chromium() -> AsyncIterator[Any]:
    """The browser; the test is skipped where it or its driver is missing."""
    playwright = pytest.importorskip(
        "playwright.async_api", reason="playwright is not installed: pip install '.[browser]'"
    )
    if not CHROMIUM:
        pytest.skip("no chromium: apt-get install chromium")
    async with playwright.async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield started
        await started.close()


@pytest.fixture
async def visitor(chromium: Any, dashboard: Dashboard) -> AsyncIterator[Visitor]:
    """At a desk. Whatever a test does, no script may fail and no policy be broken."""
    context = await chromium.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 820})
    someone = Visitor(await context.new_page(), dashboard.url)
    yield someone
    assert someone.troubles == []


@pytest.fixture
async def admin(visitor: Visitor, dashboard: Dashboard) -> Visitor:
    """Logged in with the administrator's kubeconfig."""
    await visitor.login(dashboard.cluster.kubeconfig.read_text())
    return visitor
