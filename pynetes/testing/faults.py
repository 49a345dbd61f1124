"""Faults of the API, on purpose: answers with errors, delays and watches that break, for some users and requests.

    cluster.faults.add(user="system:serviceaccount:*:my-operator", verb="update", resource="pods", status=409, times=2)
    cluster.faults.add(verb="list", delay=30)

A fault strikes after authentication and authorization, so it can tell users apart. Patterns are those of shells.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from pynetes.apiserver.http import Handler, Request, Response
from pynetes.component.clock import Clock
from pynetes.machinery import errors
from pynetes.machinery.errors import REASONS, StatusError


@dataclass(kw_only=True)
class Fault:
    """Whom it strikes (everything must match), and how."""

    user: str = "*"
    #: get, list, watch, create, update, patch, delete, deletecollection.
    verb: str = "*"
    #: pods, or pods/status.
    resource: str = "*"
    namespace: str = "*"
    name: str = "*"
    #: The answer's code; 0 lets the request go on, after the delay.
    status: int = 0
    message: str = "a fault of the test"
    #: Seconds of the cluster's clock before anything happens.
    delay: float = 0.0
    #: How many requests it lets pass first, and how many it then strikes; None is all of them.
    after: int = 0
    times: int | None = None
    #: How many requests it has struck.
    struck: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a status that no API server answers with."""
        if self.status and self.status not in REASONS:
            raise ValueError(f"status {self.status}: one of {', '.join(map(str, REASONS))}")

    def strikes(self, request: Request) -> bool:
        """Whether it is this request's turn; counts it."""
        if not self._matches(request) or (self.times is not None and self.struck >= self.times):
            return False
        if self.after:
            self.after -= 1
            return False
        self.struck += 1
        return True

    def _matches(self, request: Request) -> bool:
        info = request.info
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        pairs = (
            (info.verb, self.verb),
            (resource, self.resource),
            (info.namespace, self.namespace),
            (info.name, self.name),
            (request.user.name if request.user else "", self.user),
        )
        return info.is_resource_request and all(fnmatchcase(value, pattern) for value, pattern in pairs)

    def error(self) -> StatusError:
        """What the client gets."""
        return errors.failure(self.status, REASONS[self.status], self.message)


class Faults:
    """All faults of a cluster; a filter of its API server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: list[Fault] = []

    def add(self, fault: Fault | None = None, **wanted: object) -> Fault:
        """Begin; wanted are Fault's fields. The fault tells how often it has struck."""
        made = fault or Fault(**wanted)  # type: ignore[arg-type] # checked by the dataclass's own signature
        self._faults.append(made)
        return made

    def remove(self, fault: Fault) -> None:
        """End one."""
        self._faults.remove(fault)

    def clear(self) -> None:
        """End all of them."""
        self._faults.clear()

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Strike or let pass."""
        for fault in tuple(self._faults):
            if fault.strikes(request):
                if fault.delay:
                    await self._clock.sleep(fault.delay)
                if fault.status:
                    raise fault.error()
        return await next(request)
