"""One WebSocket per open page, on which everything live arrives: watches, logs that are followed, the map.

A browser opens six connections to a server and no more; a page that watches five kinds and follows two logs would stand
still. So a page asks for streams here, by numbers of its own:

    → {"open": 7, "target": "/api/v1/pods?watch=1&resourceVersion=42", "accept": "application/json;as=Table;…"}
    ← {"id": 7, "status": 200}
    ← {"id": 7, "data": "{\"type\":\"ADDED\", …}\n"}
    ← {"id": 7, "end": ""}                           or {"id": 7, "status": 403, "error": {…Status…}}
    → {"close": 7}
"""

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from aiohttp import WSMsgType, web

from pynetes.component import tasks
from pynetes.dashboard import security
from pynetes.dashboard.sessions import MOST_PAGES, Session
from pynetes.machinery.errors import StatusError, failure
from pynetes.machinery.meta import Object

#: Streams of one page; more is a mistake of the page, or an attack on the API server through us.
MOST = 64
#: Streams that are not the API server's: target → its messages. Raises StatusError if the viewer may not see it.
Source = Callable[[Session], AsyncIterator[Object]]
ACCEPT = "application/json"


async def serve(session: Session, request: web.Request, sources: dict[str, Source]) -> web.StreamResponse:
    """Serve one page until it goes."""
    security.refuse_foreign(request)
    if len(session.pages) >= MOST_PAGES:
        raise failure(429, "TooManyRequests", "too many pages are open; close some of them")
    socket = web.WebSocketResponse(heartbeat=15, max_msg_size=64 << 10)
    await socket.prepare(request)
    session.pages.add(socket.close)
    try:
        async with tasks.Group() as group:
            page = _Page(session, socket, sources, group)
            async for message in socket:
                if message.type is WSMsgType.TEXT and not page.asked(message.data):
                    break
    finally:
        session.pages.discard(socket.close)
        await socket.close()
    return socket


class _Page:
    def __init__(
        self, session: Session, socket: web.WebSocketResponse, sources: dict[str, Source], group: tasks.Group
    ) -> None:
        self._session, self._socket, self._sources, self._group = session, socket, sources, group
        self._streams: dict[int, asyncio.Task[None]] = {}

    def asked(self, text: str) -> bool:
        """Begin or end a stream; False if the page does not speak this protocol."""
        try:
            wish = orjson.loads(text)
            number = int(wish["open"] if "open" in wish else wish["close"])
            running = self._streams.pop(number, None)
            if running is not None:
                running.cancel()
            if "open" in wish:
                work = self._stream(number, str(wish["target"]), str(wish.get("accept") or ACCEPT))
                self._streams[number] = self._group.start(work)
        except (ValueError, KeyError, TypeError):
            return False
        return True

    async def _stream(self, number: int, target: str, accept: str) -> None:
        try:
            if len(self._streams) > MOST:
                raise failure(429, "TooManyRequests", f"a page may open {MOST} streams")
            source = self._sources.get(target)
            if source is not None:
                await self._tell(number, source)
            else:
                await self._pass(number, security.checked_target(target), accept)
            await self._send({"id": number, "end": ""})
        except StatusError as error:
            await self._send({"id": number, "status": error.code, "error": error.status})
        finally:
            if self._streams.get(number) is asyncio.current_task():
                del self._streams[number]

    async def _tell(self, number: int, source: Source) -> None:
        messages = source(self._session)
        try:
            async for message in messages:
                await self._send({"id": number, "message": message})
        finally:
            close = getattr(messages, "aclose", None)
            if close is not None:
                await close()

    async def _pass(self, number: int, target: str, accept: str) -> None:
        async with self._session.upstream.stream("GET", target, headers={"Accept": accept}, within=None) as answer:
            if answer.status != 200:
                raise _refusal(answer.status, await answer.read())
            await self._send({"id": number, "status": 200})
            # Chunks end anywhere, also within a character; bytes that are no text show as such.
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            async for chunk in answer.content.iter_any():
                if text := decoder.decode(chunk):
                    await self._send({"id": number, "data": text})

    async def _send(self, message: Any) -> None:
        try:
            await self._socket.send_str(orjson.dumps(message).decode())
        except (ConnectionError, RuntimeError):
            # The page has gone; the loop that reads from it ends all of this.
            await asyncio.sleep(0)


def _refusal(status: int, body: bytes) -> StatusError:
    try:
        return StatusError(orjson.loads(body))
    except ValueError:
        return failure(status, "", body.decode(errors="replace")[:500] or f"the API server answered {status}")
