"""Hands requests to aggregated API servers on, in the user's name; everything else goes to the server's own verbs.

It stands inside authentication and authorization: whoever may not read a kind here does not get to ask there either.
"""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import quote

from pynetes.apiserver.aggregator.availability import Availability, sorted_versions
from pynetes.apiserver.aggregator.remotes import Absent, GroupVersion, Remotes
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.config import Config
from pynetes.apiserver.endpoints.proxy import relay
from pynetes.apiserver.http import Handler, Request, Response, text_response
from pynetes.apiserver.objects import Objects
from pynetes.component.clock import Clock
from pynetes.machinery.meta import Object


class Aggregator:
    """Made once by app.build; implements discovery.Elsewhere."""

    def __init__(self, objects: Objects, config: Config, clock: Clock) -> None:
        self._woken = asyncio.Event()
        self._at_home = config.aggregator_reject_forwarding_redirect
        self._remotes = Remotes(objects, config, self._woken.set)
        self._availability = Availability(self._remotes, objects, clock, self._woken)

    async def follow(self) -> None:
        """Keep the conditions true until cancelled; the cache must be filled."""
        await self._availability.follow()

    def over(self, own: Handler) -> Handler:
        """The handler that asks the right server."""

        async def handle(request: Request) -> Response:
            parts = request.path.split("/", 4) if request.path.startswith("/apis/") else ()
            about = GroupVersion(parts[2], parts[3]) if len(parts) > 3 else None
            if about is None or about not in self._remotes.services:
                response = await own(request)
                if request.repeat is not None:
                    request.repeat.sign(lasting=lambda: about not in self._remotes.services)
                return response
            return await self._hand_on(request, about, self._remotes.services[about])

        return handle

    async def _hand_on(self, request: Request, about: GroupVersion, service: Object) -> Response:
        if not self._availability.available.get(about):
            return _unavailable()
        try:
            target = self._remotes.target(service)
        except Absent:
            return _unavailable()
        assert request.user is not None
        answer = await relay(target, request, quote(request.path), identity(request.user))
        return await _refused(answer) if self._at_home and _redirects(answer) else answer

    @property
    def revision(self) -> int:
        """Moves whenever discovery would show something else."""
        return self._remotes.revision + self._availability.revision

    def groups(self) -> dict[str, list[str]]:
        """Groups and their versions, preferred first."""
        found: dict[str, list[str]] = {}
        for each in sorted_versions(self._remotes.services, self._remotes.services):
            found.setdefault(each.group, []).append(each.version)
        return found

    def rows(self, group: str, version: str) -> list[Object]:
        """The last known APIResource rows of a group version."""
        return self._availability.resources.get(GroupVersion(group, version), [])

    def is_fresh(self, group: str, version: str) -> bool:
        """Whether its server answers now."""
        return self._availability.available.get(GroupVersion(group, version), False)


def _redirects(answer: Response) -> bool:
    return 300 <= answer.status < 400 and any(name.lower() == "location" for name, _ in answer.headers)


async def _refused(answer: Response) -> Response:
    """A client would go on to the place with its credentials for this server."""
    if isinstance(answer.body, AsyncGenerator):
        await answer.body.aclose()
    return text_response("the backend attempted to redirect this request, which is not permitted", 502)


def _unavailable() -> Response:
    return text_response("service unavailable\n", 503)


def identity(user: User) -> list[tuple[str, str]]:
    """The headers that name the user; they count because of the certificate they come with."""
    headers = [("X-Remote-User", user.name)]
    if user.uid:
        headers.append(("X-Remote-Uid", user.uid))
    headers += [("X-Remote-Group", group) for group in user.groups]
    for name, values in user.extra.items():
        headers += [(f"X-Remote-Extra-{quote(name, safe='')}", value) for value in values]
    return headers
