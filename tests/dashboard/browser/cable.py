"""A connection to the dashboard that a test can lose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import SplitResult

from pynetes.component import tasks


class Cable:
    """A TCP connection to the dashboard that can be cut and joined."""

    def __init__(self, url: SplitResult) -> None:
        self._host, self._port, self.whole = url.hostname or "", url.port or 443, True
        self._writers: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def laid(self) -> AsyncIterator[int]:
        """Its own port."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """All connections end, and no new one is made."""
        self.whole = False
        for writer in tuple(self._writers):
            writer.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.whole:
            writer.close()
            return
        there, back = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, back}
        with contextlib.suppress(OSError):
            await tasks.first(_pump(reader, back), _pump(there, writer))
        for each in (writer, back):
            self._writers.discard(each)
            each.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
