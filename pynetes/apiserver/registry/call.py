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
    #: A copy that belongs to the handler.
    body: Object = field(default_factory=dict)
    dry_run: bool = False
    #: The query, first value of each parameter.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: Runs the admission chain over what the handler is about to write (mutating, then validating).
    admit: Callable[[Attributes], Awaitable[None]]
    warnings: list[str] = field(default_factory=list)


class Answer(NamedTuple):
    """HTTP status and body."""

    code: int
    body: Object


Handler: TypeAlias = Callable[[Context, Call], Awaitable[Answer]]


class Allocation(Protocol):
    """What a strategy holds while the object is being written."""

    async def release(self) -> None:
        """The write failed: give everything back."""


class Strategy(Protocol):
    """Surrounds the generic verbs of one resource with I/O. Called after mutating admission, before validation."""

    async def before_create(self, ctx: Context, obj: Object, *, dry_run: bool) -> Allocation | None:
        """Allocate and fill in, in place. Raises StatusError."""

    async def before_update(self, ctx: Context, new: Object, old: Object, *, dry_run: bool) -> Allocation | None:
        """The same for what an update newly asks for."""

    async def after_update(self, ctx: Context, new: Object, old: Object) -> None:
        """Release what the stored update no longer holds."""

    async def after_delete(self, ctx: Context, obj: Object) -> None:
        """Release everything."""
