"""Is a process ready? One small question over HTTPS, HTTP or a Unix socket, cheap enough to ask often."""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path

from pynetes.dns import wire


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Ready when a connection is accepted and, if `path` is given, GET answers 200.

    With `unix` the connection goes to that socket. With `ca` it is TLS, verified; cert and key are presented if given.
    """

    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    unix: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    #: Names the certificate must have; "" means host.
    server_name: str = ""


async def ask(probe: Probe, *, timeout: float = 5.0) -> str:
    """ "" when ready, else why not, in a few words."""
    try:
        async with asyncio.timeout(timeout):
            return await _ask(probe)
    except TimeoutError:
        return f"no answer within {timeout:.0f} s"
    except (OSError, ssl.SSLError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


async def resolves(server: str, name: str, *, timeout: float = 1.0) -> bool:
    """Whether a DNS server knows an IPv4 address for the name. Asked from a new port each time, over UDP."""
    loop, number = asyncio.get_running_loop(), random.getrandbits(16)
    question = wire.encode_name(name) + struct.pack("!HH", wire.A, wire.IN)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel, contextlib.suppress(OSError, TimeoutError):
        channel.setblocking(False)
        channel.connect((server, 53))
        async with asyncio.timeout(timeout):
            await loop.sock_sendall(channel, wire.ask(number, question, edns=False))
            answer = await loop.sock_recv(channel, 512)
        return len(answer) > 12 and answer[:2] == number.to_bytes(2) and answer[3] & 15 == 0 and any(answer[6:8])
    return False


async def _ask(probe: Probe) -> str:
    if probe.unix:
        _, writer = await asyncio.open_unix_connection(probe.unix)
        writer.close()
        return ""
    tls = _context(probe)
    name = (probe.server_name or probe.host) if tls else None
    reader, writer = await asyncio.open_connection(probe.host, probe.port, ssl=tls, server_hostname=name)
    try:
        if not probe.path:
            return ""
        writer.write(f"GET {probe.path} HTTP/1.1\r\nHost: {probe.host}\r\nConnection: close\r\n\r\n".encode())
        status = (await reader.readline()).decode(errors="replace").split(" ", 2)
        answer = (
            "" if len(status) > 1 and status[1] == "200" else f"answered {' '.join(status[1:]).strip() or 'nothing'}"
        )
        await reader.read()
        return answer
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()


def _context(probe: Probe) -> ssl.SSLContext | None:
    if not probe.ca:
        return None
    if not Path(probe.ca).exists():
        raise ValueError(f"{probe.ca} is not there yet")
    context = ssl.create_default_context(cafile=probe.ca)
    if probe.cert:
        context.load_cert_chain(probe.cert, probe.key)
    return context
