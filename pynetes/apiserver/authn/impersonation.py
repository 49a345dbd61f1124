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
from pynetes.machinery import errors, go_print, names
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
            raise errors.bad_request(f"requested {_printed(uid, groups, extra)} without impersonating a user name")
        return None
    return Wanted(name, uid, groups, extra)


def _printed(uid: str, groups: tuple[str, ...], extra: Mapping[str, tuple[str, ...]]) -> str:
    """As Go prints the user that upstream makes of the headers."""

    def texts(values: tuple[str, ...]) -> str:
        return f"[]string{{{', '.join(map(go_print.syntax, values))}}}" if values else "[]string(nil)"

    members = ", ".join(f"{go_print.syntax(key)}:{texts(extra[key])}" for key in sorted(extra))
    shown = f"map[string][]string{{{members}}}" if extra else "map[string][]string(nil)"
    return f'&user.DefaultInfo{{Name:"", UID:{go_print.syntax(uid)}, Groups:{texts(groups)}, Extra:{shown}}}'


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
        questions = Questions(mode, attributes.user)
        await self._check(questions.name(who))
        if who.uid:
            await self._check(questions.ask("uids", who.uid, group=AUTHENTICATION))
        await self._all(questions.groups(who), questions, many=len(who.groups) >= MANY)
        values = sum(map(len, who.extra.values()))
        await self._all(questions.extras(who), questions, many=max(len(who.extra), values) >= MANY)

    async def _all(self, asked: list[Attributes], questions: "Questions", *, many: bool) -> None:
        """Every one of them, or at once all there may be, where there are many."""
        if many and questions.mode != LEGACY:
            every = asked[0]._replace(name="*", subresource="*" if asked[0].subresource else "")
            if (await self._authorizer.authorize(every)).allowed:
                return
        for question in asked:
            await self._check(question)

    async def _check(self, attributes: Attributes) -> None:
        decision = await self._authorizer.authorize(attributes)
        if not decision.allowed:
            raise forbidden(attributes, decision.reason)


LEGACY = "legacy"
NODE_MODES = ("associated-node", "arbitrary-node")


#: From so many groups or extras on, whether all of them are allowed is asked first.
MANY = 4


def _modes(who: Wanted, requestor: User) -> Iterator[str]:
    bare = not (who.groups or who.extra or who.uid)
    if node := _node(who):
        if bare and service_account(requestor) and requestor.extra.get(NODE_EXTRA) == (node,):
            yield "associated-node"
        if bare:
            yield "arbitrary-node"
    elif _account(who):
        if bare:
            yield "serviceaccount"
    else:
        yield "user-info"
    yield LEGACY


def _account(who: Wanted) -> tuple[str, str] | None:
    return service_account(User(who.name))


def _node(who: Wanted) -> str:
    """The node whose kubelet it is."""
    name = who.name.removeprefix(NODE_PREFIX)
    return name if name != who.name and not names.dns_subdomain(name) else ""


@dataclass(frozen=True, slots=True)
class Questions:
    """What has to be allowed before somebody acts as somebody else."""

    mode: str
    requestor: User

    def name(self, who: Wanted) -> Attributes:
        """The user itself."""
        if self.mode in NODE_MODES:
            return self.ask("nodes", "*" if self.mode == "associated-node" else _node(who))
        if account := _account(who):
            return self.ask("serviceaccounts", account[1], namespace=account[0])
        return self.ask("users", who.name)

    def groups(self, who: Wanted) -> list[Attributes]:
        """Each group. Raises StatusError 403 for what no constrained mode allows."""
        if self.mode != LEGACY and "" in who.groups:
            raise forbidden(self.ask("groups", ""), "impersonating the empty string group is not allowed")
        if self.mode != LEGACY and MASTERS in who.groups:
            raise forbidden(self.ask("groups", MASTERS), "impersonating the system:masters group is not allowed")
        return [self.ask("groups", name) for name in who.groups]

    def extras(self, who: Wanted) -> list[Attributes]:
        """Each value of each extra. Raises StatusError 403 for what no constrained mode allows."""
        if self.mode != LEGACY:
            if "" in who.extra:
                text = "impersonating the empty string key in extra is not allowed"
                raise forbidden(self.ask("userextras", ""), text)
            if any("" in values for values in who.extra.values()):
                text = "impersonating the empty string value in extra is not allowed"
                raise forbidden(self.ask("userextras", ""), text)
        pairs = ((key, value) for key, values in who.extra.items() for value in values)
        return [self.ask("userextras", value, subresource=key) for key, value in pairs]

    def ask(
        self, resource: str, name: str, *, namespace: str = "", subresource: str = "", group: str | None = None
    ) -> Attributes:
        """One question; of the group that the mode has for it."""
        legacy = self.mode == LEGACY
        own = "" if legacy and resource != "userextras" else AUTHENTICATION
        return Attributes(
            user=self.requestor,
            verb="impersonate" if legacy else f"impersonate:{self.mode}",
            group=own if group is None else group,
            version="v1",
            resource=resource,
            subresource=subresource,
            namespace=namespace,
            name=name,
        )


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
