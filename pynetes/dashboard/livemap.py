"""The live map for a viewer: who may look, and what is sent.

It names objects of every namespace, and identities. So it takes a right of its own, `get` on the URL /pynetes/paths,
which is asked of the API server as the viewer, at the beginning and again while somebody looks.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict

from aiohttp import web

from pynetes.component.clock import Clock
from pynetes.dashboard.sessions import Session
from pynetes.dashboard.traffic import Traffic
from pynetes.dashboard.upstream import Upstream
from pynetes.machinery.errors import failure
from pynetes.machinery.meta import Object
from pynetes.paths import registry

URL = "/pynetes/paths"
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
#: Seconds after which it is asked again whether somebody may still look.
AGAIN = 60.0
SERVER = "API server"


async def require(upstream: Upstream) -> None:
    """Raise StatusError (403) unless the viewer may look at the map."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"nonResourceAttributes": {"path": URL, "verb": "get"}},
    }
    answer = await upstream.json("POST", REVIEW, review)
    if not answer["status"].get("allowed"):
        raise failure(
            403,
            "Forbidden",
            f'the live map shows objects of all namespaces: it takes the right to get the URL "{URL}", which the'
            " ClusterRole system:pynetes-paths-viewer has",
        )


class LiveMap:
    """The map's routes and its stream."""

    def __init__(self, traffic: Traffic | None, clock: Clock) -> None:
        self._traffic, self._clock = traffic, clock

    async def _for(self, session: Session) -> Traffic:
        await require(session.upstream)
        if self._traffic is None:
            raise failure(
                404, "NotFound", "this dashboard was started without --paths-dir, so it sees no components' sockets"
            )
        return self._traffic

    async def stream(self, session: Session) -> AsyncIterator[Object]:
        """Everything, then ticks. Raises StatusError."""
        traffic = await self._for(session)
        asked = self._clock.monotonic()
        following = traffic.follow()
        try:
            async for message in following:
                if self._clock.monotonic() - asked > AGAIN:
                    await require(session.upstream)
                    asked = self._clock.monotonic()
                yield message
        finally:
            await following.aclose()

    async def detail(self, session: Session, request: web.Request) -> web.StreamResponse:
        """One path: identities, certificates, rule, newest interactions."""
        traffic = await self._for(session)
        path = registry.find(request.match_info["label"])
        if path is None:
            raise failure(404, "NotFound", "paths are numbered 1 to 29; mtls is the one to etcd")
        # The mTLS to etcd is that of the calls to it.
        number = path.number or 4
        found = await traffic.detail(number)
        if path.target == SERVER and (certificate := session.upstream.certificate):
            for identity in found["identities"]:
                identity["server"] = identity["server"] or asdict(certificate)
        return web.json_response(found | {"path": path._asdict()})

    async def story(self, session: Session, request: web.Request) -> web.StreamResponse:
        """The causal story of ?object=pods default/web."""
        traffic = await self._for(session)
        return web.json_response({"story": await traffic.story(request.query.get("object", ""))})
