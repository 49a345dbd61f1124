"""Asks all kubelets for /metrics/resource at once. One that hangs, lies or has a wrong certificate delays no other."""

import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import NamedTuple

import aiohttp

from pynetes.component import logs, tasks, tracing
from pynetes.component.metrics import REGISTRY
from pynetes.component.peer import Peer
from pynetes.machinery.meta import Object
from pynetes.metrics_server import points

_LOG = logging.getLogger(__name__)
PATH = "/metrics/resource"
#: How many kubelets are asked at the same time, and the largest answer that is read.
AT_ONCE, LARGEST = 100, 16 << 20
#: With more kubelets than this, connections are closed after each answer: an idle one holds 300 KB of TLS buffers.
KEPT = 250

_SECONDS = REGISTRY.histogram(
    "metrics_server_kubelet_request_duration_seconds", "Duration of requests to Kubelet API in seconds.", "node"
)
_REQUESTS = REGISTRY.counter(
    "metrics_server_kubelet_request_total", "Number of requests sent to Kubelet API.", "success"
)
_POINTS = REGISTRY.gauge("metrics_server_storage_points", "Number of metrics points stored.", "type")


#: Told the node and what its kubelet said.
Arrived = Callable[[str, points.Scraped], None]


class Kubelet(NamedTuple):
    """Where a node's kubelet listens."""

    node: str
    host: str
    port: int


def kubelet_of(node: Object, preferred: Sequence[str]) -> Kubelet | None:
    """The first of a node's addresses by preference; None while it has none."""
    status = node.get("status") or {}
    found = {each["type"]: each["address"] for each in reversed(status.get("addresses") or ())}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or 10250
    host = next((found[kind] for kind in preferred if kind in found), "")
    return Kubelet(node["metadata"]["name"], host, port) if host else None


class Scraper:
    """Keeps connections to kubelets open between cycles. A context manager."""

    def __init__(self, context: Callable[[], ssl.SSLContext], token: Callable[[], str], *, timeout: float) -> None:
        self._context, self._token, self._timeout = context, token, timeout
        self._peer: Peer | None = None
        self._session: aiohttp.ClientSession | None = None
        self._close = False

    async def __aenter__(self) -> "Scraper":
        # Answers come every 15 s: a connection has to live longer than that.
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=120)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=self._timeout), auto_decompress=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def cycle(self, kubelets: Sequence[Kubelet], arrived: Arrived) -> dict[str, points.Scraped]:
        """What each kubelet that answered said; arrived is told of each at once, while others may still hang."""
        self._close = len(kubelets) > KEPT

        async def one(kubelet: Kubelet) -> points.Scraped | None:
            said = await self._one(kubelet)
            if said is not None:
                arrived(kubelet.node, said)
            return said

        found = await tasks.gather_limited([partial(one, each) for each in kubelets], limit=AT_ONCE)
        cycle = {kubelet.node: one for kubelet, one in zip(kubelets, found, strict=True) if one is not None}
        _count(cycle)
        return cycle

    async def _one(self, kubelet: Kubelet) -> points.Scraped | None:
        began, problem = time.perf_counter(), ""
        try:
            return points.read(await self._ask(kubelet), time.time())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            problem = str(error) or type(error).__name__
            _LOG.warning(logs.fact("cannot read a kubelet's metrics", node=kubelet.node, error=problem))
            return None
        finally:
            seconds = time.perf_counter() - began
            _SECONDS.observe(seconds, kubelet.node)
            _REQUESTS.inc("false" if problem else "true")
            seen = tracing.Interaction(
                23, tracing.now(), "metrics-server", "kubelet", f"GET {PATH}", f"nodes {kubelet.node}", seconds, problem
            )
            tracing.RECORDER.record(seen, self._identity())

    def _identity(self) -> tracing.Identity:
        server = self._peer.certificate if self._peer else None
        return tracing.Identity(subject="bearer token", rule="nodes/metrics get", server=server)

    def _dialling(self) -> ssl.SSLContext:
        context = self._context()
        if self._peer is None or self._peer.context is not context:
            self._peer = Peer(context)
        return context

    async def _ask(self, kubelet: Kubelet) -> str:
        assert self._session is not None
        host = f"[{kubelet.host}]" if ":" in kubelet.host else kubelet.host
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "text/plain;version=0.0.4"}
        if self._close:
            headers["Connection"] = "close"
        url = f"https://{host}:{kubelet.port}{PATH}"
        async with self._session.get(url, headers=headers, ssl=self._dialling(), allow_redirects=False) as response:
            body = await response.content.read(LARGEST) if response.status == 200 else b""
            while chunk := await response.content.read(LARGEST) if body else b"":
                body += chunk
                if len(body) > LARGEST:
                    raise ValueError("the answer is too large")
        if response.status != 200:
            raise ValueError(f"the kubelet answered with status {response.status}")
        return body.decode("utf-8", "replace")


def _count(cycle: Mapping[str, points.Scraped]) -> None:
    _POINTS.set(sum(one.node is not None for one in cycle.values()), "node")
    _POINTS.set(sum(len(one.containers) for one in cycle.values()), "container")
