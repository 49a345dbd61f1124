"""Where a probe's redirect leads the kubelet, which reaches what the pod's user does not."""

import asyncio
from contextlib import suppress

import pytest
from yarl import URL

from pynetes.kubelet import handlers


@pytest.mark.parametrize(
    ("location", "asked", "status"),
    [
        ("/ok", ["/", "/ok"], 200),
        ("http://127.0.0.2:{port}/stolen", ["/"], 302),
        ("http://169.254.169.254/latest/meta-data/", ["/"], 302),
        ("//127.0.0.2:{port}/stolen", ["/"], 302),
        ("http://localhost:{port}/stolen", ["/"], 302),
        ("http://[::ffff:127.0.0.1]:{port}/stolen", ["/"], 302),
    ],
)
async def test_no_other_host_is_asked(location: str, asked: list[str], status: int) -> None:
    """A redirect inside the pod is followed; one elsewhere is the answer itself, however the other host is written."""
    seen: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.split(b" ")[1].decode())
            answer = b"HTTP/1.1 200 OK\r\n"
            if seen[-1] == "/":
                answer = f"HTTP/1.1 302 Found\r\nLocation: {location.format(port=port)}\r\n".encode()
            writer.write(answer + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        found, _ = await handlers._get(URL(f"http://127.0.0.1:{port}/"), {})
    finally:
        server.close()
    assert (found, seen) == (status, asked)
