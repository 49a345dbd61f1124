"""Writes audit events. Not part of the chain unless a policy is configured."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from typing import Protocol

from pynetes.apiserver.audit.event import Draft
from pynetes.apiserver.audit.policy import Level, Policy
from pynetes.apiserver.filters.inflight import is_long_running
from pynetes.apiserver.filters.recovery import timed_out
from pynetes.apiserver.http import Handler, Pieces, Request, Response, Takeover, Upgrade
from pynetes.component.clock import Clock
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError
from pynetes.storage.backend import Unavailable

_EVENTS = REGISTRY.counter(
    "apiserver_audit_event_total", "Counter of audit events generated and sent to the audit backend."
)
_LEVELS = REGISTRY.counter("apiserver_audit_level_total", "Counter of policy levels for audit events.", "level")


class Sink(Protocol):
    """Takes events: a log, a webhook."""

    def write(self, event: bytes) -> None:
        """One event as JSON. Does not block for long, never raises."""

    def close(self) -> None:
        """No more come."""


class Delivering(Protocol):
    """A sink that works in the background."""

    async def run(self) -> None:
        """For ever."""


class Audit:
    """Two links: `refused` around authentication, for those who are nobody; the other behind it, for all others."""

    def __init__(
        self, policy: Policy, sinks: tuple[Sink, ...], clock: Clock, *, delivering: tuple[Delivering, ...] = ()
    ) -> None:
        self._policy, self._sinks, self._clock = policy, sinks, clock
        #: Those of the sinks that somebody has to run.
        self.delivering = delivering

    def close(self) -> None:
        """The server ends."""
        for sink in self._sinks:
            sink.close()

    async def refused(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """An event for whoever showed credentials that nobody accepts."""
        at = self._clock.now()
        try:
            response = await next(request)
            if request.repeat is not None:
                request.repeat.sign()
            return response
        except StatusError as error:
            if error.code == 401 and request.user is None:
                draft = self._draft(request, at)
                if draft is not None:
                    draft.failed(error)
                    self._write(draft, "ResponseStarted")
            raise

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Events for all stages that the policy wants."""
        draft = self._draft(request, self._clock.now())
        if draft is None:
            response = await next(request)
            if request.repeat is not None:
                # The policy is what it is for as long as the server runs.
                request.repeat.sign(count=_unwritten)
            return response
        self._write(draft, "RequestReceived")
        user, request.annotations = request.user, {}
        try:
            response = await next(request)
        except BaseException as error:
            stage = _failed(draft, request, error)
            self._finish(draft, request, user, stage)
            raise
        draft.answered(response)
        lasting = _lasting(response, lambda: self._write(draft, "ResponseComplete"))
        self._finish(draft, request, user, "ResponseStarted" if lasting else "ResponseComplete")
        return response

    def _draft(self, request: Request, at: datetime) -> Draft | None:
        wanted = self._policy.decide(request.user, request.info)
        _LEVELS.inc("None" if wanted.level is Level.None_ else wanted.level.name)
        return None if wanted.level is Level.None_ else Draft(request, wanted, at)

    def _finish(self, draft: Draft, request: Request, user: object, stage: str) -> None:
        if request.user is not user and request.user is not None:
            draft.impersonated(request.user)
        draft.decided(request)
        if stage == "ResponseComplete" and is_long_running(request):
            self._write(draft, "ResponseStarted")
        self._write(draft, stage)

    def _write(self, draft: Draft, stage: str) -> None:
        if stage in draft.wanted.omitted:
            return
        _EVENTS.inc()
        line = draft.at_stage(stage, self._clock.now())
        for sink in self._sinks:
            sink.write(line)


def _unwritten(seconds: float, size: int) -> None:
    _LEVELS.inc("None")


def _failed(draft: Draft, request: Request, error: BaseException) -> str:
    """What the client will be told, as recovery.py will do it; the stage this is."""
    if isinstance(error, StatusError):
        draft.failed(error)
    elif isinstance(error, Unavailable):
        draft.failed(errors.unavailable("the store is unavailable"))
    elif isinstance(error, TimeoutError):
        draft.failed(timed_out(request))
    elif isinstance(error, Exception):
        draft.status(500, f"APIServer panic'd: {type(error).__name__}")
        return "Panic"
    else:
        # The client has gone; nobody was told anything.
        draft.status(499, "the request was cancelled")
    return "ResponseComplete"


def _lasting(response: Response, done: Callable[[], None]) -> bool:
    """Whether the answer goes on after its headers; then `done` is called at its end."""
    if isinstance(response, Upgrade):
        if response.take is not None:
            response.take = _taking(response.take, done)
        return response.take is not None
    if isinstance(response.body, (bytes, Pieces)):
        return False
    response.body = _streaming(response.body, done)
    return True


def _taking(take: Takeover, done: Callable[[], None]) -> Takeover:
    async def taken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await take(reader, writer)
        finally:
            done()

    return taken


async def _streaming(body: AsyncIterator[bytes], done: Callable[[], None]) -> AsyncIterator[bytes]:
    try:
        async for chunk in body:
            yield chunk
    finally:
        close = getattr(body, "aclose", None)
        if close is not None:
            with suppress(RuntimeError):
                await close()
        done()
