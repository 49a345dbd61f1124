"""The port 10250 of scripted nodes: logs and exec answered by scripts, over TLS and SPDY as a kubelet answers them.

One server for all nodes of a cluster, on a free port of the loopback interface. The API server dials it as it dials any
kubelet, with its own client certificate, so what a client's exec or log request goes through is the real thing.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from pynetes.component.streaming.spdy import Session, Stream, StreamReset
from pynetes.machinery.meta import Key, Object
from pynetes.testing.scripts import Execution, Output, Scripts

PROTOCOL = "v4.channel.k8s.io"
_SUCCESS = {"metadata": {}, "status": "Success"}


class _Asked(NamedTuple):
    """What the request line asks for: exec, attach, containerLogs or portForward, of whom."""

    what: str
    pod: Object
    container: str
    query: Mapping[str, list[str]]


def exit_status(code: int) -> Object:
    """What a kubelet says of a command that has ended."""
    if not code:
        return _SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


class ScriptedKubelet:
    """Use `serving` as a context; `port` is known within."""

    def __init__(self, scripts: Scripts, find: Callable[[Key], Object | None]) -> None:
        self._scripts, self._find = scripts, find
        self.port = 0

    @asynccontextmanager
    async def serving(self, certificate: Path, key: Path, client_ca: Path) -> AsyncIterator[None]:
        """Listen; who shows no certificate of this authority is refused."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_REQUIRED
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, StreamReset):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            asked = self._asked(head[0].split(" ")[1])
            if asked is None:
                await _plain(writer, 404, "pod does not exist")
            elif asked.what == "containerLogs":
                text = self._scripts.of(asked.pod).logs_of(asked.pod, asked.container)
                await _plain(writer, 200, _tail(text, asked.query))
            elif asked.what in ("exec", "attach"):
                await self._stream(asked, reader, writer)
            else:
                await _plain(writer, 501, "scripted pods have no ports")
        writer.close()

    def _asked(self, target: str) -> _Asked | None:
        parts = [unquote(part) for part in urlsplit(target).path.split("/")[1:]]
        pod = self._find(Key(parts[1], parts[2])) if len(parts) > 2 else None
        query = parse_qs(urlsplit(target).query, keep_blank_values=True)
        return _Asked(parts[0], pod, parts[-1], query) if pod else None

    async def _stream(self, asked: _Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upgraded = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        writer.write(f"{upgraded}X-Stream-Protocol-Version: {PROTOCOL}\r\n\r\n".encode())
        session = Session(reader, writer, client=False)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(session.run())
            await self._run(asked, await _opened(session, asked.query))
            await asyncio.sleep(0)
            running.cancel()

    async def _run(self, asked: _Asked, streams: Mapping[str, Stream]) -> None:
        output = await self._output(asked, streams)
        for name, written in (("stdout", output.stdout), ("stderr", output.stderr)):
            data = written.encode() if isinstance(written, str) else written
            # A terminal has one output.
            stream = streams.get(name) or streams.get("stdout")
            if data and stream is not None:
                await stream.write(data)
        await streams["error"].write(json.dumps(exit_status(output.code)).encode())
        for stream in streams.values():
            await stream.finish()

    async def _output(self, asked: _Asked, streams: Mapping[str, Stream]) -> Output:
        script = self._scripts.of(asked.pod)
        if asked.what == "attach":
            return Output(script.logs_of(asked.pod, asked.container))
        given = b""
        while "stdin" in streams and (data := await streams["stdin"].read()):
            given += data
        call = Execution(asked.pod, asked.container, tuple(asked.query.get("command", ())), given, "tty" in asked.query)
        try:
            # Beside the event loop, so that it may ask the cluster and wait for the answer.
            answer = await asyncio.to_thread(script.exec, call)
        except Exception as error:  # the test's own mistake: its author reads it where the command's output would be
            return Output(stderr=f"the script failed: {error!r}\n", code=1)
        return Output(answer) if isinstance(answer, str) else answer


async def _opened(session: Session, query: Mapping[str, list[str]]) -> dict[str, Stream]:
    """The streams that the client opens: one for the result, and those that the query names."""
    names = [name for name in ("input", "output", "error", "tty") if name in query]
    wanted = 1 + len(names) - ("error" in names and "tty" in names)
    streams: dict[str, Stream] = {}
    while len(streams) < wanted and (stream := await session.accept()) is not None:
        streams[stream.headers["streamtype"]] = stream
    return streams


def _tail(text: str, query: Mapping[str, list[str]]) -> str:
    lines = query.get("tailLines")
    if not lines:
        return text
    return "".join(text.splitlines(keepends=True)[-int(lines[0]) :] if int(lines[0]) else [])


async def _plain(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status} Answer\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await writer.drain()
