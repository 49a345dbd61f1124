"""What the runtime has for a pod, as values: decisions and statuses are made from these alone.

The names of labels and annotations are upstream's: another kubelet could take over the containers, and ours finds its
own again after a restart.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
CONTAINER_NAME = "io.kubernetes.container.name"

CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"


class State(StrEnum):
    """A container's state as the runtime gives it."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of the runtime: one attempt at running a container of a pod."""

    id: str
    name: str
    sandbox: str
    state: State
    attempt: int = 0
    #: Of the spec it was made from; another one means that the spec has changed.
    hash: str = ""
    image: str = ""
    image_id: str = ""
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""
    #: The signal that ends it, "" where the runtime does not say.
    stop_signal: str = ""
    #: Where mounts are read only with all that is mounted below them.
    recursive: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """One sandbox: the namespaces that a pod's containers share."""

    id: str
    ready: bool
    attempt: int = 0
    created: datetime | None = None
    ips: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodRuntime:
    """All that the runtime has of one pod; newest first."""

    uid: str
    namespace: str = ""
    name: str = ""
    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[Container, ...] = ()
    #: terminationGracePeriodSeconds of the pod when its sandbox was made, for pods whose object is gone.
    grace: int = 30

    @property
    def sandbox(self) -> Sandbox | None:
        """The newest sandbox."""
        return self.sandboxes[0] if self.sandboxes else None

    def attempts(self, name: str) -> tuple[Container, ...]:
        """Every attempt of one container, newest first."""
        return tuple(container for container in self.containers if container.name == name)

    def latest(self, name: str) -> Container | None:
        """The newest attempt of one container."""
        return next((container for container in self.containers if container.name == name), None)

    def current(self, name: str) -> Container | None:
        """The newest attempt inside the newest sandbox; what ran in an older one counts for nothing any more."""
        latest = self.latest(name)
        return latest if latest and self.sandbox and latest.sandbox == self.sandbox.id else None

    @property
    def running(self) -> tuple[Container, ...]:
        """Containers that have to be stopped before the pod is at rest."""
        return tuple(one for one in self.containers if one.state in (State.RUNNING, State.UNKNOWN))

    @property
    def ips(self) -> tuple[str, ...]:
        """The pod's addresses."""
        return self.sandbox.ips if self.sandbox and self.sandbox.ready else ()

    @property
    def at_rest(self) -> bool:
        """Nothing runs any more, no sandbox is up."""
        return not self.running and not any(sandbox.ready for sandbox in self.sandboxes)


def moment(nanoseconds: int) -> datetime | None:
    """A time as CRI gives it; 0 is none."""
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC) if nanoseconds > 0 else None
