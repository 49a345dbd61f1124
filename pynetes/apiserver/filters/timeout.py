"""Ends a request that takes too long with 504; what a client asks for with ?timeout= may only be shorter."""

import asyncio
import re
from typing import Any

from pynetes.apiserver.filters.inflight import is_long_running
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.machinery import errors

#: Seconds between looks.
LOOK = 1.0
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]*(?:\.[0-9]*)?)([^0-9.]*)")


class Timeout:
    """Watches deadlines: those that a client sets by timers, the server's own once a second, a timer for each being a
    thirtieth of a create."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: The tasks of requests, and until when.
        self._due: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._looking = False

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on, not for ever."""
        if is_long_running(request) or (request.info.verb == "get" and not request.query_string):
            # A plain GET waits for nothing but the store's revision, which has limits of its own, and is too short to
            # be worth a timer.
            response = await next(request)
            if request.repeat is not None:
                request.repeat.sign()
            return response
        if request.query_string and (text := request.param("timeout")):
            wanted = duration(text)
            async with asyncio.timeout(min(self._seconds, wanted if wanted > 0 else self._seconds)):
                return await next(request)
        return await self._watched(request, next)

    async def _watched(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        # A request within a request, of a client in this process, keeps the first one's.
        first = self._due.setdefault(task, due := loop.time() + self._seconds) is due
        if not self._looking:
            self._looking = True
            loop.call_later(LOOK, self._look, loop)
        try:
            return await next(request)
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            if first:
                del self._due[task]
                self._late.discard(task)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task in [task for task, due in self._due.items() if due <= now and task not in self._late]:
            self._late.add(task)
            task.cancel()
        self._looking = bool(self._due)
        if self._looking:
            loop.call_later(LOOK, self._look, loop)


def duration(text: str) -> float:
    """Seconds of a Go duration such as 1m30s. Raises StatusError 400."""
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    if unsigned == "0":
        return 0.0
    seconds, rest, problem = 0.0, unsigned, "" if unsigned else "invalid duration"
    while rest and not problem:
        found = _PART.match(rest)
        assert found is not None
        number, unit = found.groups()
        rest = rest[found.end() :]
        if number in ("", "."):
            problem = "invalid duration"
        elif not unit:
            problem = "missing unit in duration"
        elif unit not in _UNITS:
            problem = f'unknown unit "{unit}" in duration'
        else:
            seconds += float(number) * _UNITS[unit]
    if problem:
        raise errors.bad_request(f'invalid timeout specified in the request URL - time: {problem} "{text}"')
    return -seconds if text.startswith("-") else seconds
