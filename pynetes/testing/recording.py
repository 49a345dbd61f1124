"""Every request that reached the cluster's API, for tests to assert on: who, what, how it ended.

made = cluster.recording.requests(user="*my-operator", verb="create", resource="pods")
assert [request.body["metadata"]["name"] for request in made] == ["one", "two"]
"""

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase

import orjson

from pynetes.apiserver.http import Handler, Request, Response
from pynetes.component.clock import Clock
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Object

#: Older ones are forgotten.
MOST = 100_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request."""

    at: datetime
    user: str
    verb: str
    #: Plural, with the subresource behind a slash.
    resource: str
    api_group: str
    namespace: str
    name: str
    #: HTTP status of the answer.
    status: int
    content_type: str
    _body: bytes

    @property
    def body(self) -> Object:
        """What was sent, parsed. Raises ValueError unless it was JSON."""
        parsed: Object = orjson.loads(self._body)
        return parsed


class Recording:
    """Requests for resources, in the order of their answers; a filter of the API server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._requests: deque[Recorded] = deque(maxlen=MOST)

    def requests(
        self, *, user: str = "*", verb: str = "*", resource: str = "*", namespace: str = "*", name: str = "*"
    ) -> list[Recorded]:
        """Those that match all patterns (as shells have them)."""

        def wanted(item: Recorded) -> bool:
            pairs = ((item.user, user), (item.verb, verb), (item.resource, resource), (item.namespace, namespace))
            return all(fnmatchcase(value, pattern) for value, pattern in (*pairs, (item.name, name)))

        return list(filter(wanted, self._requests))

    def clear(self) -> None:
        """Forget all: what counts begins now."""
        self._requests.clear()

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Note the request once it is answered."""
        try:
            response = await next(request)
        except StatusError as error:
            self._note(request, error.code)
            raise
        self._note(request, response.status)
        return response

    def _note(self, request: Request, status: int) -> None:
        info = request.info
        if not info.is_resource_request:
            return
        item = Recorded(
            at=self._clock.now(),
            user=request.user.name if request.user else "",
            verb=info.verb,
            resource=f"{info.resource}/{info.subresource}" if info.subresource else info.resource,
            api_group=info.api_group,
            namespace=info.namespace,
            name=info.name,
            status=status,
            content_type=request.headers.get("content-type", ""),
            _body=request.body,
        )
        self._requests.append(item)
