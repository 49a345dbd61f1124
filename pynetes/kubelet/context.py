"""What the parts of one kubelet share, made once in kubelet.py."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pynetes.client.rest import Client
from pynetes.component.clock import Clock
from pynetes.kubelet import hosts, podspec
from pynetes.kubelet.backoff import Backoff
from pynetes.kubelet.claims import Claims
from pynetes.kubelet.cm.cgroups import Cgroups
from pynetes.kubelet.cm.cpus import Cpus
from pynetes.kubelet.cri.pleg import Pleg
from pynetes.kubelet.cri.runtime import Runtime
from pynetes.kubelet.devices.manager import Devices
from pynetes.kubelet.downward import NodeFacts
from pynetes.kubelet.images import Images
from pynetes.kubelet.probes.prober import Prober
from pynetes.kubelet.references import References
from pynetes.kubelet.resize import Grants
from pynetes.kubelet.status_manager import StatusManager
from pynetes.kubelet.volumes.manager import Volumes
from pynetes.kubelet.volumes.tokens import Tokens
from pynetes.machinery.meta import Object


class Events(Protocol):
    """Records events, in the background."""

    def event(self, obj: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        """About obj or a part of it; kind is Normal or Warning."""


@dataclass(kw_only=True)
class Context:
    """The parts that work on pods."""

    node_name: str
    node_ips: tuple[str, ...]
    clock: Clock
    client: Client
    runtime: Runtime
    pleg: Pleg
    images: Images
    volumes: Volumes
    tokens: Tokens
    references: References
    cgroups: Cgroups
    devices: Devices
    cpus: Cpus
    grants: Grants
    claims: Claims
    #: The active pods beside the one with a UID.
    others: Callable[[str], list[Object]]
    prober: Prober
    statuses: StatusManager
    events: Events
    services: Callable[[], Sequence[Object]]
    allocatable: Callable[[], dict[str, str]]
    dns: hosts.Dns
    memory: int
    log_root: Path
    crashes: Backoff
    #: Seconds after which a pod is looked at although nothing happened.
    resync: float = 60.0
    #: Whether containers without a seccomp profile get the runtime's.
    seccomp_default: bool = False
    runtime_name: str = "containerd"
    #: What the runtime can do: mount images, resolve names of CDI devices.
    image_volumes: bool = False
    cdi: bool = False
    #: Names of the runtime's handlers that have user namespaces, and that make mounts below a read-only one read-only.
    userns_handlers: frozenset[str] = frozenset()
    recursive_handlers: frozenset[str] = frozenset()

    def facts(self, pod_ips: Sequence[str] = ()) -> NodeFacts:
        """What the downward API shows of this node."""
        return NodeFacts(name=self.node_name, ips=self.node_ips, pod_ips=tuple(pod_ips), allocatable=self.allocatable())

    def pod_ips(self, pod: Object, ips: Sequence[str]) -> tuple[str, ...]:
        """The addresses of a pod whose sandbox has these."""
        return self.node_ips if podspec.host_network(pod) else tuple(ips)

    def container_event(self, pod: Object, name: str, kind: str, reason: str, message: str) -> None:
        """An event about one container of a pod."""
        field = "containers"
        if any(one["name"] == name for one in podspec.inits(pod)):
            field = "initContainers"
        elif any(one["name"] == name for one in podspec.ephemerals(pod)):
            field = "ephemeralContainers"
        self.events.event(pod, kind, reason, message, field_path=f"spec.{field}{{{name}}}")
