"""What a cloud can do for a cluster: the protocol of providers, and the values that cross it.

A provider is asked for whole inventories (one call describes a thousand instances) and told what is wanted; it compares
and changes the difference, and says in words what it changed. It touches nothing that does not carry the cluster's
ownership tag. Identifiers are the cloud's own strings, sizes are bytes, ports are numbers.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from pynetes.client.controller import Foreseen
from pynetes.machinery.meta import Key, Object


class CloudError(Foreseen):
    """A call to the cloud did not do what it should; worth trying again with back-off."""


class Throttled(CloudError):
    """The cloud asks for fewer calls; `after` says for how many seconds, 0 when it did not say."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Denied(CloudError):
    """The credentials are wrong, or do not permit the call."""


class Absent(CloudError):
    """What the call is about is not there (any more)."""


class Refused(CloudError):
    """What is wanted cannot be had here, however often one asks: the object must change first."""


class Unfinished(CloudError):
    """Begun, not ready: look again after `after` seconds."""

    def __init__(self, message: str, after: float = 1.0) -> None:
        super().__init__(message)
        self.after = after


class Address(NamedTuple):
    """As in a Node's status: InternalIP, ExternalIP, InternalDNS, ExternalDNS, Hostname."""

    type: str
    address: str


RUNNING, STOPPED, TERMINATED = "running", "stopped", "terminated"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A machine that may be a node."""

    id: str
    provider_id: str
    #: The node's name as the cloud would have it; nodes with a provider ID are found by that.
    name: str
    type: str
    zone: str
    region: str
    addresses: tuple[Address, ...]
    #: RUNNING or STOPPED (shut down, may come back); terminated ones are not listed.
    state: str = RUNNING
    labels: Mapping[str, str] = field(default_factory=dict)


class Listener(NamedTuple):
    """A port of a balancer: what clients dial, and the node port it leads to."""

    name: str
    protocol: str
    port: int
    node_port: int


class Target(NamedTuple):
    """A node behind a balancer."""

    node: str
    instance: str
    address: str


class Health(NamedTuple):
    """How a balancer asks a node whether it may send there; path "" is a mere connection."""

    port: int
    path: str = ""


@dataclass(frozen=True, kw_only=True)
class Balancer:
    """A load balancer as a Service wants it."""

    #: Unique in the cloud, from the Service's UID.
    name: str
    service: Key
    listeners: tuple[Listener, ...]
    targets: tuple[Target, ...]
    health: Health
    source_ranges: tuple[str, ...] = ()
    #: Clients stay with a node.
    sticky: bool = False
    local: bool = False
    address: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


class Ensured(NamedTuple):
    """A balancer that is as wanted: status.loadBalancer.ingress, and what had to be changed, in words."""

    ingress: tuple[Object, ...]
    changes: tuple[str, ...] = ()


class Route(NamedTuple):
    """Pods' network → the node that has it; name is the cloud's own."""

    cidr: str
    node: str
    name: str = ""
    #: Its target is gone.
    dead: bool = False


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A disk. attached: instance ID → device."""

    id: str
    name: str
    size: int
    zone: str
    state: str = "available"
    attached: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    snapshot: str = ""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A copy of a volume at one moment; created is seconds since the epoch."""

    id: str
    name: str
    volume: str
    size: int
    created: float
    ready: bool


class Instances(Protocol):
    """Machines."""

    async def list(self) -> Sequence[Instance]:
        """All of the cluster's that exist, in one describe call."""


class Balancers(Protocol):
    """Load balancers."""

    async def names(self) -> Mapping[str, Key]:
        """The cluster's own balancers: name → the Service that it was made for."""

    async def ensure(self, wanted: Balancer) -> Ensured:
        """Make it so; calls again and again change nothing more. Raises CloudError."""

    async def delete(self, name: str) -> bool:
        """Remove the cluster's balancer of this name and all that belongs to it; whether there was anything."""


class Routes(Protocol):
    """The network's route table."""

    async def list(self, machines: Sequence[Instance]) -> Sequence[Route]:
        """Those of the cluster's nodes; machines are its instances, which the caller knows already."""

    async def create(self, route: Route, machines: Sequence[Instance]) -> None:
        """Make it, or point it elsewhere. Raises Absent when the node is none of the machines."""

    async def delete(self, route: Route) -> None:
        """Remove it; an absent one is no error."""


class Volumes(Protocol):
    """Disks. Creating under a name that exists returns what is there: that makes repeated calls safe."""

    async def list(self) -> Sequence[Volume]:
        """The cluster's."""

    async def get(self, volume: str) -> Volume:
        """Raises Absent."""

    async def create(
        self, name: str, *, size: int, zone: str, snapshot: str = "", kind: str = "", tags: Mapping[str, str]
    ) -> Volume:
        """Raises Refused when the name belongs to a volume of another size."""

    async def delete(self, volume: str) -> None:
        """An absent one is no error; a used one raises Refused."""

    async def attach(self, volume: str, instance: str) -> str:
        """The device on the instance. Raises Refused when another instance has it."""

    async def detach(self, volume: str, instance: str) -> None:
        """Detached already is no error."""

    async def expand(self, volume: str, size: int) -> int:
        """Grow to at least size; the size it has then."""

    async def snapshots(self) -> Sequence[Snapshot]:
        """The cluster's."""

    async def snapshot(self, name: str, volume: str) -> Snapshot:
        """Take one."""

    async def delete_snapshot(self, snapshot: str) -> None:
        """An absent one is no error."""


async def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A cloud; None for what it does not have."""

    name: str
    instances: Instances
    balancers: Balancers | None = None
    routes: Routes | None = None
    volumes: Volumes | None = None
    close: Callable[[], Awaitable[None]] = _nothing


def balancer_name(uid: str) -> str:
    """The name of a Service's balancer: "a" and the UID without dashes, cut to 32 characters, as every cloud has it."""
    return ("a" + uid.replace("-", ""))[:32]


def fingerprint(*parts: object) -> str:
    """Ten characters that tell one configuration from another."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:10]
