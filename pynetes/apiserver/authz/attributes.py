"""The question every authorizer answers, and the answer."""

import enum
from typing import NamedTuple, Protocol

from pynetes.apiserver.authn.user import User
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError


class Attributes(NamedTuple):
    """A request reduced to what decides over it. `path` is set for non-resource requests, whose verb is the method.

    Given by keyword; a tuple because every request has one."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    #: For list and watch, the name that a metadata.name field selector asks for.
    name: str = ""
    path: str = ""
    #: What a list or watch is limited to, as the client wrote it.
    field_selector: str = ""
    label_selector: str = ""

    @property
    def full_resource(self) -> str:
        """pods, pods/log."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


class Verdict(enum.Enum):
    """No opinion leaves the question to the next authorizer; nobody's opinion means no."""

    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


class Decision(NamedTuple):
    """The verdict, and why, as the audit log and access reviews show it."""

    verdict: Verdict
    reason: str = ""

    @property
    def allowed(self) -> bool:
        """Whether the request may go on."""
        return self.verdict is Verdict.ALLOW


NO_OPINION = Decision(Verdict.NO_OPINION)


class Authorizer(Protocol):
    """Decides. Must not block: it runs for every request."""

    async def authorize(self, attributes: Attributes) -> Decision:
        """Answer without side effects."""


class Deciding(Authorizer, Protocol):
    """All authorizers of a server together."""

    def unlisted(self, user: User) -> list[str]:
        """Why a list of the user's rights is not all of them; empty when it is."""


def forbidden(attributes: Attributes, reason: str = "") -> StatusError:
    """The 403 as upstream words it."""
    detail = f'User "{attributes.user.name}" cannot {attributes.verb}'
    suffix = f": {reason}" if reason else ""
    if not attributes.resource:
        message = "forbidden: " + _safe(f'{detail} path "{attributes.path}"') + suffix
        error = errors.failure(403, "Forbidden", message)
        error.status["details"] = {}
        return error
    scope = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    detail = _safe(f'{detail} resource "{attributes.full_resource}" in API group "{attributes.group}" {scope}')
    return errors.forbidden(attributes.resource, attributes.group, attributes.name, f"{detail}{suffix}")


def _safe(text: str) -> str:
    """Names that clients choose, in a text that a browser may take for HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
