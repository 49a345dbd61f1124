"""/exec, /attach, /portForward: the runtime streams, the kubelet only joins two connections.

CRI answers with a URL of the runtime's own streaming server. The client's upgrade request (SPDY/3.1 or WebSocket) goes
there with its headers, the answer comes back, and from then on bytes pass unseen in both directions.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aiohttp import web

from pynetes.component.tasks import first
from pynetes.kubelet import podspec
from pynetes.kubelet.cri.runtime import RuntimeFailure
from pynetes.kubelet.cri.state import State
from pynetes.kubelet.server.containerlogs import worker_of
from pynetes.rpc.cri import runtime_v1_pb2 as pb

if TYPE_CHECKING:
    from pynetes.kubelet.kubelet import Kubelet

BLOCK = 64 << 10
#: Headers that describe the client's own connection to the kubelet.
OWN = ("host", "authorization", "content-length", "transfer-encoding")
TRUE = ("1", "true")


def add(application: web.Application, kubelet: "Kubelet") -> None:
    """Add the routes, each with and without the pod's UID in its path."""
    runtime = kubelet.ctx.runtime

    async def execute(request: web.Request) -> str:
        options = pb.ExecRequest(
            container_id=_running(kubelet, request),
            cmd=request.query.getall("command", []),
            tty=_flag(request, "tty"),
            stdin=_flag(request, "input", "stdin"),
            stdout=_flag(request, "output", "stdout"),
            stderr=_flag(request, "error", "stderr") and not _flag(request, "tty"),
        )
        return await runtime.exec_url(options)

    async def attach(request: web.Request) -> str:
        spec = podspec.find(_worker(kubelet, request).pod, request.match_info["container"]) or {}
        tty = bool(spec.get("tty"))
        options = pb.AttachRequest(
            container_id=_running(kubelet, request),
            tty=tty,
            stdin=_flag(request, "input", "stdin"),
            stdout=_flag(request, "output", "stdout"),
            stderr=_flag(request, "error", "stderr") and not tty,
        )
        return await runtime.attach_url(options)

    async def forward(request: web.Request) -> str:
        sandbox = kubelet.ctx.pleg.get(_worker(kubelet, request).uid).sandbox
        if sandbox is None or not sandbox.ready:
            raise web.HTTPBadRequest(text="the pod has no running sandbox\n")
        ports = [int(port) for text in request.query.getall("port", []) for port in text.split(",")]
        return await runtime.port_forward_url(sandbox.id, ports)

    async def run(request: web.Request) -> web.StreamResponse:
        command = request.query.getall("cmd", request.query.get("cmd", "").split())
        _, output = await runtime.exec_sync(_running(kubelet, request), command, 60)
        return web.Response(body=output, content_type="text/plain")

    for path, url in (
        ("/exec/{namespace}/{pod}/{container}", execute),
        ("/exec/{namespace}/{pod}/{uid}/{container}", execute),
        ("/attach/{namespace}/{pod}/{container}", attach),
        ("/attach/{namespace}/{pod}/{uid}/{container}", attach),
        ("/portForward/{namespace}/{pod}", forward),
        ("/portForward/{namespace}/{pod}/{uid}", forward),
    ):
        handler = _joined(url)
        application.router.add_get(path, handler)
        application.router.add_post(path, handler)
    application.router.add_post("/run/{namespace}/{pod}/{container}", run)


def _joined(url: Callable[[web.Request], Awaitable[str]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "upgrade" not in request.headers.get("Connection", "").lower():
            raise web.HTTPBadRequest(text="unable to upgrade: missing upgrade headers in request\n")
        try:
            target = await url(request)
        except RuntimeFailure as failure:
            raise web.HTTPInternalServerError(text=f"{failure}\n") from failure
        return await _join(request, target)

    return handler


def _worker(kubelet: "Kubelet", request: web.Request) -> Any:
    info = request.match_info
    return worker_of(kubelet, info["namespace"], info["pod"], info.get("uid", ""))


def _running(kubelet: "Kubelet", request: web.Request) -> str:
    """The ID of the running container that is meant. Raises 404."""
    name = request.match_info["container"]
    latest = kubelet.ctx.pleg.get(_worker(kubelet, request).uid).latest(name)
    if latest is None or latest.state != State.RUNNING:
        raise web.HTTPNotFound(text=f'container not found ("{name}")\n')
    return latest.id


def _flag(request: web.Request, *names: str) -> bool:
    return any(request.query.get(name, "").lower() in TRUE for name in names)


async def _join(request: web.Request, target: str) -> web.StreamResponse:
    parts = urlsplit(target)
    try:
        upstream, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except OSError as error:
        raise web.HTTPBadGateway(text=f"the runtime's streaming server does not answer: {error}\n") from error
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = [f"{request.method} {path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items() if name.lower() not in OWN]
    lines.append("Content-Length: 0" if request.method == "POST" else "X-Forwarded-Proto: https")
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
    await _splice(request, upstream, writer)
    return _Answered()


async def _splice(request: web.Request, upstream: asyncio.StreamReader, upward: asyncio.StreamWriter) -> None:
    """Take the client's connection away from the HTTP server and pass bytes until either side ends."""
    transport, http = request.transport, request.protocol
    if transport is None:
        upward.close()
        return
    loop = asyncio.get_running_loop()
    client = asyncio.StreamReader(limit=BLOCK, loop=loop)
    protocol = asyncio.StreamReaderProtocol(client, loop=loop)
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    downward = asyncio.StreamWriter(transport, protocol, client, loop)
    try:
        await first(_pass(client, upward), _pass(upstream, downward))
    finally:
        upward.close()
        transport.set_protocol(http)
        transport.close()


async def _pass(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while block := await source.read(BLOCK):
            sink.write(block)
            await sink.drain()
    except ConnectionError:
        return


class _Answered(web.StreamResponse):
    """Nothing is left to answer: the runtime has."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Write nothing."""
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""
