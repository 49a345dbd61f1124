"""What keeps other sites, other people's text and other paths out.

Three lines of defence, each enough by itself: the cookie is SameSite=Strict; a request from another origin is refused
by what the browser says of it (Origin, Sec-Fetch-Site); a write carries a secret of the session in a header.
"""

import re
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import unquote, urlsplit

from aiohttp import web

from pynetes.machinery.errors import StatusError, failure

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GUARD = "X-Pynetes-Guard"
SAFE = frozenset({"GET", "HEAD"})
#: For everything that is not a page: if a browser is led to open it, nothing in it runs.
INERT = "default-src 'none'; frame-ancestors 'none'; sandbox"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "Strict-Transport-Security": "max-age=31536000",
}
#: What of the API server is passed on.
OPEN = re.compile(r"/(api|apis|version|openapi|healthz|livez|readyz)(/|$)")


def new_nonce() -> str:
    """For the style sheets that the terminal makes while it runs; a new one with every page."""
    return secrets.token_urlsafe(16)


def page_policy(nonce: str) -> str:
    """The pages' content security policy: our own files, and nobody else's."""
    return (
        "default-src 'none'; script-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self';"
        f" style-src 'self' 'nonce-{nonce}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types 'none'"
    )


def refuse_foreign(request: web.Request) -> None:
    """Raise StatusError if another site's page sent this. Programs, which send neither header, may."""
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != request.host):
        raise failure(403, "Forbidden", "this request comes from another site")


def checked_target(raw: str) -> str:
    """The path and query to ask the API server for. Raises StatusError for what is not passed on.

    What pods and Services serve (the proxy subresource) would run in the browser as if it were ours."""
    path = raw.partition("?")[0]
    parts = [unquote(part) for part in path.split("/")[1:]]
    if any(part in ("", ".", "..") or "/" in part or "\\" in part for part in parts):
        raise failure(400, "BadRequest", "the path is not in its plain form")
    if not OPEN.match(path):
        raise failure(404, "NotFound", f"{path} is no path of the API server that is passed on")
    if "proxy" in parts and not _named_proxy(parts):
        raise failure(403, "Forbidden", "what pods, Services and nodes serve themselves is not passed on")
    return raw


def _named_proxy(parts: list[str]) -> bool:
    """Whether "proxy" is a name (of a namespace or an object) everywhere it stands, and no subresource.

    /api/v1/namespaces/NS/KIND/NAME/proxy/… and /api/v1/nodes/NAME/proxy/… are the ones with the subresource."""
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    return "proxy" not in rest[2:] and rest[:1] != ["proxy"]


@web.middleware
async def headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put the headers on every answer, and make errors into Status objects."""
    try:
        response = await handler(request)
    except StatusError as error:
        response = web.json_response(error.status, status=error.code)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = web.json_response(failure(error.status, "", error.reason).status, status=error.status)
    if not response.prepared:
        add_headers(response)
    return response


def add_headers(response: web.StreamResponse) -> None:
    """The headers that every answer has."""
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", INERT)
    response.headers.setdefault("Cache-Control", "no-store")
