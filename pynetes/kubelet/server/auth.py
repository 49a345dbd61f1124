"""Who asks the kubelet, and whether it may: certificates of the cluster's CA and tokens, then the API server's word.

Authorization is on the node's own object: GET is `get`, POST `create`; the subresource follows from the path. Since
1.36, /pods, /healthz and /configz have subresources of their own, with `proxy` as what includes them.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pynetes.client.delegation import ANONYMOUS, Delegation, User, from_certificate
from pynetes.client.rest import Client
from pynetes.component import tracing
from pynetes.component.clock import Clock
from pynetes.kubelet.config import Config
from pynetes.machinery.meta import Object

VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: First part of the path to the subresource of the node; everything else is proxy.
SUBRESOURCES = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
#: Finer ones, tried before proxy.
FINE = {"pods": "pods", "healthz": "healthz", "configz": "configz", "runningpods": "pods"}
#: What runs something in a container: a WebSocket begins as a GET, and reading is no right to run.
RUN = ("exec", "attach", "run", "portForward")
#: How Prometheus names itself, and the path of its scrapes.
PROMETHEUS, SCRAPES = "Prometheus/", 29
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def attributes(method: str, path: str, node: str) -> list[Object]:
    """What the request does, as resourceAttributes; any of them being allowed is enough."""
    first = path.strip("/").split("/", 1)[0]
    names = [SUBRESOURCES[first]] if first in SUBRESOURCES else [FINE[first], "proxy"] if first in FINE else ["proxy"]
    verb = "create" if first in RUN else VERBS.get(method, "proxy")
    return [{"verb": verb, "version": "v1", "resource": "nodes", "subresource": name, "name": node} for name in names]


def middleware(client: Client, config: Config, node: str, clock: Clock) -> Any:
    """The check in front of every route."""
    guard = _Guard(client, config, node, clock)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        user = await guard.authenticate(request)
        if user is None:
            return web.Response(status=401, text="Unauthorized")
        if not await guard.authorize(user, request.method, request.path):
            wanted = attributes(request.method, request.path, node)[-1]
            text = "Forbidden (user={}, verb={}, resource=nodes, subresource(s)=[{}])"
            return web.Response(status=403, text=text.format(user.name, wanted["verb"], wanted["subresource"]))
        if request.headers.get("User-Agent", "").startswith(PROMETHEUS):
            return await _scraped(request, handler, user, node)
        return await handler(request)

    return check


async def _scraped(request: web.Request, handler: Handler, user: User, node: str) -> web.StreamResponse:
    """Prometheus tells nobody what it does, so its path is seen from here."""
    began, error = time.perf_counter(), "no answer"
    try:
        answer = await handler(request)
        error = "" if answer.status == 200 else f"status {answer.status}"
        return answer
    finally:
        wanted = attributes(request.method, request.path, node)[0]
        seen = tracing.Interaction(
            SCRAPES, tracing.now(), "prometheus", "kubelet", f"GET {request.path}", f"nodes {node}",
            time.perf_counter() - began, error,
        )  # fmt: skip
        rule = f"nodes/{wanted['subresource']} {wanted['verb']}"
        tracing.RECORDER.record(seen, tracing.Identity(subject=user.name, rule=rule))


class _Guard:
    def __init__(self, client: Client, config: Config, node: str, clock: Clock) -> None:
        self._delegation = Delegation(client, clock)
        self._config, self._node = config, node

    async def authenticate(self, request: web.Request) -> User | None:
        """The user; None when there is none to be had."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        certificate = tls.getpeercert() if tls else None
        user = from_certificate(certificate) if certificate else None
        if user:
            return user
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            return await self._delegation.user_of(token.strip())
        return ANONYMOUS if self._config.anonymous_auth else None

    async def authorize(self, user: User, method: str, path: str) -> bool:
        """Whether the user may."""
        if self._config.authorization_mode == "AlwaysAllow":
            return True
        for wanted in attributes(method, path, self._node):
            if await self._delegation.allows(user, wanted):
                return True
        return False
