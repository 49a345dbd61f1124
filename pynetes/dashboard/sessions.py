"""Who is logged in. The browser holds a random number; what proves the person's identity stays in this process.

Nothing is written anywhere: a restart logs everybody out, and whoever copies the pod's disk finds nothing.
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pynetes.component.clock import Clock
from pynetes.dashboard.upstream import Upstream
from pynetes.machinery.meta import Object

#: With this prefix a browser takes the cookie over HTTPS only, for this very host and for all of it.
COOKIE = "__Host-pynetes"
#: More people at once than this cannot log in: what one process holds is bounded.
MOST = 1000
#: Of one person's open pages.
MOST_PAGES = 32


@dataclass(eq=False)
class Session:
    """One logged-in browser."""

    upstream: Upstream
    #: UserInfo, as the API server sees this person.
    user: Object
    began: float
    used: float
    #: Sent with every write by a header, which another site's page can neither read nor send.
    guard: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    #: How the pages that are open are closed; while there is one, the session is in use.
    pages: set[Callable[[], Awaitable[object]]] = field(default_factory=set)

    def guarded_by(self, given: str) -> bool:
        """Whether a write comes from our own page."""
        return hmac.compare_digest(self.guard.encode(), given.encode())


class Sessions:
    """All sessions. idle and longest are seconds."""

    def __init__(self, clock: Clock, *, idle: float, longest: float) -> None:
        self._clock, self.idle, self.longest = clock, idle, longest
        self._open: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def find(self, number: str) -> Session | None:
        """The session of a cookie, if it has not expired."""
        session = self._open.get(number)
        if session is None or self._expired(session):
            return None
        session.used = self._clock.monotonic()
        return session

    async def begin(self, upstream: Upstream, user: Object) -> tuple[str, Session] | None:
        """A new session and its number; None when there are too many."""
        await self.sweep()
        if len(self._open) >= MOST:
            return None
        now = self._clock.monotonic()
        number, session = secrets.token_urlsafe(32), Session(upstream, user, now, now)
        self._open[number] = session
        return number, session

    async def end(self, number: str) -> None:
        """Log out: pages are closed, and what proved the identity is forgotten."""
        session = self._open.pop(number, None)
        if session is not None:
            for close in tuple(session.pages):
                await close()
            await session.upstream.close()

    async def sweep(self) -> None:
        """End what has expired."""
        for number in [number for number, session in self._open.items() if self._expired(session)]:
            await self.end(number)

    async def close(self) -> None:
        """End all."""
        for number in tuple(self._open):
            await self.end(number)

    def _expired(self, session: Session) -> bool:
        now = self._clock.monotonic()
        return now - session.began > self.longest or (not session.pages and now - session.used > self.idle)
