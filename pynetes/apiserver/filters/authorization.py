"""Asks the authorizers whether the user may do what the request line says; 403 otherwise."""

from time import perf_counter

from pynetes.apiserver.authz.attributes import Attributes, Authorizer, Verdict, forbidden
from pynetes.apiserver.filters.observation import FILTER_SECONDS
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.apiserver.repeat import at_once
from pynetes.component.metrics import REGISTRY, exponential

_ATTEMPTS = REGISTRY.counter(
    "authorization_attempts_total", "Counter of authorization attempts broken down by result.", "result"
)
_SECONDS = REGISTRY.histogram(
    "authorization_duration_seconds",
    "Authorization duration in seconds broken out by result.",
    "result",
    buckets=exponential(0.001, 2, 15),
)
_RESULTS = {Verdict.ALLOW: "allowed", Verdict.DENY: "denied", Verdict.NO_OPINION: "no-opinion"}
_FILTER = FILTER_SECONDS.labels("authorization")
_BY_RESULT = {result: (_ATTEMPTS.labels(result), _SECONDS.labels(result)) for result in (*_RESULTS.values(), "error")}


class Authorize:
    """Nothing that reads or writes an object runs before this."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on if allowed."""
        attributes = attributes_of(request)
        began, result = perf_counter(), "error"
        try:
            decision = await self._authorizer.authorize(attributes)
            result = _RESULTS[decision.verdict]
        finally:
            attempts, seconds = _BY_RESULT[result]
            attempts.inc()
            took = perf_counter() - began
            seconds.observe(took)
            _FILTER.observe(took)
        if request.annotations is not None:
            request.annotations["authorization.k8s.io/decision"] = "allow" if decision.allowed else "forbid"
            request.annotations["authorization.k8s.io/reason"] = decision.reason
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)
        request.rule = decision.reason
        response = await next(request)
        if request.repeat is not None:
            authorize = self._authorizer.authorize
            request.repeat.sign(count=_counted, lasting=lambda: at_once(authorize(attributes)) == decision)
        return response


def _counted(seconds: float, size: int) -> None:
    """The same read again, whose answer was known."""
    attempts, spent = _BY_RESULT["allowed"]
    attempts.inc()
    spent.observe(0.0)
    _FILTER.observe(0.0)


async def require(authorizer: Authorizer, request: Request, verb: str) -> None:
    """The request does more than its line says: ask about that too. Raises StatusError 403."""
    asked = attributes_of(request)._replace(verb=verb)
    decision = await authorizer.authorize(asked)
    if not decision.allowed:
        raise forbidden(asked, decision.reason)


def attributes_of(request: Request) -> Attributes:
    """The question a request puts."""
    info = request.info
    assert request.user is not None
    if not info.is_resource_request:
        return Attributes(user=request.user, verb=info.verb, path=info.path)
    return Attributes(
        user=request.user,
        verb=info.verb,
        group=info.api_group,
        version=info.api_version,
        resource=info.resource,
        subresource=info.subresource,
        namespace=info.namespace,
        name=info.name,
        field_selector=info.field_selector,
        label_selector=info.label_selector,
    )
