"""Sets request.user, or answers 401."""

from time import perf_counter

from pynetes.apiserver.authn.union import Authentication
from pynetes.apiserver.filters.observation import FILTER_SECONDS
from pynetes.apiserver.http import Handler, Request, Response
from pynetes.component.metrics import REGISTRY, exponential
from pynetes.machinery.errors import StatusError

_USERS = REGISTRY.counter(
    "authenticated_user_requests", "Counter of authenticated requests broken out by username.", "username"
)
_ATTEMPTS = REGISTRY.counter("authentication_attempts", "Counter of authenticated attempts.", "result")
_SECONDS = REGISTRY.histogram(
    "authentication_duration_seconds",
    "Authentication duration in seconds broken out by result.",
    "result",
    buckets=exponential(0.001, 2, 15),
)
_FILTER = FILTER_SECONDS.labels("authentication")
_BY_RESULT = {result: (_ATTEMPTS.labels(result), _SECONDS.labels(result)) for result in ("success", "failure", "error")}
#: Users who get a sample of their own, as upstream chose them; no other name may make one.
_NAMED = frozenset({"admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default"})


class Authenticate:
    """Asks the authenticators."""

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on as somebody."""
        began, result = perf_counter(), "error"
        try:
            request.user = user = await self._authentication.authenticate(request)
            result = "success"
        except StatusError:
            result = "failure"
            raise
        finally:
            attempts, seconds = _BY_RESULT[result]
            attempts.inc()
            took = perf_counter() - began
            seconds.observe(took)
            _FILTER.observe(took)
        users = _USERS.labels(user.name if user.name in _NAMED else "email_id" if "@" in user.name else "other")
        users.inc()
        response = await next(request)
        if request.repeat is not None and (proof := request.proof) is not None:

            def counted(seconds: float, size: int) -> None:
                attempts, spent = _BY_RESULT["success"]
                attempts.inc()
                spent.observe(0.0)
                _FILTER.observe(0.0)
                users.inc()

            request.repeat.sign(count=counted, lasting=proof)
        return response
