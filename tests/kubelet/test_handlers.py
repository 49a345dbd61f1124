"""What probes and hooks ask of containers, asked of real servers on this machine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from aiohttp import web

from pynetes.kubelet import handlers
from pynetes.kubelet.cri.runtime import Runtime
from pynetes.kubelet.handlers import Outcome, Target
from pynetes.rpc.health import health_pb2 as health
from pynetes.rpc.health import health_pb2_grpc as stubs

CONTAINER = {"name": "c", "ports": [{"name": "main", "containerPort": 0}]}


@asynccontextmanager
async def website() -> AsyncIterator[tuple[int, list[dict[str, str]]]]:
    """A server's port, and the headers of its requests."""
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append({name.lower(): value for name, value in request.headers.items()})
        places = {"/local": "/bad", "/away": "http://elsewhere.invalid/", "/round": "/round"}
        if request.path in places:
            return web.Response(status=302, headers={"Location": places[request.path]})
        return web.Response(status=500 if request.path == "/bad" else 200, text="body")

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1], seen
    finally:
        await runner.cleanup()


@asynccontextmanager
async def ask(folder: Path) -> AsyncIterator[Any]:
    """Performs an action against this machine, whose port has the name main."""
    runtime = Runtime(f"unix://{folder}/nobody.sock")

    async def perform(action: dict[str, Any], port: int, **options: Any) -> Outcome:
        target = Target("id", {**CONTAINER, "ports": [{"name": "main", "containerPort": port}]}, "127.0.0.1")
        return await handlers.perform(action, target, runtime, timeout=30, **options)

    yield perform
    await runtime.close()


@pytest.mark.parametrize(
    ("path", "probe", "hook"),
    [
        ("/", True, True),
        ("no-slash", True, True),
        ("/bad", False, True),
        ("/local", False, True),
        ("/away", True, True),
        ("/round", False, False),
    ],
)
async def test_http(tmp_path: Path, path: str, probe: bool, hook: bool) -> None:
    """A probe wants 200 to 399 and follows inside its host; a hook is content with any answer."""
    action = {"httpGet": {"path": path, "port": "main", "httpHeaders": [{"name": "X-One", "value": "1"}]}}
    async with website() as (port, seen), ask(tmp_path) as perform:
        assert (await perform(action, port)).success is probe
        assert (seen[0]["user-agent"].split("/")[0], seen[0]["x-one"]) == ("kube-probe", "1")
        seen.clear()
        assert (await perform(action, port, hook=True)).success is hook
        assert seen[0]["user-agent"].startswith("kube-lifecycle/")


async def test_nobody_there(tmp_path: Path) -> None:
    """A port that is closed, or that the container does not name, fails with words that say so."""
    async with website() as (port, _), ask(tmp_path) as perform:
        pass
    for kind in ("httpGet", "tcpSocket"):
        outcome = await perform({kind: {"port": port}}, port)
        assert (outcome.success, "connection refused" in outcome.output) == (False, True)
        outcome = await perform({kind: {"port": "other"}}, port)
        assert outcome == Outcome(False, "couldn't find port: 'other' in container c")


async def test_tcp(tmp_path: Path) -> None:
    """An open port is enough."""
    async with website() as (port, seen), ask(tmp_path) as perform:
        assert await perform({"tcpSocket": {"port": port}}, port) == Outcome(True)
        assert not seen


class Health(stubs.HealthServicer):
    """Serves, but for its service `sick`; knows no `strange` one."""

    async def Check(self, request: Any, context: Any) -> health.HealthCheckResponse:  # noqa: N802 - the protocol's name
        if request.service == "strange":
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        status = health.HealthCheckResponse.NOT_SERVING if request.service == "sick" else 1
        return health.HealthCheckResponse(status=status)


@pytest.mark.parametrize(
    ("service", "success", "words"),
    [(None, True, ""), ("well", True, ""), ("sick", False, "NOT_SERVING"), ("strange", False, "NOT_FOUND")],
)
async def test_grpc(tmp_path: Path, service: str | None, success: bool, words: str) -> None:
    """The health service's word counts, for the service that is named; a port with nobody at it fails."""
    server = grpc.aio.server()
    stubs.add_HealthServicer_to_server(Health(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    action = {"grpc": {"port": port, **({"service": service} if service else {})}}
    async with ask(tmp_path) as perform:
        try:
            outcome = await perform(action, port)
            assert outcome.success is success
            assert words in outcome.output
        finally:
            await server.stop(None)
        assert "failed to connect service" in (await perform(action, port)).output


async def test_sleep_and_nothing(tmp_path: Path) -> None:
    """Sleep is a success after its time; no handler at all is an error of the pod's."""
    async with ask(tmp_path) as perform:
        assert await perform({"sleep": {"seconds": 0}}, 0) == Outcome(True)
        assert not (await perform({}, 0)).success
