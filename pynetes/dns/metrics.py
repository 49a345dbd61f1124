"""The DNS server's metrics, under the names that CoreDNS gives them: dashboards of clusters know those.

As with kubeadm's configuration of CoreDNS there is one server block, for all zones: server "dns://:53", zone ".".
"""

import platform
from collections.abc import Iterator

import pynetes
from pynetes.component.metrics import REGISTRY, exponential

SERVER, ZONE, VIEW = "dns://:53", ".", ""
_BLOCK = ("server", "zone", "view")
_SIZES = (0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3)

REQUESTS = REGISTRY.counter(
    "coredns_dns_requests_total", "Counter of DNS requests made per zone, protocol and family.",
    *_BLOCK, "proto", "family", "type",
)  # fmt: skip
RESPONSES = REGISTRY.counter(
    "coredns_dns_responses_total", "Counter of response status codes.", *_BLOCK, "rcode", "plugin"
)
SECONDS = REGISTRY.histogram(
    "coredns_dns_request_duration_seconds",
    "Histogram of the time (in seconds) each request took per zone.",
    *_BLOCK, buckets=exponential(0.00025, 2, 16),
)  # fmt: skip
REQUEST_SIZES = REGISTRY.histogram(
    "coredns_dns_request_size_bytes", "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.",
    *_BLOCK, "proto", buckets=_SIZES,
)  # fmt: skip
RESPONSE_SIZES = REGISTRY.histogram(
    "coredns_dns_response_size_bytes", "Size of the returned response in bytes.", *_BLOCK, "proto", buckets=_SIZES
)
FORWARDED = REGISTRY.counter("coredns_forward_requests_total", "Counter of requests made per upstream.")
FORWARD_FAILURES = REGISTRY.counter("coredns_forward_failures_total", "Questions that no name server outside answered.")
_CACHE = ("server", "zones", "view")
HITS = REGISTRY.counter("coredns_cache_hits_total", "The count of cache hits.", *_CACHE, "type")
MISSES = REGISTRY.counter("coredns_cache_misses_total", "The count of cache misses.", *_CACHE)
ASKED = REGISTRY.counter("coredns_cache_requests_total", "The count of cache requests.", *_CACHE)
ENTRIES = REGISTRY.gauge("coredns_cache_entries", "The number of elements in the cache.", *_CACHE, "type")
PANICS = REGISTRY.counter("coredns_panics_total", "A metrics that counts the number of panics.")
_BLOCK_VALUES = (SERVER, ZONE, VIEW)


def _build() -> Iterator[tuple[tuple[str, ...], float]]:
    yield (pynetes.__version__, "", f"python{platform.python_version()}"), 1


def _plugins() -> Iterator[tuple[tuple[str, ...], float]]:
    for name in ("cache", "errors", "forward", "health", "kubernetes", "loadbalance", "prometheus", "ready"):
        yield (*_BLOCK_VALUES, name), 1


_TEXT = "A metric with a constant '1' value labeled by version, revision, and the language the server was built from."
REGISTRY.gauge("coredns_build_info", _TEXT, "version", "revision", "goversion", read=_build)
_TEXT = "A metric that indicates whether a plugin is enabled on per server and zone basis."
REGISTRY.gauge("coredns_plugin_enabled", _TEXT, *_BLOCK, "name", read=_plugins)


def count(kind: str, rcode: str, proto: str, peer: str, seconds: float, *, asked: int, answered: int) -> None:
    """One exchange: type of record, outcome, transport, the client's address, bytes of question and answer."""
    REQUESTS.inc(SERVER, ZONE, VIEW, proto, "2" if ":" in peer else "1", kind)
    RESPONSES.inc(SERVER, ZONE, VIEW, rcode, "")
    SECONDS.observe(seconds, SERVER, ZONE, VIEW)
    REQUEST_SIZES.observe(asked, SERVER, ZONE, VIEW, proto)
    RESPONSE_SIZES.observe(answered, SERVER, ZONE, VIEW, proto)


def cached(*, hit: bool, denial: bool = False) -> None:
    """The memory of answers from outside was asked."""
    ASKED.inc(*_BLOCK_VALUES)
    if hit:
        HITS.inc(*_BLOCK_VALUES, "denial" if denial else "success")
    else:
        MISSES.inc(*_BLOCK_VALUES)


def remembered(count: int) -> None:
    """How many answers from outside are in memory."""
    ENTRIES.set(count, *_BLOCK_VALUES, "success")
