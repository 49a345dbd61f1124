"""What admission plugins see of a request, and the shape they all have."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from pynetes.apiserver.authn.user import User
from pynetes.apiserver.objects import Context
from pynetes.machinery import errors
from pynetes.machinery.errors import StatusError
from pynetes.machinery.meta import Key, Object
from pynetes.machinery.resource import Resource

Kinds: TypeAlias = Set[tuple[str, str]]
CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"


@dataclass
class Memory:
    """What a plugin that runs users' rules (mutating webhooks, mutating policies) keeps for a second run."""

    #: The rules that may be called once more, and those that must be.
    called: set[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    #: The object as the plugin left it.
    left: bytes = b""


@dataclass
class Again:
    """All that changes objects runs a second time once one of the users' rules has changed something."""

    wanted: bool = False
    running: bool = False
    memories: dict[str, Memory] = field(default_factory=dict)

    def begin(self, plugin: str, seen: bytes) -> Memory:
        """A run of the plugin begins. What others have made of the object since its last one is for all its rules."""
        memory = self.memories.setdefault(plugin, Memory())
        if self.running and memory.left != seen:
            memory.due |= memory.called
        return memory

    def skips(self, memory: Memory, rule: str) -> bool:
        """Whether a rule has nothing to do in this run."""
        return self.running and rule not in memory.due

    def ran(self, memory: Memory, rule: str, *, changed: bool, policy: str | None) -> None:
        """A rule has been called, which may be called once more if its policy says so."""
        if changed:
            memory.due |= memory.called
            self.wanted = True
        if policy == "IfNeeded":
            memory.called.add(rule)


@dataclass(kw_only=True)
class Attributes:
    """One write (or CONNECT) on its way to storage. `obj` is the caller's own copy: plugins change it in place."""

    user: User
    operation: str
    resource: Resource
    namespace: str = ""
    #: Empty on a create whose name is still to be generated.
    name: str = ""
    subresource: str = ""
    #: Of the API that the request speaks; "" means the resource's preferred one.
    version: str = ""
    #: None on DELETE. For a subresource with a body of its own kind (Binding, Eviction, TokenRequest), that body.
    obj: Object | None = None
    #: None on CREATE.
    old: Object | None = None
    dry_run: bool = False
    #: The request's CreateOptions, UpdateOptions, DeleteOptions.
    options: Mapping[str, Any] = field(default_factory=dict)
    #: The request as it came, where this is what an equivalent resource would have had.
    requested: "Attributes | None" = None
    #: Texts for the Warning header.
    warnings: list[str] = field(default_factory=list)
    #: For the audit log: what plugins found, under their keys.
    annotations: dict[str, str] = field(default_factory=dict)
    again: Again | None = None

    @property
    def key(self) -> Key:
        """Of the object; its name may be empty."""
        return Key(self.namespace, self.name)

    def on(self, group: str, plural: str, *operations: str, subresource: str = "") -> bool:
        """Whether this is one of these operations on this resource."""
        here = self.resource.plural == plural and self.resource.group == group and self.subresource == subresource
        return here and (not operations or self.operation in operations)

    def forbidden(self, detail: str) -> StatusError:
        """403 about the object."""
        name = self.name or ((self.obj or {}).get("metadata") or {}).get("name") or ""
        return errors.forbidden(self.resource.plural, self.resource.group, name, detail)


class Plugin(Protocol):
    """A policy. It may change `attributes.obj` in admit, and must not in validate; either may raise StatusError."""

    name: str

    @property
    def admits(self) -> Kinds | None:
        """The resources (group, plural) that admit has to do with; None for any."""

    @property
    def validates(self) -> Kinds | None:
        """Those of validate."""

    @property
    def rules(self) -> Resource | None:
        """It does nothing as long as there is no object of this resource; None if it always may."""

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Before validation: fill in, change."""

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """After validation, once the object is final: refuse."""


class Policy:
    """A plugin that does nothing yet; subclasses define admit, validate, or both."""

    name = ""
    admits: Kinds | None = None
    validates: Kinds | None = None
    rules: Resource | None = None

    async def admit(self, ctx: Context, attributes: Attributes) -> None:
        """Nothing to change."""

    async def validate(self, ctx: Context, attributes: Attributes) -> None:
        """Nothing to refuse."""
