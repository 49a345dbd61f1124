"""Who asks the kubelet, and whether it may: certificates of the cluster's CA and tokens, then the API server's word.

Authorization is on the node's own object: GET is `get`, POST `create`; the subresource follows from the path. Since
1.36, /pods, /healthz and /configz have subresources of their own, with `proxy` as what includes them. Answers are kept:
allowed ones for five minutes, refused ones for thirty seconds, as upstream does.
"""

import hashlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from pynetes.apis.authentication import tokenreviews
from pynetes.apis.authorization import subjectaccessreviews
from pynetes.client.rest import Client
from pynetes.client.transport import Unreachable
from pynetes.component import logs
from pynetes.component.clock import Clock
from pynetes.kubelet.config import Config
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

log = logging.getLogger(__name__)

TOKEN_TTL = 120.0
ALLOWED_TTL, DENIED_TTL = 300.0, 30.0
MOST = 1024
VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
#: First part of the path to the subresource of the node; everything else is proxy.
SUBRESOURCES = {"stats": "stats", "metrics": "metrics", "logs": "log", "checkpoint": "checkpoint"}
#: Finer ones, tried before proxy.
FINE = {"pods": "pods", "healthz": "healthz", "configz": "configz", "runningpods": "pods"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


def attributes(method: str, path: str, node: str) -> list[Object]:
    """What the request does, as resourceAttributes; any of them being allowed is enough."""
    first = path.strip("/").split("/", 1)[0]
    names = [SUBRESOURCES[first]] if first in SUBRESOURCES else [FINE[first], "proxy"] if first in FINE else ["proxy"]
    verb = VERBS.get(method, "proxy")
    return [{"verb": verb, "version": "v1", "resource": "nodes", "subresource": name, "name": node} for name in names]


def from_certificate(certificate: dict[str, Any]) -> User | None:
    """The user of a verified client certificate: its common name, with its organizations as groups."""
    pairs = [pair for part in certificate.get("subject") or () for pair in part]
    name = next((value for key, value in pairs if key == "commonName"), "")
    groups = tuple(value for key, value in pairs if key == "organizationName")
    return User(name, (*groups, "system:authenticated")) if name else None


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
        return await handler(request)

    return check


class _Guard:
    def __init__(self, client: Client, config: Config, node: str, clock: Clock) -> None:
        self._client, self._config, self._node, self._clock = client, config, node, clock
        self._users: dict[str, tuple[float, User | None]] = {}
        self._verdicts: dict[tuple[Any, ...], tuple[float, bool]] = {}

    async def authenticate(self, request: web.Request) -> User | None:
        """The user; None when there is none to be had."""
        tls = request.transport.get_extra_info("ssl_object") if request.transport else None
        certificate = tls.getpeercert() if tls else None
        user = from_certificate(certificate) if certificate else None
        if user:
            return user
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and token:
            return await self._of_token(token.strip())
        return ANONYMOUS if self._config.anonymous_auth else None

    async def _of_token(self, token: str) -> User | None:
        digest, now = hashlib.sha256(token.encode()).hexdigest(), self._clock.monotonic()
        kept = self._users.get(digest)
        if kept and kept[0] > now:
            return kept[1]
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}}
        try:
            answer = await self._client.create(tokenreviews.RESOURCE, {**review, "spec": {"token": token}})
        except (StatusError, Unreachable) as error:
            log.warning(logs.fact("cannot ask who a request comes from", error=error))
            return None
        status = answer.get("status") or {}
        found = status.get("user") or {}
        user = None
        if status.get("authenticated"):
            user = User(found.get("username", ""), tuple(found.get("groups") or ()), found.get("uid", ""))
        _keep(self._users, digest, (now + TOKEN_TTL, user))
        return user

    async def authorize(self, user: User, method: str, path: str) -> bool:
        """Whether the user may."""
        if self._config.authorization_mode == "AlwaysAllow":
            return True
        for wanted in attributes(method, path, self._node):
            if await self._allowed(user, wanted):
                return True
        return False

    async def _allowed(self, user: User, wanted: Object) -> bool:
        key, now = (user, wanted["verb"], wanted["subresource"]), self._clock.monotonic()
        kept = self._verdicts.get(key)
        if kept and kept[0] > now:
            return kept[1]
        spec = {"user": user.name, "groups": list(user.groups), "uid": user.uid, "resourceAttributes": wanted}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": spec}
        try:
            answer = await self._client.create(subjectaccessreviews.RESOURCE, review)
        except (StatusError, Unreachable) as error:
            log.warning(logs.fact("cannot ask whether a request is allowed", error=error))
            return False
        allowed = bool((answer.get("status") or {}).get("allowed"))
        _keep(self._verdicts, key, (now + (ALLOWED_TTL if allowed else DENIED_TTL), allowed))
        return allowed


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= MOST:
        cache.pop(next(iter(cache)))
    cache[key] = value
