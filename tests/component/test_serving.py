"""Health, metrics and the paths socket, over real sockets."""

from pathlib import Path

import aiohttp

from pynetes.component import serving, tls, tracing
from pynetes.component.health import Checks
from pynetes.component.metrics import Registry


async def test_health_and_metrics_over_tls() -> None:
    """A failing check turns readyz to 500 and is named; healthz stays ok."""
    checks = Checks()
    checks.ready("caches", lambda: "not listed yet")
    app = serving.application(checks, Registry())
    async with (
        serving.serve(app, context=tls.self_signed_context()) as port,
        aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):
        healthy = await session.get("/healthz")
        assert (healthy.status, await healthy.text()) == (200, "ok")
        ready = await session.get("/readyz")
        assert ready.status == 500
        assert "[-]caches failed: reason withheld" in await ready.text()
        assert (await session.get("/readyz?exclude=caches")).status == 200
        assert (await session.get("/readyz/caches")).status == 500
        assert (await session.get("/livez/none")).status == 404
        assert (await session.get("/metrics")).headers["Content-Type"].startswith("text/plain; version=0.0.4")


async def test_the_paths_socket(tmp_path: Path) -> None:
    """The snapshot has what was recorded, the stream what is recorded from now on; the file goes with the server."""
    recorder, socket = tracing.Recorder(), tmp_path / "paths" / "dns.sock"
    recorder.record(tracing.Interaction(path=24, at=1.0, source="dns", target="kube-apiserver", action="list"))
    async with serving.serve_paths(str(socket), "dns", recorder):
        assert socket.stat().st_mode & 0o777 == 0o600
        async with aiohttp.ClientSession("http://paths", connector=aiohttp.UnixConnector(str(socket))) as session:
            snapshot = await (await session.get("/snapshot")).json()
            assert (snapshot["component"], snapshot["counters"]["24"]["requests"]) == ("dns", 1)
            stream = await session.get("/stream")
            recorder.record(tracing.Interaction(path=24, at=2.0, source="kube-apiserver", target="dns", action="watch"))
            assert b'"action":"watch"' in await stream.content.readline()
            stream.close()
    assert not socket.exists()
