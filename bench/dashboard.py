"""The dashboard: its first page with 5,000 pods in a real browser, and what a viewer of the map costs the API server.

The API server is a process of its own on a real etcd; browser, dashboard and this program share the machine with it.
"""

import asyncio
import contextlib
import shutil
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import uvloop

from bench.apiserver import TOKEN, Started, answering, gets, prepare, started
from bench.figures import Figure
from pynetes.component import tasks
from pynetes.dashboard import app

PODS = 5000
#: Loads of the page, and rounds with and without a viewer in turns.
LOADS, ROUNDS, SECONDS = 5, 30, 1.5
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


async def _served(folder: Path, endpoint: str) -> list[Figure]:
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = (
        "pynetes.cmd.main", "apiserver", "--bind-address=127.0.0.1", f"--secure-port={port}",
        f"--etcd-servers={endpoint}", f"--etcd-cafile={folder}/ca.crt",
        f"--etcd-certfile={folder}/client.crt", f"--etcd-keyfile={folder}/client.key",
        f"--tls-cert-file={folder}/server.crt", f"--tls-private-key-file={folder}/server.key",
        f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=Node,RBAC",
        f"--paths-socket={folder}/paths/apiserver.sock",
    )  # fmt: skip
    with started(*argv, url=f"https://127.0.0.1:{port}", token=TOKEN) as server:
        await answering(server.target)
        await prepare(server.target, PODS)
        async with _dashboard(server, folder) as url:
            first = await _first_page(url)
            cost = await _map_cost(server, url)
    return [
        Figure(name=f"first page with {PODS:,} pods, best of {LOADS}", value=min(first), unit="s", limit=1.0),
        Figure(name=f"first page with {PODS:,} pods, worst", value=max(first), unit="s"),
        Figure(name="a map's viewer, share of the API server's processor time", value=cost * 100, unit="%", limit=2),
    ]


@contextlib.asynccontextmanager
async def _dashboard(server: Started, folder: Path) -> AsyncIterator[str]:
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    config = app.Config(
        server=server.target.url,
        certificate_authority=f"{folder}/ca.crt",
        bind_address="127.0.0.1",
        secure_port=0,
        health_port=0,
        paths_dir=f"{folder}/paths",
    )
    async with tasks.Group() as group:
        group.start(app.run(config, listening=found.set_result))
        yield f"https://127.0.0.1:{await found}"


async def _first_page(url: str) -> list[float]:
    """Seconds from asking for the page, as a new visit with nothing cached, until pods stand in it."""
    from playwright.async_api import async_playwright

    found = []
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        for _ in range(LOADS):
            context = await browser.new_context(ignore_https_errors=True)
            page = await context.new_page()
            await page.goto(url)
            await page.fill("#credential", TOKEN)
            await page.click("button[type=submit]")
            await page.wait_for_selector(".shell")
            await page.goto("about:blank")
            await page.goto(f"{url}/#/list/core/pods", wait_until="commit")
            await page.wait_for_selector(".td a[href*='pods']")
            found.append(await page.evaluate("performance.now()") / 1000)
            await context.close()
        await browser.close()
    return found


async def _map_cost(server: Started, url: str) -> float:
    """How much more processor time a request takes while somebody looks; in turns, so that noise meets both alike."""
    costs: tuple[list[float], list[float]] = ([], [])
    for round_number in range(ROUNDS):
        looked = round_number % 2
        async with _viewer(url) if looked else contextlib.nullcontext():
            before = server.processor
            asked = len((await gets(server.target, SECONDS)).times)
            costs[looked].append((server.processor - before) / asked)
    return median(costs[1]) / median(costs[0]) - 1


@contextlib.asynccontextmanager
async def _viewer(url: str) -> AsyncIterator[None]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    jar = aiohttp.CookieJar(unsafe=True)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context), cookie_jar=jar) as http,
        tasks.Group() as group,
    ):
        async with http.post(f"{url}/session", json={"credential": TOKEN}) as answer:
            answer.raise_for_status()
        live = await http.ws_connect(f"{url}/live", max_msg_size=0)
        await live.send_json({"open": 1, "target": "/pynetes/paths"})
        await live.receive()
        group.start(_drain(live))
        yield
        await live.close()


async def _drain(live: Any) -> None:
    async for _ in live:
        pass


async def _measure(folder: Path) -> list[Figure]:
    from tests.contract.etcd_server import EtcdServer

    etcd = EtcdServer(folder)
    await etcd.start()
    try:
        return await _served(folder, etcd.endpoint)
    finally:
        await etcd.kill()


def measure() -> list[Figure]:
    """All figures; none without etcd and Chromium."""
    if shutil.which("etcd") is None or shutil.which("chromium") is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder)))


MEASURE = measure
