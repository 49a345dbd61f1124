"""Impersonation: acting as somebody else, if authorization says so.

A user may hold the old right (verb impersonate on users, groups, serviceaccounts, which allows everything the other may
do), or the constrained one of KEP-5284: impersonate:MODE on the identity *and* impersonate-on:MODE:VERB on what is done
with it. The mode that last worked for a user is tried first, so that the common case costs what it did.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from pynetes.apiserver.authn.user import (
    ANONYMOUS,
    AUTHENTICATED,
    MASTERS,
    NODE_PREFIX,
    NODES,
    SERVICE_ACCOUNTS,
    UNAUTHENTICATED,
    User,
    service_account,
)
from pynetes.apiserver.authz.attributes import Attributes, Authorizer, forbidden
from pynetes.apiserver.http import Headers
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError

USER, GROUP, UID, EXTRA = "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-"
AUTHENTICATION = "authentication.k8s.io"
NODE_EXTRA = "authentication.kubernetes.io/node-name"
REMEMBERED = 4096


@dataclass(frozen=True)
class Wanted:
    """Who is to be impersonated, as the headers say."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def wanted(headers: Headers) -> Wanted | None:
    """Read the headers; None without any. Raises StatusError when other headers come without a user."""
    name, uid = headers.get(USER, ""), headers.get(UID, "")
    groups = tuple(headers.every(GROUP))
    extra = {
        unquote(header.removeprefix(EXTRA)): tuple(headers.every(header))
        for header in headers
        if header.startswith(EXTRA)
    }
    if not name:
        if uid or groups or extra:
            asked = f"groups {list(groups)}, extra {sorted(extra)}, uid {uid!r}"
            raise errors.internal(f"requested {asked} impersonation without impersonating a user")
        return None
    return Wanted(name, uid, groups, extra)


def strip(headers: Headers) -> None:
    """Nobody behind may read the headers a second time."""
    for header in [header for header in headers if header in (USER, GROUP, UID) or header.startswith(EXTRA)]:
        headers.replaced(header)


class Impersonation:
    """Decides over impersonation and builds the impersonated user."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer
        self._worked: dict[tuple[str, tuple[str, ...]], str] = {}

    async def user(self, who: Wanted, attributes: Attributes) -> User:
        """The user to go on with. `attributes` is the request as its real user makes it. Raises StatusError 403."""
        requestor = attributes.user
        key = requestor.name, requestor.groups
        modes = list(_modes(who, requestor))
        modes.sort(key=lambda mode: mode != self._worked.get(key))
        first: StatusError | None = None
        for mode in modes:
            try:
                await self._allowed(mode, who, attributes)
            except StatusError as error:
                first = first or error
                continue
            if len(self._worked) >= REMEMBERED:
                self._worked.clear()
            self._worked[key] = mode
            return _impersonated(who, requestor, mode)
        assert first is not None
        raise first

    async def _allowed(self, mode: str, who: Wanted, attributes: Attributes) -> None:
        if mode != LEGACY:
            await self._check(attributes._replace(verb=f"impersonate-on:{mode}:{attributes.verb}"))
        for question in _questions(mode, who, attributes.user):
            await self._check(question)

    async def _check(self, attributes: Attributes) -> None:
        decision = await self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)


LEGACY = "legacy"
NODE_MODES = ("associated-node", "arbitrary-node")


def _modes(who: Wanted, requestor: User) -> Iterator[str]:
    bare = not (who.groups or who.extra or who.uid)
    if who.name.startswith(NODE_PREFIX) and bare:
        if service_account(requestor) and requestor.extra.get(NODE_EXTRA) == (who.name.removeprefix(NODE_PREFIX),):
            yield "associated-node"
        yield "arbitrary-node"
    elif _account(who) and bare:
        yield "serviceaccount"
    elif not who.name.startswith(NODE_PREFIX) and not _account(who) and MASTERS not in who.groups:
        yield "user-info"
    yield LEGACY


def _account(who: Wanted) -> tuple[str, str] | None:
    return service_account(User(who.name))


def _questions(mode: str, who: Wanted, requestor: User) -> Iterator[Attributes]:
    legacy = mode == LEGACY
    verb = "impersonate" if legacy else f"impersonate:{mode}"
    group = "" if legacy else AUTHENTICATION

    def ask(resource: str, name: str, *, namespace: str = "", subresource: str = "", group: str = group) -> Attributes:
        return Attributes(
            user=requestor,
            verb=verb,
            group=group,
            version="v1",
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=name,
        )

    account = _account(who)
    if mode in NODE_MODES:
        name = who.name.removeprefix(NODE_PREFIX)
        yield ask("nodes", "*" if mode == "associated-node" else name)
    elif account:
        yield ask("serviceaccounts", account[1], namespace=account[0])
    else:
        yield ask("users", who.name)
    for name in who.groups:
        yield ask("groups", name)
    for key, values in who.extra.items():
        for value in values:
            yield ask("userextras", value, subresource=key, group=AUTHENTICATION)
    if who.uid:
        yield ask("uids", who.uid, group=AUTHENTICATION)


def _impersonated(who: Wanted, requestor: User, mode: str) -> User:
    groups = who.groups
    account = _account(who)
    if mode in NODE_MODES:
        groups = (NODES,)
    if account and not groups:
        groups = (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{account[0]}")
    if who.name == ANONYMOUS:
        if UNAUTHENTICATED not in groups:
            groups = (*groups, UNAUTHENTICATED)
    elif not {AUTHENTICATED, UNAUTHENTICATED} & set(groups):
        groups = (*groups, AUTHENTICATED)
    # What the impersonator may do ends with its own credential.
    return User(who.name, uid=who.uid, groups=groups, extra=who.extra, expires=requestor.expires)
