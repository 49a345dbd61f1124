"""The model between API objects and nginx's tables: rules of hosts, whatever kind of object they come from."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pynetes.ingress.nginx.configuration import Location
from pynetes.machinery.meta import Key, Object, key_of

#: The host of rules that name none.
ANY_HOST = "*"
EXACT, PREFIX, REGEX = "exact", "prefix", "regex"


class Source(NamedTuple):
    """The object that a rule comes from; older objects win over newer ones, then names decide."""

    created: str
    namespace: str
    name: str
    kind: str

    @classmethod
    def of(cls, obj: Object) -> "Source":
        """Of an object as the API shows it."""
        metadata = obj["metadata"]
        return cls(
            metadata.get("creationTimestamp") or "", metadata.get("namespace") or "", metadata["name"], obj["kind"]
        )

    @property
    def key(self) -> Key:
        """namespace/name."""
        return Key(self.namespace, self.name)


class BackendRef(NamedTuple):
    """A Service's port by name or number; direct: by the Service's address instead of its endpoints'."""

    service: Key
    port: str
    direct: bool = False

    @property
    def text(self) -> str:
        """Its key in the tables."""
        return f"{self.service}:{self.port}{'@' if self.direct else ''}"


@dataclass(frozen=True)
class Backend:
    """One of a rule's backends. refuse: the status to answer instead, where the reference is not valid. location: where
    it is spoken to in another way than the rule's others."""

    ref: BackendRef | None
    weight: int = 1
    refuse: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    location: Location | None = None

    def laid_out(self) -> dict[str, Any]:
        """As the tables have it."""
        shown: dict[str, Any] = {"weight": self.weight, **self.changes}
        if self.ref is not None:
            shown |= {"key": self.ref.text, "service": self.ref.service.name}
        if self.location is not None:
            shown["location"] = self.location.name
        return shown | ({"refuse": self.refuse} if self.refuse else {})


@dataclass
class Rule:
    """What happens to requests of one path that meet the conditions."""

    source: Source
    kind: str
    path: str
    policy: dict[str, Any]
    location: Location = field(default_factory=Location)
    backends: tuple[Backend, ...] = ()
    #: method, headers, query; see lua/routes.lua.
    match: dict[str, Any] = field(default_factory=dict)
    canaries: list[dict[str, Any]] = field(default_factory=list)
    #: What canaries and mirrors send requests to.
    other_refs: list[BackendRef] = field(default_factory=list)
    #: Rules of one path are tried in this order; None keeps the order in which they came.
    precedence: tuple[Any, ...] = ()

    def refs(self) -> Iterable[BackendRef]:
        """The backends that need endpoints."""
        yield from (backend.ref for backend in self.backends if backend.ref)
        yield from self.other_refs

    def locations(self) -> Iterable[Location]:
        """What it needs of nginx."""
        yield self.location
        yield from (backend.location for backend in self.backends if backend.location)


@dataclass
class Host:
    """The rules of one host."""

    rules: list[Rule] = field(default_factory=list)
    #: Who has which path, by its kind and text, for kinds of objects where only one can.
    claims: dict[tuple[str, str], Rule] = field(default_factory=dict)
    default: Rule | None = None
    #: Whether plain requests can be sent on to TLS.
    tls: bool = False
    certificate: "Certificate | None" = None

    def refs(self) -> set[BackendRef]:
        """All backends that its rules send requests to."""
        every = (*self.rules, *([self.default] if self.default else []))
        return {ref for rule in every for ref in rule.refs()}

    def locations(self) -> set[Location]:
        """What its rules need of nginx."""
        every = (*self.rules, *([self.default] if self.default else []))
        return {location for rule in every for location in rule.locations()}


class Certificate(NamedTuple):
    """PEM texts."""

    chain: str
    key: str


@dataclass
class Scope:
    """What one set of ports serves."""

    hosts: dict[str, Host] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)

    def host(self, name: str) -> Host:
        """The host's rules, made when first asked for."""
        return self.hosts.setdefault(name, Host())


class Problem(NamedTuple):
    """Something its author should know. left_out: the object is not served."""

    obj: Object
    reason: str
    message: str
    left_out: bool = False

    @property
    def key(self) -> tuple[str, Key]:
        """Whose problem it is."""
        return self.obj["kind"], key_of(self.obj)
