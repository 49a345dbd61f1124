"""The shapes of what is registered here."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from pynetes.apiserver.admission.attributes import Attributes
from pynetes.apiserver.authn.user import User
from pynetes.apiserver.objects import Context
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to a subresource or a review: authenticated, authorized and decoded; the handler admits.

    For PATCH the caller has applied the patch to what `get` answers, so that handlers know create, update and get only.
    """

    user: User
    #: create, update or get.
    verb: str
    resource: Resource
    subresource: str = ""
    key: Key
    #: Decoded, defaulted, and the handler's own.
    body: Object = field(default_factory=dict)
    dry_run: bool = False
    #: The query, first value of each parameter.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Runs the admission chain over what the handler is about to write (mutating, then validating).
    admit: Callable[[Attributes], Awaitable[None]]
    warnings: list[str] = field(default_factory=list)
    #: Who writes, as managedFields name it.
    manager: str = "unknown"


class Answer(NamedTuple):
    """HTTP status and body; and the revision that a write led to, where the body is not what was written."""

    code: int
    body: Object
    revision: int = 0


Handler: TypeAlias = Callable[[Context, Call], Awaitable[Answer]]


class Allocation(Protocol):
    """What a strategy holds while the object is being written."""

    async def release(self) -> None:
        """The write failed, or is about to be tried again on a newer object: give everything back."""

    async def done(self) -> None:
        """The object is stored, or would have been if this were no dry run."""


class Strategy(Protocol):
    """Surrounds the generic create, update and delete of one resource with I/O."""

    async def before(self, ctx: Context, attributes: Attributes) -> Allocation | None:
        """After mutating admission; before validation of what is created, after that of an update (on each retry).

        May allocate and fill in attributes.obj, or raise StatusError. On a dry run nothing may outlive the request."""

    async def after(self, ctx: Context, attributes: Attributes) -> None:
        """The write is stored (or, for DELETE, `old` is really gone): release what is no longer held."""


#: What creating a Binding or an Eviction answers.
SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
