"""The WebSocket on which everything live arrives."""

import asyncio
from typing import Any

import aiohttp
import orjson

from pynetes.apis.core import configmaps
from tests.dashboard.conftest import Browser, Dashboard


async def messages(page: "aiohttp.ClientWebSocketResponse[bool]", *, until: str) -> list[Any]:
    """All up to the first that has a text in it."""
    found = []
    async with asyncio.timeout(15):
        while True:
            text = await page.receive_str()
            found.append(orjson.loads(text))
            if until in text:
                return found


async def test_watches_share_one_connection(dashboard: Dashboard, browser: Browser) -> None:
    """Each message carries the number that the page gave its stream."""
    await browser.login(dashboard.cluster.kubeconfig.read_text())
    async with browser.http.ws_connect(f"{browser.url}/live", headers={"Origin": browser.url}) as page:
        for number, kind in ((1, "configmaps"), (2, "secrets")):
            await page.send_json({"open": number, "target": f"/api/v1/namespaces/default/{kind}?watch=1"})
        await messages(page, until="kube-root-ca.crt")
        await dashboard.cluster.client.create(
            configmaps.RESOURCE, {"metadata": {"name": "news"}, "data": {"a": "b"}}, namespace="default"
        )
        last = (await messages(page, until='\\"news\\"'))[-1]
        assert last["id"] == 1
        await page.send_json({"close": 1})
        await page.send_json({"open": 3, "target": "/version"})
        assert (await messages(page, until='"end"'))[-1] == {"id": 3, "end": ""}


async def test_a_refusal_is_the_streams_own(dashboard: Dashboard, browser: Browser) -> None:
    """The API server's Status, and the other streams go on."""
    await browser.login(await dashboard.token("shop", "clerk", "view"))
    async with browser.http.ws_connect(f"{browser.url}/live") as page:
        await page.send_json({"open": 1, "target": "/api/v1/pods?watch=1"})
        refused = (await messages(page, until="error"))[-1]
        assert (refused["id"], refused["status"], refused["error"]["reason"]) == (1, 403, "Forbidden")
        await page.send_json({"open": 2, "target": "/api/v1/namespaces/shop/pods/web/proxy/evil"})
        assert (await messages(page, until="error"))[-1]["status"] == 403
        await page.send_json({"open": 3, "target": "/version"})
        assert (await messages(page, until='"end"'))[-1]["id"] == 3


async def test_a_page_that_speaks_nonsense_is_closed(dashboard: Dashboard, browser: Browser) -> None:
    """And nobody else's is."""
    await browser.login(dashboard.cluster.kubeconfig.read_text())
    for text in ("nonsense", "{}", '{"open": "x", "target": 1}', "[]"):
        async with browser.http.ws_connect(f"{browser.url}/live") as page, asyncio.timeout(10):
            await page.send_str(text)
            assert (await page.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
