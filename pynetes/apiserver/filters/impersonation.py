"""Lets a request be made in another user's name, where authorization allows it."""

from pynetes.apiserver.authn import impersonation
from pynetes.apiserver.authz.attributes import Authorizer
from pynetes.apiserver.filters.authorization import attributes_of
from pynetes.apiserver.http import Handler, Request, Response


class Impersonate:
    """Replaces request.user."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._impersonation = impersonation.Impersonation(authorizer)

    async def __call__(self, request: Request, next: Handler) -> Response:  # noqa: A002 (the chain's word)
        """Go on as the impersonated user, if there is one."""
        if any(name.startswith("impersonate-") for name in request.headers):
            wanted = impersonation.wanted(request.headers)
            if wanted is not None:
                request.user = await self._impersonation.user(wanted, attributes_of(request))
                impersonation.strip(request.headers)
            return await next(request)
        response = await next(request)
        if request.repeat is not None:
            request.repeat.sign()
        return response
