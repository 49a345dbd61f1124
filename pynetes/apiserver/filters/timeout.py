"""Ends a request that takes too long with 504; what a client asks for with ?timeout= may only be shorter."""

import asyncio
import re

from pynetes.apiserver.filters.inflight import is_long_running
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.machinery import errors

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


class Timeout:
    """Watches a deadline."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on, not for ever."""
        if is_long_running(request) or (request.info.verb == "get" and not request.query_string):
            # A plain GET waits for nothing but the store's revision, which has limits of its own, and is too short to
            # be worth a timer.
            response = await next(request)
            if request.repeat is not None:
                request.repeat.sign()
            return response
        seconds = self._seconds
        if request.query_string and (text := request.param("timeout")):
            seconds = min(seconds, duration(text) or seconds)
        async with asyncio.timeout(seconds):
            return await next(request)


def duration(text: str) -> float:
    """Seconds of a Go duration such as 1m30s. Raises StatusError 400."""
    parts = _PART.findall(text)
    if text != "0" and "".join(number + unit for number, unit in parts) != text:
        raise errors.bad_request(f'invalid timeout specified in the request URL: time: invalid duration "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
