"""Kubelets that hang, answer garbage or have a wrong certificate: the others are measured in the same cycle."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from pynetes.component import serving, tls
from pynetes.metrics_server.points import Points, Scraped
from pynetes.metrics_server.scrape import Kubelet, Scraper
from pynetes.pki import issue
from pynetes.pki.layout import CLUSTER_CA, Leaf, names

GOOD = (
    "node_cpu_usage_seconds_total 50 1000000\nnode_memory_working_set_bytes 7 1000000\n"
    'container_cpu_usage_seconds_total{container="c",namespace="n",pod="p"} 1 1000000\n'
    'container_memory_working_set_bytes{container="c",namespace="n",pod="p"} 2 1000000\n'
)
Handler = Callable[[web.Request], Awaitable[web.Response]]


class Kubelets:
    """Scripted ones, each on a port of its own."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self._stack = stack
        authority = issue.authority(CLUSTER_CA.common_name, datetime.now(UTC))
        leaf = Leaf("kubelet", CLUSTER_CA, "kubelet", server=True, names=names("127.0.0.1"))
        issued = issue.leaf(leaf, authority, datetime.now(UTC))
        certificate, key = folder / "k.crt", folder / "k.key"
        certificate.write_bytes(issued.certificate_pem)
        key.write_bytes(issued.key_pem)
        self._server = tls.server_context(certificate, key)
        self.client = ssl.create_default_context(cadata=authority.certificate_pem.decode())

    async def add(self, name: str, handler: Handler, *, context: ssl.SSLContext | None = None) -> Kubelet:
        app = web.Application()
        app.router.add_get("/metrics/resource", handler)
        serving_it = serving.serve(app, host="127.0.0.1", context=context or self._server)
        return Kubelet(name, "127.0.0.1", await self._stack.enter_async_context(serving_it))


@pytest.fixture
async def kubelets(tmp_path: Path) -> AsyncIterator[Kubelets]:
    """None yet."""
    async with AsyncExitStack() as stack:
        yield Kubelets(tmp_path, stack)


async def good(_request: web.Request) -> web.Response:
    """As a kubelet answers."""
    return web.Response(text=GOOD)


async def test_the_others_are_measured(kubelets: Kubelets) -> None:
    """Whatever one kubelet does, those before and after it have their points; the bad ones have none."""

    async def hangs(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def garbage(_request: web.Request) -> web.Response:
        return web.Response(body=b"\x00\xff{{{ not metrics 1e999x\n" * 100)

    async def fails(_request: web.Request) -> web.Response:
        return web.Response(status=500, text=GOOD)

    async def redirects(_request: web.Request) -> web.Response:
        raise web.HTTPFound("https://127.0.0.1:1/")

    wanted = [
        await kubelets.add("first", good),
        await kubelets.add("hangs", hangs),
        await kubelets.add("garbage", garbage),
        await kubelets.add("fails", fails),
        await kubelets.add("redirects", redirects),
        await kubelets.add("stranger", good, context=tls.self_signed_context(("127.0.0.1",))),
        Kubelet("gone", "127.0.0.1", 1),
        await kubelets.add("last", good),
    ]
    async with Scraper(lambda: kubelets.client, lambda: "token", timeout=1.0) as scraper:
        cycle = await scraper.cycle(wanted, lambda _node, _said: None)
    measured = {name for name, one in cycle.items() if one.node is not None}
    assert measured == {"first", "last"}
    assert not cycle.get("garbage") or not cycle["garbage"].containers


async def test_the_others_are_known_while_one_hangs(kubelets: Kubelets) -> None:
    """What they said is served at once: the one that hangs answers only after the others are known."""
    points, known = Points(), asyncio.Event()

    async def hangs(_request: web.Request) -> web.Response:
        await known.wait()
        return web.Response(text=GOOD)

    def arrived(node: str, said: Scraped) -> None:
        points.add(node, said)
        if {"first", "last"} <= points.nodes.keys():
            known.set()

    wanted = [await kubelets.add(name, hangs if name == "hangs" else good) for name in ("first", "hangs", "last")]
    async with Scraper(lambda: kubelets.client, lambda: "token", timeout=60.0) as scraper:
        points.keep(await scraper.cycle(wanted, arrived))
    assert set(points.nodes) == {"first", "hangs", "last"}
    assert ("n", "p") in points.pods


async def test_a_hostile_answer_makes_no_hostile_log_line(kubelets: Kubelets, caplog: pytest.LogCaptureFixture) -> None:
    """What a kubelet says may stand in the reason; escapes for terminals and new lines are written out."""

    async def hostile(_request: web.Request) -> web.Response:
        return web.Response(text="node_cpu_usage_seconds_total \x1b[2J\x1b]0;owned\x07\n")

    wanted = [await kubelets.add("bad\x1b[31m", hostile)]
    async with Scraper(lambda: kubelets.client, lambda: "token", timeout=60.0) as scraper:
        assert await scraper.cycle(wanted, lambda _node, _said: None) == {}
    [line] = [record.getMessage() for record in caplog.records if "cannot read" in record.getMessage()]
    assert line.isprintable() and "\\x1b[2J" in line and "bad\\x1b[31m" in line
