"""The record of a kind: the only registration there is.

A file in `pynetes/apis/GROUP/PLURAL.py` declares `RESOURCE = Resource(...)` and from it come routes, discovery, storage
keys, tables, the REST mapper, the lists of the garbage collector, of quota and of namespace deletion. A
CustomResourceDefinition compiles to the same record, so nothing here may be something only built-ins can have.

Hooks are pure: they take the object, its predecessor, and return or yield. What needs I/O (allocating a cluster IP,
binding a pod) is in pynetes/apiserver/registry/, keyed by the same record.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

from pynetes.machinery import field
from pynetes.machinery.meta import Key, Object

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

#: new, old (None on create) → every mistake. Runs after the schema's own validation, which checks types and enums.
Validate: TypeAlias = Callable[[Object, Object | None], Iterator[field.Error]]
#: Fills in what the schema's `default` cannot say. Changes the object in place; must be idempotent.
Default: TypeAlias = Callable[[Object], None]
#: Called before validation with (new, old); resets what a client may not set here. In place. old is None on create.
Prepare: TypeAlias = Callable[[Object, Object | None], None]
#: A table cell: a path such as ".spec.replicas", or a function of the object and now.
Cell: TypeAlias = str | Callable[[Object, datetime], Any]


@dataclass(frozen=True)
class Column:
    """A printer column. `wide` columns have priority 1 and show under -o wide only."""

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    description: str = ""
    wide: bool = False
    #: What a custom resource's column says instead of `wide`.
    priority: int = 0
    #: False for a cell that upstream's rows have and its header does not.
    declared: bool = True

    NAME: ClassVar["Column"]
    AGE: ClassVar["Column"]


Column.NAME = Column("Name", ".metadata.name", format="name")
Column.AGE = Column("Age", ".metadata.creationTimestamp")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Where autoscaling/v1 Scale finds its numbers in the object (JSON paths such as .spec.replicas)."""

    spec_path: str
    status_path: str
    selector_path: str = ""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind of object, as the API serves and stores it."""

    group: str
    #: Served versions, preferred first; the first one is stored unless storage_version says otherwise.
    versions: tuple[str, ...]
    kind: str
    plural: str
    singular: str = ""
    list_kind: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    namespaced: bool = True
    verbs: tuple[str, ...] = VERBS
    storage_version: str = ""
    #: The group whose apiVersion the stored object bears, where it is not this one: both Event kinds store core's.
    storage_group: str | None = None
    #: Path below /registry; upstream's (services/specs, minions, …). "" means the plural.
    storage_prefix: str = ""
    #: "status" is served generically by splitting spec from status; the rest need a handler in apiserver/registry.
    subresources: tuple[str, ...] = ()
    scale: Scale | None = None
    #: Field selectors beyond metadata.name and metadata.namespace: selector path → cell.
    fields: Mapping[str, Cell] | None = None
    default: Default | None = None
    prepare: Prepare | None = None
    prepare_status: Prepare | None = None
    #: (new, old, now as text) after prepare; notes moments that the server keeps in the object. In place.
    stamp: Callable[[Object, Object | None, str], None] | None = None
    validate: Validate | None = None
    validate_status: Validate | None = None
    #: Whether create keeps the status it is given, as for nodes, which kubelets register with theirs.
    created_with_status: bool = False
    #: Paths such as spec.selector that may not change after create.
    immutable: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (Column.AGE,)
    #: Conditions of a table row, by which kubectl tells finished objects apart.
    row_conditions: Callable[[Object], list[Object]] | None = None
    #: How metadata.name is checked: "dns-subdomain", "dns-label", "dns1035-label", "path-segment", or a function.
    name_rule: str | Callable[[str], str | None] = "dns-subdomain"
    #: Whether spec changes move metadata.generation.
    generation: bool = True
    #: (new, old) → warnings for the Warning header.
    warnings: Callable[[Object, Object | None], list[str]] | None = None
    #: The period that delete grants when the client gives none, in seconds; None means the object goes at once.
    grace: Callable[[Object], int] | None = None
    #: (object, from apiVersion, to apiVersion) → the converted object; None where versions differ in name only.
    convert: Callable[[Object, str, str], Object] | None = None
    #: The webhook that converts between versions, as a CustomResourceDefinition names it: asked before `convert`.
    conversion: Mapping[str, Any] | None = None
    #: Whether what is stored may be other than it would be stored now: in another version, by another schema.
    mixed: bool = False
    #: What is said to whoever uses a version that is on its way out.
    deprecated: str = ""
    #: Whether the definition is going: nothing is created any more.
    terminating: bool = False
    #: Version → the record as this version has it, where versions differ in more than their schema.
    variants: Mapping[str, "Resource"] | None = None
    #: Whether it is kept at all; reviews (TokenReview, …) are only answered.
    stored: bool = True
    #: OpenAPI schema of a custom resource per version; None for built-ins, whose schema the package ships.
    schema: Mapping[str, Object] | None = None

    @cached_property
    def version(self) -> str:
        """The preferred version."""
        return self.versions[0]

    @cached_property
    def api_version(self) -> str:
        """apiVersion of the preferred version: apps/v1, v1."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def storage_api_version(self) -> str:
        """apiVersion in which objects are stored."""
        group = self.group if self.storage_group is None else self.storage_group
        version = self.storage_version or self.version
        return f"{group}/{version}" if group else version

    @cached_property
    def qualified(self) -> str:
        """The name that is unique in the cluster: deployments.apps, pods."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def prefix(self) -> str:
        """Where its objects are stored, with both slashes: /registry/pods/."""
        return f"/registry/{self.storage_prefix or self.plural}/"

    def at(self, version: str) -> "Resource":
        """The record as one of its versions has it."""
        return (self.variants or {}).get(version, self)

    def storage_key(self, key: Key) -> str:
        """The store's key of one object: /registry/pods/default/web."""
        return f"{self.prefix}{key.namespace}/{key.name}" if self.namespaced else f"{self.prefix}{key.name}"

    def path(self, key: Key | None = None, *, namespace: str = "", subresource: str = "", version: str = "") -> str:
        """The URL path of one object, or of the collection when key is None; namespace "" means all namespaces."""
        version = version or self.version
        parts = ["/apis", self.group, version] if self.group else ["/api", version]
        namespace = key.namespace if key else namespace
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (key.name if key else "", subresource) if part]
        return "/".join(parts)

    def __hash__(self) -> int:
        return hash((self.group, self.plural))

    def __eq__(self, other: object) -> bool:
        return self is other or (
            isinstance(other, Resource) and (self.group, self.plural) == (other.group, other.plural)
        )
