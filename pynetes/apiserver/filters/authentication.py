"""Sets request.user, or answers 401."""

from pynetes.apiserver.authn.union import Authentication
from pynetes.apiserver.http import Handler, Request, Response


class Authenticate:
    """Asks the authenticators."""

    def __init__(self, authentication: Authentication) -> None:
        self._authentication = authentication

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on as somebody."""
        request.user = await self._authentication.authenticate(request)
        return await next(request)
