"""The yardstick of bench/apiserver.py: a TLS server that parses requests with httptools and answers with fixed bytes.

Nothing that parses HTTP in Python can be faster. /small and /large name the body; run as `python -m bench.bare CERT KEY
SMALL LARGE`, it prints its port.
"""

import asyncio
import ssl
import sys

import httptools
import uvloop

SLICE = 256 << 10


class Bare(asyncio.Protocol):
    """One connection."""

    def __init__(self, bodies: dict[bytes, bytes]) -> None:
        self._bodies = bodies
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._transport.set_write_buffer_limits(high=1 << 20)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url = url

    def on_message_complete(self) -> None:
        body = self._bodies[self._url]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        if len(body) <= SLICE:
            self._transport.write(head + body)
            return
        self._transport.write(head)
        task = asyncio.get_running_loop().create_task(self._pour(memoryview(body)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pour(self, body: memoryview) -> None:
        for start in range(0, len(body), SLICE):
            self._transport.write(body[start : start + SLICE])
            await self._writable.wait()


async def main(certificate: str, key: str, small: int, large: int) -> None:
    """Serve until killed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    bodies = {b"/small": b"x" * small, b"/large": b"x" * large}
    server = await asyncio.get_running_loop().create_server(lambda: Bare(bodies), "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
