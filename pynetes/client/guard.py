"""Keeps a component's metrics to those who may read them; health stays open to everybody.

The controller manager and the scheduler serve HTTPS beside their work. As upstream, they leave the question who asks,
and whether he may, to the API server: a client certificate of the cluster's CA or a token, then `get` on the path.
"""

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pynetes.client.delegation import ANONYMOUS, Delegation, User, from_certificate
from pynetes.client.rest import Client
from pynetes.component import tls
from pynetes.component.clock import Clock

#: What upstream calls --authorization-always-allow-paths.
OPEN = ("/healthz", "/livez", "/readyz")
MASTERS = "system:masters"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def middleware(client: Client, clock: Clock) -> Any:
    """The check in front of every route; client is whoever may create TokenReviews and SubjectAccessReviews."""
    delegation = Delegation(client, clock)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(OPEN):
            return await handler(request)
        user = await _user(request, delegation)
        if user is None:
            return web.Response(status=401, text="Unauthorized")
        asked = {"path": request.path, "verb": request.method.lower()}
        if MASTERS in user.groups or await delegation.allows(user, asked, kind="nonResourceAttributes"):
            return await handler(request)
        text = f'Forbidden: User "{user.name}" cannot {request.method.lower()} path "{request.path}"'
        return web.Response(status=403, text=text)

    return check


async def _user(request: web.Request, delegation: Delegation) -> User | None:
    shown = request.transport.get_extra_info("ssl_object") if request.transport else None
    user = from_certificate(certificate) if shown and (certificate := shown.getpeercert()) else None
    if user:
        return user
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer" and token:
        return await delegation.user_of(token.strip())
    return ANONYMOUS


def self_signed_context(names: tuple[str, ...], client_ca_file: str) -> ssl.SSLContext:
    """A context with a certificate of its own making, which asks for a client's if there is a CA to verify it."""
    context = tls.self_signed_context(names)
    if client_ca_file:
        context.load_verify_locations(client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
