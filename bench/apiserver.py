"""Load on an API server, any one that is given by URL: single GETs, full LISTs, creates.

    python bench/apiserver.py --server https://127.0.0.1:6443 --token T [--insecure|--ca CA] [--pods 7000] [FIGURE…]

Prints one line per figure: requests a second, p50 and p99. The client is asyncio with httptools on as many connections
as asked; on a small machine it takes about as much time as what it measures, so compare servers, not numbers.
"""

import argparse
import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httptools
import orjson
import uvloop

NAMESPACE = "bench"


class Client(asyncio.Protocol):
    """One keep-alive connection that asks one thing at a time."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server hung up"))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        assert self._answer is not None
        self._answer.set_result((self._parser.get_status_code(), b"".join(self._body)))

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """One request."""
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._answer = asyncio.get_running_loop().create_future()
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._transport.write(f"{method} {path} HTTP/1.1\r\n{self._head}{length}\r\n".encode() + body)
        return await self._answer


async def connect(options: argparse.Namespace, count: int) -> list[Client]:
    """Open `count` connections."""
    url = urlsplit(options.server)
    context = None
    if url.scheme == "https":
        context = ssl.create_default_context(cafile=options.ca)
        if options.insecure or not options.ca:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if options.cert:
            context.load_cert_chain(options.cert, options.key)
    head = f"Host: {url.netloc}\r\nAccept: application/json\r\n"
    head += f"Authorization: Bearer {options.token}\r\n" if options.token else ""
    loop = asyncio.get_running_loop()
    name = url.hostname if context else None
    made = [
        await loop.create_connection(lambda: Client(head), url.hostname, url.port, ssl=context, server_hostname=name)
        for _ in range(count)
    ]
    return [client for _, client in made]


async def load(
    options: argparse.Namespace,
    what: str,
    connections: int,
    seconds: float,
    ask: Callable[[int], tuple[str, str, bytes]],
) -> None:
    """Ask on all connections until the time is over, and print the figure."""
    clients = await connect(options, connections)
    times: list[float] = []
    failures: dict[int, int] = {}
    began = time.perf_counter()
    numbers = iter(range(1 << 62))

    async def work(client: Client) -> None:
        while (start := time.perf_counter()) < began + seconds:
            status, _ = await client.ask(*ask(next(numbers)))
            times.append(time.perf_counter() - start)
            if status >= 300:
                failures[status] = failures.get(status, 0) + 1

    await asyncio.gather(*(work(client) for client in clients))
    took = time.perf_counter() - began
    times.sort()
    half, worst = times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000
    note = f"  FAILED {failures}" if failures else ""
    print(
        f"{what:8} {len(times) / took:9.1f}/s  p50 {half:8.2f} ms  p99 {worst:8.2f} ms  {connections} connections{note}"
    )


def pod(name: str) -> bytes:
    """A pod of about the size that a cluster's pods have once they run."""
    env = [{"name": f"VARIABLE_{i}", "value": "x" * 40} for i in range(30)]
    container = {"name": "main", "image": "registry.example.com/team/app:1.2.3", "env": env}
    metadata = {"name": name, "labels": {"app": "bench"}}
    return orjson.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})


def names(prefix: str) -> Iterator[str]:
    """Names that no earlier run has used."""
    run = int(time.time())
    return (f"{prefix}-{run}-{i}" for i in range(1 << 62))


async def main(options: argparse.Namespace) -> None:
    """Prepare the namespace, then measure what was asked for."""
    (client,) = await connect(options, 1)
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods"
    if options.pods:
        meta = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await client.ask("POST", "/api/v1/namespaces", orjson.dumps(meta))
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await client.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", orjson.dumps(account))
        status, _ = await client.ask("POST", pods, pod("one"))
        assert status in (201, 409), f"cannot create a pod: {status}"
        _, body = await client.ask("GET", pods)
        missing = options.pods - len(orjson.loads(body)["items"])
        fresh, clients = names("filler"), await connect(options, 16)

        async def fill(filler: Client, count: int) -> None:
            for _ in range(count):
                await filler.ask("POST", pods, pod(next(fresh)))

        await asyncio.gather(*(fill(filler, max(missing, 0) // 16) for filler in clients))
    if "gets" in options.figures:
        target = options.path or f"{pods}/one"
        await load(options, "gets", options.connections, options.seconds, lambda _: ("GET", target, b""))
    if "lists" in options.figures:
        await load(options, "lists", 4, options.seconds, lambda _: ("GET", "/api/v1/pods", b""))
    if "creates" in options.figures:
        made = names("made")
        await load(options, "creates", 16, options.seconds, lambda _: ("POST", pods, pod(next(made))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", required=True)
    parser.add_argument("--token", default="")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--ca")
    parser.add_argument("--insecure", action="store_true")
    parser.add_argument("--pods", type=int, default=0, help="pods to have before measuring")
    parser.add_argument("--path", default="", help="what gets asks for instead of a pod")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("figures", nargs="*", default=["gets", "lists", "creates"])
    uvloop.run(main(parser.parse_args()))
