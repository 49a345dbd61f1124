"""Passes one request on to the API server as the viewer, and the answer back as it comes."""

import asyncio
from collections.abc import Iterator

import aiohttp
from aiohttp import WSMsgType, web

from pynetes.component import tasks
from pynetes.component.metrics import REGISTRY
from pynetes.dashboard import security
from pynetes.dashboard.sessions import Session
from pynetes.dashboard.upstream import Upstream
from pynetes.machinery.errors import failure

CHUNK = 64 << 10
#: What of a browser's request means something to the API server. Everything else (cookies first of all) stays here.
TAKEN = ("Accept", "Content-Type", "Impersonate-User", "Impersonate-Group", "Accept-Encoding")
GIVEN = ("Content-Type", "Content-Encoding", "Warning", "Retry-After")
#: Types that a browser shows as text, or not at all, whatever stands in them.
HARMLESS = ("application/json", "application/yaml", "text/plain", "application/cbor")
STREAMS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
#: The API server and the WebSocket both know them.
_CLOSE = {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}
_REQUESTS = REGISTRY.counter(
    "pynetes_dashboard_requests_total", "Requests that were passed on to the API server.", "method", "code"
)


async def request(session: Session, request: web.Request) -> web.StreamResponse:
    """One request and its answer, streamed."""
    target = security.checked_target(request.rel_url.raw_path_qs)
    if request.method not in security.SAFE and not session.guarded_by(request.headers.get(security.GUARD, "")):
        raise failure(403, "Forbidden", "this write does not come from the dashboard's own page; load it again")
    given = {name: request.headers[name] for name in TAKEN if name in request.headers}
    body = await request.read() if request.can_read_body else None
    async with session.upstream.stream(request.method, target, headers=given, body=body) as answer:
        _REQUESTS.inc(request.method, str(answer.status))
        response = web.StreamResponse(status=answer.status)
        for name in GIVEN:
            for value in answer.headers.getall(name, []):
                response.headers.add(name, value)
        if not answer.headers.get("Content-Type", "").startswith(HARMLESS):
            response.headers["Content-Type"] = "application/octet-stream"
        security.add_headers(response)
        await response.prepare(request)
        async for chunk in answer.content.iter_chunked(CHUNK):
            await response.write(chunk)
        await response.write_eof()
        return response


async def terminal(session: Session, request: web.Request) -> web.StreamResponse:
    """exec and attach: the browser's WebSocket and the API server's, message by message, with the same subprotocol."""
    security.refuse_foreign(request)
    target = security.checked_target(request.rel_url.raw_path_qs)
    if target.partition("?")[0].rpartition("/")[2] not in ("exec", "attach"):
        raise failure(400, "BadRequest", "only exec and attach are passed on as WebSockets")
    wanted = [name for name in _protocols(request) if name in STREAMS]
    if not wanted:
        raise failure(400, "BadRequest", f"the WebSocket must ask for one of {', '.join(STREAMS)}")
    async with session.upstream.websocket(target, wanted) as server:
        browser = web.WebSocketResponse(protocols=(server.protocol or wanted[0],), max_msg_size=1 << 20, heartbeat=20)
        await browser.prepare(request)
        session.pages.add(browser.close)
        try:
            await tasks.first(_to_server(browser, server), _to_browser(server, browser))
        finally:
            session.pages.discard(browser.close)
            await browser.close()
    return browser


def _protocols(request: web.Request) -> Iterator[str]:
    for header in request.headers.getall("Sec-WebSocket-Protocol", []):
        yield from (name.strip() for name in header.split(","))


async def _to_server(browser: web.WebSocketResponse, server: "aiohttp.ClientWebSocketResponse[bool]") -> None:
    async for message in browser:
        if message.type is WSMsgType.BINARY:
            await server.send_bytes(message.data)
        elif message.type is WSMsgType.TEXT:
            await server.send_str(message.data)


async def _to_browser(server: "aiohttp.ClientWebSocketResponse[bool]", browser: web.WebSocketResponse) -> None:
    async for message in server:
        if message.type in _CLOSE:
            return
        # What the browser does not take any more is no error of ours.
        try:
            await browser.send_bytes(message.data if isinstance(message.data, bytes) else message.data.encode())
        except (ConnectionError, asyncio.CancelledError):
            return


async def who(upstream: Upstream) -> dict[str, object]:
    """UserInfo of the upstream's user. Raises StatusError, 401 if the API server does not know them."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = await upstream.json("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return dict(answer["status"]["userInfo"])
