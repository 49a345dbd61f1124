"""A kubelet's streaming endpoints over TLS with client certificates and SPDY, running scripted commands."""

import asyncio
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from pynetes.component.streaming.spdy import Session, Stream, StreamReset
from pynetes.machinery.meta import Object
from pynetes.pki import issue, layout
from pynetes.testing.kubelet import exit_status

_UPGRADED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"


class KubeletDouble:
    """exec: `cat` echoes, `fail CODE` writes to both outputs and fails, `size` prints the terminal's size."""

    def __init__(self, folder: Path) -> None:
        now = datetime.now(UTC)
        self.folder = folder
        self.authority = issue.authority("kubernetes", now)
        (folder / "ca.crt").write_bytes(self.authority.certificate_pem)
        self._issue(
            layout.Leaf(
                "kubelet",
                layout.CLUSTER_CA,
                "system:node:n1",
                ("system:nodes",),
                server=True,
                names=layout.names("n1", "127.0.0.1"),
            ),
            "kubelet",
        )
        self._issue(layout.Leaf("client", layout.CLUSTER_CA, "kube-apiserver-kubelet-client", client=True), "client")
        self.port = 0
        #: (method, path) of every request, and the subjects that came with it.
        self.requests: list[str] = []
        self.clients: set[str] = set()
        self._server: asyncio.Server | None = None

    def _issue(self, leaf: layout.Leaf, stem: str) -> None:
        issued = issue.leaf(leaf, self.authority, datetime.now(UTC))
        (self.folder / f"{stem}.crt").write_bytes(issued.certificate_pem)
        (self.folder / f"{stem}.key").write_bytes(issued.key_pem)

    async def start(self) -> None:
        """Listen on a free port."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.folder / "ca.crt"))
        context.load_cert_chain(self.folder / "kubelet.crt", self.folder / "kubelet.key")
        context.verify_mode = ssl.CERT_REQUIRED
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subject = writer.get_extra_info("peercert")["subject"]
        self.clients.add(subject[-1][0][1])
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, StreamReset):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            self.requests.append(f"{method} {target}")
            headers = [line.split(": ", 1) for line in head[1:] if ": " in line]
            offered = [value for name, value in headers if name.lower() == "x-stream-protocol-version"]
            await self._answer(
                urlsplit(target).path.split("/")[1:], parse_qs(urlsplit(target).query), offered, (reader, writer)
            )
        writer.close()

    async def _answer(
        self,
        path: list[str],
        query: Mapping[str, list[str]],
        offered: list[str],
        ends: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        reader, writer = ends
        if path[0] == "containerLogs":
            await _logs(path, query, writer)
            return
        if "elsewhere" in query.get("command", ()):
            here = writer.get_extra_info("sockname")
            head = f"HTTP/1.1 302 Found\r\nLocation: https://{here[0]}:{here[1]}/stolen\r\nContent-Length: 0\r\n\r\n"
            writer.write(head.encode())
            await writer.drain()
            return
        if path[-1] == "missing":
            text = b'container not found ("missing")'
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
            await writer.drain()
            return
        best = "v4.channel.k8s.io" if "v4.channel.k8s.io" in offered else offered[0]
        writer.write(_UPGRADED + f"X-Stream-Protocol-Version: {best}\r\n\r\n".encode())
        session = Session(reader, writer, client=False)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.run())
            if path[0] == "portForward":
                await _forward(session, group)
            else:
                await _run(session, query)
                await asyncio.sleep(0)
            running.cancel()


async def _logs(path: list[str], query: Mapping[str, list[str]], writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain\r\n\r\n")
    for line in (f"{path[3]} says", json.dumps(query, sort_keys=True)):
        writer.write(b"%x\r\n%b\n\r\n" % (len(line) + 1, line.encode()))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()


async def _run(session: Session, query: Mapping[str, list[str]]) -> None:
    wanted = (
        1 + sum(name in query for name in ("input", "output", "error", "tty")) - ("error" in query and "tty" in query)
    )
    streams: dict[str, Stream] = {}
    for _ in range(wanted):
        stream = await session.accept()
        assert stream is not None
        streams[stream.headers["streamtype"]] = stream
    command = query.get("command", ["cat"])
    status: Object = exit_status(0)
    if command[0] == "cat":
        while data := await streams["stdin"].read():
            await streams["stdout"].write(data)
    elif command[0] == "fail":
        await streams["stdout"].write(b"out\n" * 1000)
        await streams["stderr"].write(b"err\n")
        status = exit_status(int(command[1]))
    elif command[0] == "size":
        await streams["stdout"].write(await streams["resize"].read())
    await streams["error"].write(json.dumps(status).encode())
    for stream in streams.values():
        await stream.finish()


async def _forward(session: Session, group: asyncio.TaskGroup) -> None:
    """Shouts back on the data stream what comes on it, with the port in front."""
    while (stream := await session.accept()) is not None:
        if stream.headers["streamtype"] == "data":
            group.create_task(_shout(stream))
        else:
            await stream.finish()


async def _shout(stream: Stream) -> None:
    with suppress(StreamReset, ConnectionError):
        data = await stream.read()
        await stream.write(f"{stream.headers['port']}: ".encode() + data.upper())
        await stream.finish()
