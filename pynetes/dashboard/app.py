"""The dashboard as a component: it serves its pages, and passes on what a logged-in person asks of the API server."""

import contextlib
import hashlib
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import orjson
from aiohttp import web

import pynetes
from pynetes.client import kubeconfig
from pynetes.component import logs, serving, tasks, tls
from pynetes.component.clock import Clock, SystemClock
from pynetes.component.config import option
from pynetes.component.health import Checks
from pynetes.component.metrics import REGISTRY
from pynetes.dashboard import credentials, live, relay, security, traffic
from pynetes.dashboard.livemap import URL, LiveMap
from pynetes.dashboard.sessions import COOKIE, Session, Sessions
from pynetes.dashboard.upstream import Server, Upstream
from pynetes.machinery.errors import StatusError, failure

_LOG = logging.getLogger(__name__)
#: Larger than any object that the API server takes.
LARGEST_BODY = 4 << 20
#: Seconds between looks for sessions that nobody has used.
SWEEP = 60.0
#: Of the certificate that it makes for itself.
NAMES = ("localhost", "dashboard", "dashboard.kube-system.svc")
#: The style sheets, in the order in which they build on one another, and what they are served as.
STYLES, ALL_STYLES = ("base", "shell", "parts", "map"), "css/all.css"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_LOGINS = REGISTRY.counter("pynetes_dashboard_logins_total", "Logins, by whether the API server knew the person.", "ok")


@dataclass(frozen=True, kw_only=True)
class Config:
    """How to run it. It has no identity of its own: every request carries the viewer's."""

    server: str = option("--server", "", "URL of the API server; without it, that of --kubeconfig or of the pod.")
    certificate_authority: str = option("--certificate-authority", "", "PEM file that verifies the API server.")
    kubeconfig: str = option(
        "--kubeconfig", "", "A kubeconfig of which the API server's address and CA are taken, never its identity."
    )
    bind_address: str = option("--bind-address", "0.0.0.0", "The address that is listened on.")
    secure_port: int = option("--secure-port", 8443, "The port that serves HTTPS.")
    tls_cert_file: str = option("--tls-cert-file", "", "Serving certificate; a self-signed one if empty.")
    cert_dir: str = option("--cert-dir", "", "Folder that keeps the self-signed certificate over restarts.")
    tls_private_key_file: str = option("--tls-private-key-file", "", "Key of --tls-cert-file.")
    health_port: int = option("--health-port", 8080, "The port of /healthz, /readyz and /metrics; 0 for any free one.")
    session_idle: float = option("--session-idle-timeout", 1800.0, "Seconds unused until a session ends.")
    session_longest: float = option("--session-max-lifetime", 43200.0, "Seconds until every session ends.")
    paths_dir: str = option(
        "--paths-dir", "", "Folder with the components' sockets, for the live map; without it there is no map."
    )
    verbosity: int = option("-v", 0, "Log level; from 4 on details are logged.")


def server_of(config: Config) -> Server:
    """Where the API server is. Raises KubeconfigError."""
    if config.server:
        return Server(config.server.rstrip("/"), config.certificate_authority)
    found = Server.of(kubeconfig.find(config.kubeconfig))
    return Server(found.url, config.certificate_authority) if config.certificate_authority else found


async def run(config: Config, *, clock: Clock | None = None, listening: Callable[[int], None] | None = None) -> None:
    """Serve until cancelled; listening is told the port."""
    clock = clock or SystemClock()
    sessions = Sessions(clock, idle=config.session_idle, longest=config.session_longest)
    server = server_of(config)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(sessions.close)
        group = await stack.enter_async_context(tasks.Group())
        seen = traffic.Traffic(Path(config.paths_dir), clock, group) if config.paths_dir else None
        dashboard = Dashboard(server, sessions, LiveMap(seen, clock))
        health = serving.application(Checks())
        await stack.enter_async_context(serving.serve(health, host=config.bind_address, port=config.health_port))
        serve = serving.serve(
            dashboard.application(), host=config.bind_address, port=config.secure_port, context=_context(config)
        )
        port = await stack.enter_async_context(serve)
        _LOG.info(logs.fact("serving", port=port, server=server.url))
        if listening is not None:
            listening(port)
        group.start(_sweeping(sessions, clock), name="expired sessions")
        await tasks.forever()


async def _sweeping(sessions: Sessions, clock: Clock) -> None:
    while True:
        await clock.sleep(SWEEP)
        await sessions.sweep()


def _context(config: Config) -> ssl.SSLContext:
    if config.tls_cert_file:
        return tls.server_context(Path(config.tls_cert_file), Path(config.tls_private_key_file))
    if config.cert_dir:
        return tls.kept_self_signed(Path(config.cert_dir), NAMES)
    return tls.self_signed_context(NAMES)


class Dashboard:
    """The routes."""

    def __init__(self, server: Server, sessions: Sessions, livemap: LiveMap) -> None:
        self._server, self._sessions, self._map = server, sessions, livemap
        self._sources: dict[str, live.Source] = {URL: livemap.stream}

    def application(self) -> web.Application:
        """An aiohttp application."""
        app = web.Application(middlewares=[security.headers], client_max_size=LARGEST_BODY)
        router = app.router
        router.add_get("/", self._page)
        router.add_get("/assets/{name:.+}", self._asset)
        router.add_get("/session", self._session)
        router.add_post("/session", self._login)
        router.add_delete("/session", self._logout)
        router.add_get("/live", self._logged_in(lambda s, r: live.serve(s, r, self._sources)))
        router.add_get(f"{URL}/story", self._logged_in(self._map.story))
        router.add_get(f"{URL}/{{label}}", self._logged_in(self._map.detail))
        router.add_route("*", "/{path:.+}", self._logged_in(_passed_on))
        return app

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        nonce = security.new_nonce()
        text = _read("index.html").decode().replace("{{nonce}}", nonce)
        headers = {"Content-Security-Policy": security.page_policy(nonce)}
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        kind = TYPES.get(Path(name).suffix)
        if kind is None or ".." in name.split("/"):
            raise web.HTTPNotFound
        try:
            body = _read(name)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise web.HTTPNotFound from None
        tag = _tag(body)
        headers = {"Cache-Control": "no-cache", "ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    async def _session(self, request: web.Request) -> web.StreamResponse:
        session = self._sessions.find(request.cookies.get(COOKIE, ""))
        return web.json_response(_told(session) if session else {"user": None})

    async def _login(self, request: web.Request) -> web.StreamResponse:
        security.refuse_foreign(request)
        try:
            # A form of another site cannot send this type.
            if request.content_type != "application/json":
                raise failure(415, "UnsupportedMediaType", "send JSON")
            pasted = orjson.loads(await request.read())["credential"]
            identity = credentials.read(str(pasted))
            upstream = Upstream(self._server, identity)
        except credentials.CredentialError as error:
            raise failure(400, "BadRequest", str(error)) from error
        except (ValueError, KeyError, TypeError) as error:
            raise failure(400, "BadRequest", "the login has no credential") from error
        try:
            user = await relay.who(upstream)
            begun = await self._sessions.begin(upstream, user)
        except StatusError as error:
            await upstream.close()
            _LOGINS.inc("false")
            raise _refused(error) from error
        if begun is None:
            await upstream.close()
            raise failure(503, "ServiceUnavailable", "too many people are logged in; try again later")
        number, session = begun
        _LOGINS.inc("true")
        _LOG.info(logs.fact("logged in", user=user.get("username")))
        response = web.json_response(_told(session))
        response.set_cookie(COOKIE, number, httponly=True, secure=True, samesite="Strict", path="/")
        return response

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        session = self._require(request)
        if not session.guarded_by(request.headers.get(security.GUARD, "")):
            raise failure(403, "Forbidden", "this does not come from the dashboard's own page")
        await self._sessions.end(request.cookies[COOKIE])
        response = web.json_response({})
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    def _logged_in(
        self, handler: Callable[[Session, web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            security.refuse_foreign(request)
            return await handler(self._require(request), request)

        return handle

    def _require(self, request: web.Request) -> Session:
        session = self._sessions.find(request.cookies.get(COOKIE, ""))
        if session is None:
            raise failure(401, "Unauthorized", "you are not logged in, or your session has ended")
        return session


async def _passed_on(session: Session, request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await relay.terminal(session, request)
    return await relay.request(session, request)


def _told(session: Session) -> dict[str, object]:
    """What the page may know of its session."""
    return {"user": session.user, "guard": session.guard, "version": pynetes.__version__}


def _refused(error: StatusError) -> StatusError:
    if error.code == 401:
        text = "the API server does not know this token or certificate: it may be cut off, expired or another's"
        return failure(401, "Unauthorized", text)
    return error


@lru_cache(maxsize=256)
def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'


def _read(name: str) -> bytes:
    if name == ALL_STYLES:
        # One request instead of four: browsers keep nothing that comes with a certificate they did not know.
        return b"".join(_read(f"css/{part}.css") for part in STYLES)
    return resources.files("pynetes.dashboard").joinpath("assets", name).read_bytes()
