"""Bounds how many requests are served at once, reads and writes apart, so that a flood gets 429 and not a dead server.

Long-running requests do not count, nor do those of system:masters, who must get in to end a flood.
"""

from pynetes.apiserver.authn.user import MASTERS
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors

READS = ("get", "list")
LONG_SUBRESOURCES = ("exec", "attach", "portforward", "proxy", "log")
INFLIGHT = REGISTRY.gauge(
    "apiserver_current_inflight_requests",
    "Requests being served, long-running ones apart, by kind.",
    "request_kind",
)


def is_long_running(request: Request) -> bool:
    """A watch, or a connection to a node or a pod: it may take for ever and is no load meanwhile."""
    return request.info.verb == "watch" or request.info.subresource in LONG_SUBRESOURCES


def kind_of(request: Request) -> str:
    """How metrics call it: what reads, or what may write."""
    return "readOnly" if request.method in ("GET", "HEAD") else "mutating"


class InFlight:
    """Counts."""

    def __init__(self, reads: int, writes: int) -> None:
        self._limits = {"readOnly": reads, "mutating": writes}
        self._counts = {"readOnly": 0, "mutating": 0}

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on if there is room."""
        if is_long_running(request):
            return await next(request)
        kind = kind_of(request)
        limit, counts = self._limits[kind], self._counts
        if limit and counts[kind] >= limit and not (request.user and MASTERS in request.user.groups):
            raise errors.too_many_requests("Too many requests, please try again later.")
        counts[kind] += 1
        try:
            return await next(request)
        finally:
            counts[kind] -= 1
            INFLIGHT.set(counts[kind], kind)
