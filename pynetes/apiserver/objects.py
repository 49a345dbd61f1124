"""What authentication, authorization, admission and the registry ask of the rest of the API server.

Reads come from the watch cache, synchronously: they cost no I/O and are as fresh as the request that asks (it has
caught up with every acknowledged write when a decision depends on it). Writes go through the same storage that the
verbs use, past authorization and admission.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Protocol

from pynetes.apiserver.authz.attributes import Deciding
from pynetes.component.clock import Clock
from pynetes.machinery.meta import Key, Object, Revision
from pynetes.machinery.resource import Resource

if TYPE_CHECKING:
    # They read objects themselves; here only their names are needed.
    from pynetes.apiserver.authn.service_account import Issuer
    from pynetes.apiserver.authn.union import Authentication
    from pynetes.apiserver.authz.rbac import RBAC


class Index(Protocol):
    """Something derived from all objects of a resource, kept by difference. Objects are shared."""

    def reset(self, objs: Iterable[Object]) -> None:
        """Start over from these."""

    def changed(self, new: Object | None, old: Object | None) -> None:
        """One object came (old is None), changed, or went (new is None)."""


class Objects(Protocol):
    """The state of the cluster, as the registry and the policies see it. Objects are shared: copy before changing."""

    def get(self, resource: Resource, key: Key) -> Object | None:
        """From the cache."""

    def list(self, resource: Resource, namespace: str = "") -> Iterable[Object]:
        """From the cache; all namespaces when namespace is ""."""

    def count(self, resource: Resource) -> int:
        """How many there are, in the cache."""

    def changed(self, resource: Resource) -> int:
        """A number that moves whenever an object of this resource does; for derived indexes."""

    def keep(self, resource: Resource, index: Index, *, having: str = "") -> None:
        """Reset the index now, and tell it every change from now on, before any reader sees the change.

        having names an indexed field: only objects in which it is set are told of. What is not need not be parsed."""

    async def fresh(self, resource: Resource) -> Revision:
        """Wait until the cache shows every write acknowledged before this call; its revision then."""

    async def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Store a complete, valid object; uid and creationTimestamp are added. Raises StatusError AlreadyExists."""

    async def update(
        self,
        resource: Resource,
        key: Key,
        mutate: Callable[[Object], Object],
        *,
        revision: str = "",
        respecified: bool = True,
        dry_run: bool = False,
    ) -> Object:
        """Read, change (mutate gets a copy and may raise StatusError), store; again on a conflict.

        A changed spec moves metadata.generation, unless respecified is False: what the system fills in is no new wish.

        With revision, the object must still be at that resourceVersion. An object whose deletion was waiting only for
        what the change has removed (finalizers) goes. Raises StatusError NotFound, Conflict."""

    async def delete(
        self, resource: Resource, key: Key, options: Object | None = None, *, dry_run: bool = False
    ) -> Object:
        """Delete as the API does: grace, finalizers, preconditions (metav1.DeleteOptions). Raises StatusError."""

    async def mark(self, name: str) -> bool:
        """Set a mark in the store that only one server can set; whether it was this call. Until `unmark`, or for about
        a minute where its server does not live to take it away."""

    async def unmark(self, name: str) -> None:
        """Take away a mark that this server has set; nothing happens if it is gone."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The API server's configuration, as far as policies and the registry need it."""

    service_ranges: tuple[IPv4Network | IPv6Network, ...] = (ip_network("10.96.0.0/16"),)
    node_ports: range = range(30000, 32768)
    issuer: str = "https://kubernetes.default.svc"
    audiences: tuple[str, ...] = ("https://kubernetes.default.svc",)
    #: Longest life of a ServiceAccount token, in seconds; 0 means no limit.
    max_token_seconds: int = 0
    #: Give pods' default tokens a year, with a note of when they should have been renewed, for clients that do not.
    extend_token_expiration: bool = True
    allow_privileged: bool = True
    #: Seconds that pods which say nothing stay on nodes that are not ready, and on those that cannot be reached.
    not_ready_seconds: int = 300
    unreachable_seconds: int = 300
    #: (ConfigMap, key) pairs that are mounted beside the token of every pod.
    projected_configmaps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Context:
    """Handed to every policy and every handler of the registry."""

    objects: Objects
    clock: Clock
    authorizer: Deciding
    settings: Settings = field(default_factory=Settings)
    #: None where tokens are not verified, not signed, RBAC is not in force.
    authentication: "Authentication | None" = None
    issuer: "Issuer | None" = None
    rbac: "RBAC | None" = None
    #: Finds what is served under an apiVersion and kind, custom resources included.
    kind: Callable[[str, str], Resource | None] | None = None
    #: Other resources that are served from the same storage.
    alike: Callable[[Resource], Iterable[Resource]] = lambda _: ()
    #: Has a webhook convert objects of a resource, which then can be converted at once.
    prepare: Callable[[Resource, Iterable[Object], str], Awaitable[None]] | None = None
