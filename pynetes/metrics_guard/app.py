"""The guard as a component: what other machines read of a process that listens on loopback only.

etcd shows its metrics to whoever reaches the port; controller manager and scheduler are to listen on loopback, as the
CIS benchmark has it. A Prometheus in a pod reads them through here: over TLS, with a token of the cluster's, and only
who may `get` the path, as the API server says. The last two are shown the token and ask again, so certificates would
not do. Nothing but GET /metrics and one word below it goes through, and never a token over plain HTTP.
"""

import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from pynetes.client import guard
from pynetes.client.rest import Client
from pynetes.component import logs, serving, tasks, tls
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option

_LOG = logging.getLogger(__name__)
#: What is passed on of an answer.
HEADERS = ("Content-Type", "Content-Encoding")


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it."""

    kubeconfig: str = option("--kubeconfig", "", "Path of a kubeconfig; without it the pod's own identity is used.")
    secure_listen_address: str = option("--secure-listen-address", "0.0.0.0", "The address that is listened on.")
    upstreams: tuple[str, ...] = option(
        "--upstreams", (), "PORT=URL of each: the port to listen on, and the metrics' server on this machine."
    )
    timeout: float = option("--timeout", 10.0, "Seconds that an upstream may take.")
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


class BadConfig(Exception):
    """A flag's value cannot be used; the text names both."""


def upstreams(config: Config) -> dict[int, str]:
    """Port → URL without a path. Raises BadConfig."""
    found = {}
    for each in config.upstreams:
        port, _, url = each.partition("=")
        parts = urlsplit(url)
        if not port.isdecimal() or parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise BadConfig(f"--upstreams: {each!r} is not PORT=URL, as in 2381=http://127.0.0.1:2381")
        found[int(port)] = url
    if not found:
        raise BadConfig("--upstreams: at least one is needed, as in 2381=http://127.0.0.1:2381")
    return found


async def run(config: Config, *, client: Client | None = None, clock: Clock | None = None) -> None:
    """Serve until cancelled."""
    wanted = upstreams(config)
    client = client or Client.from_kubeconfig(config.kubeconfig, component="metrics-guard")
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        for port, url in wanted.items():
            app = application(url, client, clock or SystemClock(), timeout=config.timeout)
            await stack.enter_async_context(guarded(app, config, port))
            _LOG.info(logs.fact("guarding", port=port, upstream=url))
        await tasks.forever()


@asynccontextmanager
async def guarded(app: web.Application, config: Config, port: int) -> AsyncIterator[int]:
    """Listen while the block runs; gives the port in use."""
    host = config.secure_listen_address
    context = tls.self_signed_context(("localhost", host))
    async with serving.serve(app, host=host, port=port, context=context) as used:
        yield used


def application(upstream: str, client: Client, clock: Clock, *, timeout: float) -> web.Application:
    """What is behind one port; client asks who may."""
    app = web.Application(middlewares=[guard.middleware(client, clock)])

    async def session(app: web.Application) -> AsyncIterator[None]:
        limit = aiohttp.ClientTimeout(total=timeout)
        # An answer goes through as it comes, compressed or not.
        async with aiohttp.ClientSession(timeout=limit, auto_decompress=False) as made:
            app[_SESSION] = made
            yield

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def passed(request: web.Request) -> web.Response:
        return await _pass(request, upstream)

    app.cleanup_ctx.append(session)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/metrics", passed)
    # One plain word: whatever else a path may be written with could lead out of /metrics at the other end.
    app.router.add_get("/metrics/{rest:[a-z]+}", passed)
    return app


_SESSION = web.AppKey("session", aiohttp.ClientSession)


async def _pass(request: web.Request, upstream: str) -> web.Response:
    names = ["Accept", "Accept-Encoding"]
    if upstream.startswith("https:"):
        # It asks who this is once more. Over plain HTTP others on the machine could take the token.
        names.append("Authorization")
    headers = {name: request.headers[name] for name in names if name in request.headers}
    try:
        async with request.app[_SESSION].get(
            upstream + request.path, headers=headers, ssl=_context(), allow_redirects=False
        ) as answer:
            kept = {name: answer.headers[name] for name in HEADERS if name in answer.headers}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)
    except (aiohttp.ClientError, TimeoutError) as error:
        _LOG.warning(logs.fact("cannot read metrics", upstream=upstream, error=str(error) or type(error).__name__))
        return web.Response(status=502, text=f"{upstream} does not answer: {str(error) or type(error).__name__}\n")


def _context() -> ssl.SSLContext:
    """Components make their certificates themselves, and loopback leads to nobody else's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
