"""The HTTP server beside every component: health, metrics, and the paths socket.

The API server has its own HTTP protocol; whatever else serves HTTP does it with aiohttp, from here.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from pynetes.component import metrics, processmetrics, spans, tracing  # noqa: F401 (the second declares its metrics)
from pynetes.component.health import SLIS, Checks

#: Interactions a slow reader of the stream may lag behind before the oldest are left out.
STREAM_BUFFER = 4000
#: Seconds between two ticks, and the interactions of a path that each tells at most.
TICK, TOLD = 1.0, 12
#: Seconds for which interactions are gathered before they are sent.
MOMENT = 0.05


def application(
    checks: Checks, registry: metrics.Registry = metrics.REGISTRY, *, more: Sequence[metrics.Registry] = ()
) -> web.Application:
    """/healthz, /livez, /readyz (each with ?verbose, ?exclude= and /NAME) and /metrics; add routes as you like."""
    app = web.Application()

    def health(endpoint: str) -> None:
        async def answer(request: web.Request) -> web.Response:
            result = checks.answer(
                endpoint,
                verbose="verbose" in request.query,
                exclude=request.query.getall("exclude", []),
                only=request.match_info.get("name", ""),
            )
            return web.Response(status=result.status, text=result.text)

        app.router.add_get(f"/{endpoint}", answer)
        app.router.add_get(f"/{endpoint}/{{name}}", answer)

    async def expose(_request: web.Request) -> web.Response:
        return web.Response(body=registry.text(*more).encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def slis(_request: web.Request) -> web.Response:
        return web.Response(body=SLIS.text().encode(), headers={"Content-Type": metrics.CONTENT_TYPE})

    for endpoint in ("healthz", "livez", "readyz"):
        health(endpoint)
    app.router.add_get("/metrics", expose)
    app.router.add_get("/metrics/slis", slis)
    return app


def alias(app: web.Application, path: str, checks: Checks, endpoint: str) -> None:
    """Answer a path of another component's tradition (/health, /ready) as one of the endpoints above."""

    async def answer(_request: web.Request) -> web.Response:
        result = checks.answer(endpoint)
        return web.Response(status=503 if result.status == 500 else result.status, text=result.text)

    app.router.add_get(path, answer)


@asynccontextmanager
async def serve(
    app: web.Application, *, host: str = "127.0.0.1", port: int = 0, context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve app while the block runs; gives the port in use. OSError when it is taken."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context, reuse_address=True).start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_paths(
    socket: str, component: str, recorder: tracing.Recorder = tracing.RECORDER
) -> AsyncIterator[None]:
    """Show the recorder on a Unix socket while the block runs; socket "" shows it nowhere.

    GET /snapshot is one JSON document, with ?ring=0 without the interactions; GET /stream is one interaction per line
    as they happen; GET /ticks is one line a second with what has changed
    (with ?since= the time of the newest interaction that the reader knows)."""
    if not socket:
        yield
        return
    path = Path(socket)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    runner = web.AppRunner(_paths_application(component, recorder), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(path)).start()
        path.chmod(0o600)
        yield
    finally:
        await runner.cleanup()
        path.unlink(missing_ok=True)


def _paths_application(component: str, recorder: tracing.Recorder) -> web.Application:
    async def snapshot(request: web.Request) -> web.Response:
        whole = request.query.get("ring") != "0"
        document = {
            "component": component,
            "buckets": [bound for bound in tracing.BUCKETS if bound != float("inf")],
            "counters": {str(path): asdict(counters) for path, counters in recorder.counters.items()},
            "ring": [interaction._asdict() for interaction in recorder.ring] if whole else [],
        }
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    async def contexts(request: web.Request) -> web.Response:
        """?revisions=1,2: which of these revisions belong to which span (component/spans.py)."""
        asked = [int(each) for each in request.query.get("revisions", "").split(",") if each.isdecimal()]
        found = {str(revision): context for revision, context in spans.TRACER.contexts(asked).items()}
        return web.json_response(found)

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        queue: asyncio.Queue[tracing.Interaction] = asyncio.Queue(STREAM_BUFFER)
        with recorder.listening(lambda interaction: _offer(queue, interaction)):
            while True:
                waiting = [await queue.get()]
                # One write for all that comes in a moment: under load a write each would cost more than the rest.
                await asyncio.sleep(MOMENT)
                while not queue.empty():
                    waiting.append(queue.get_nowait())
                lines = b"".join(
                    orjson.dumps({"component": component, **each._asdict()}, option=orjson.OPT_APPEND_NEWLINE)
                    for each in waiting
                )
                try:
                    await response.write(lines)
                except ConnectionError:
                    return response

    async def ticks(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        last = Tick({}, float(request.query.get("since") or tracing.now()))
        while True:
            await asyncio.sleep(TICK)
            last, document = tick(recorder, last)
            try:
                await response.write(
                    orjson.dumps({"component": component, **document}, option=orjson.OPT_APPEND_NEWLINE)
                )
            except ConnectionError:
                return response

    app = web.Application()
    app.router.add_get("/snapshot", snapshot)
    app.router.add_get("/ticks", ticks)
    app.router.add_get("/contexts", contexts)
    app.router.add_get("/stream", stream)
    return app


class Tick(NamedTuple):
    """What was told last: requests by path, and up to when."""

    requests: dict[int, int]
    at: float


def tick(recorder: tracing.Recorder, before: Tick) -> tuple[Tick, dict[str, Any]]:
    """The counters that have changed, and the newest interactions of each path since then.

    Nothing is done per interaction, so that being looked at costs a busy component no more than an idle one."""
    requests = {path: counters.requests for path, counters in recorder.counters.items()}
    changed = {path for path, count in requests.items() if before.requests.get(path) != count}
    newest: dict[int, list[dict[str, Any]]] = {path: [] for path in changed}
    # Not more than there can be: looking for one more of a quiet path would lead through everything of a busy one.
    lacking = sum(min(TOLD, requests[path] - before.requests.get(path, 0)) for path in changed)
    at = before.at
    for interaction in reversed(recorder.ring):
        if interaction.at <= before.at or not lacking:
            break
        at = max(at, interaction.at)
        told = newest.get(interaction.path)
        if told is not None and len(told) < TOLD:
            told.append(interaction._asdict())
            lacking -= 1
    # As they are: whoever writes them out knows dataclasses, and copies of certificates are not for nothing.
    counters = {str(path): recorder.counters[path] for path in changed}
    ring = [item for told in newest.values() for item in told]
    return Tick(requests, at), {"counters": counters, "ring": sorted(ring, key=lambda item: float(item["at"]))}


def _offer(queue: "asyncio.Queue[tracing.Interaction]", interaction: tracing.Interaction) -> None:
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(interaction)
