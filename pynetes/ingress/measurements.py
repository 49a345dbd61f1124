"""Metrics of requests: counted by nginx's workers, shown under ingress-nginx's names."""

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from pynetes.component.metrics import BUCKETS, REGISTRY, labels_text, number_text
from pynetes.ingress.nginx.server import Nginx

_LABELS = ("kind", "namespace", "ingress", "service", "method", "status")
Labels = tuple[str, ...]


class _Counted:
    """The requests by their labels."""

    type = "counter"
    name = "nginx_ingress_controller_requests"
    help = "The total number of client requests."

    def __init__(self) -> None:
        self.numbers: dict[Labels, float] = {}

    def lines(self) -> Iterator[str]:
        for labels, number in sorted(self.numbers.items()):
            yield f"{self.name}{labels_text(_LABELS, labels)} {number_text(number)}"


class _Durations:
    """How long they took."""

    type = "histogram"
    name = "nginx_ingress_controller_request_duration_seconds"
    help = "The request processing time in seconds."

    def __init__(self) -> None:
        self.buckets: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def lines(self) -> Iterator[str]:
        names = (*_LABELS, "le")
        for labels, counts in sorted(self.buckets.items()):
            for bound, total in zip((*map(number_text, BUCKETS), "+Inf"), accumulate(counts), strict=True):
                yield f"{self.name}_bucket{labels_text(names, (*labels, bound))} {total}"
            shown = labels_text(_LABELS, labels)
            yield f"{self.name}_sum{shown} {number_text(self.sums.get(labels, 0.0))}"
            yield f"{self.name}_count{shown} {sum(counts)}"


_REQUESTS = _Counted()
_SECONDS = _Durations()
_CONNECTIONS = REGISTRY.gauge(
    "nginx_ingress_controller_nginx_process_connections",
    "Current number of client connections with state {active, reading, writing, waiting}.",
    "state",
)
REGISTRY.add(_REQUESTS)
REGISTRY.add(_SECONDS)


def take(found: dict[str, Any]) -> None:
    """Replace what is shown by what the workers counted."""
    _REQUESTS.numbers.clear()
    _SECONDS.buckets.clear()
    for key, value in found.get("counts", {}).items():
        what, *labels = key.split("|")
        if what == "n":
            _REQUESTS.numbers[tuple(labels)] = value
        elif what == "s":
            _SECONDS.sums[tuple(labels)] = value
        else:
            counts = _SECONDS.buckets.setdefault(tuple(labels), [0] * (len(BUCKETS) + 1))
            counts[int(what.removeprefix("b")) - 1] = int(value)
    for state, number in found.get("connections", {}).items():
        _CONNECTIONS.set(number, state)


def refreshing(nginx: Nginx) -> Any:
    """A middleware that asks nginx just before metrics are shown."""

    @web.middleware
    async def refresh(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/metrics":
            take(await nginx.counts())
        return await handler(request)

    return refresh
