"""The one seam where interactions between components are seen.

A transport, a work queue or a gRPC client calls `record` once per interaction; nobody else does. What is kept is small
and bounded: a counter row per path, and a ring of the newest interactions. `pynetes/paths` reads both.
The numbers are those of pynetes/paths/registry.py (1–29; 0 is what belongs to no path).
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import time
from typing import Any, NamedTuple

RING = 4096
#: Upper bounds of the latency histogram, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, float("inf"))


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself. names are its SANs, "DNS:localhost"; times are RFC 3339."""

    subject: str
    issuer: str
    names: tuple[str, ...] = ()
    begins: str = ""
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was authenticated, how, and until when: shown, never a secret.

    The certificates are those of the connection, where it had any: of who dialled, and of who was dialled."""

    subject: str = ""
    issuer: str = ""
    expires: str = ""
    rule: str = ""
    client: Certificate | None = None
    server: Certificate | None = None

    @classmethod
    def of(cls, document: dict[str, Any]) -> "Identity":
        """From JSON, as `asdict` made it."""
        shown = {name: Certificate(**document[name]) for name in ("client", "server") if document.get(name)}
        return cls(**{**document, **shown})


class Interaction(NamedTuple):
    """One thing that crossed from one component to another. `object` is "pods default/web", "" when it has none.

    A tuple because one is made for every request, and a frozen dataclass takes five times as long."""

    path: int
    at: float
    source: str
    target: str
    action: str
    object: str = ""
    seconds: float = 0.0
    error: str = ""
    revision: int = 0
    cause: int = 0


@dataclass(slots=True)
class Counters:
    """What one path has seen in this process."""

    requests: int = 0
    errors: int = 0
    last: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * len(BUCKETS))
    identity: Identity = field(default_factory=Identity)


class Recorder:
    """Counts per path and keeps the newest interactions. One per process; see RECORDER."""

    def __init__(self) -> None:
        self.counters: dict[int, Counters] = {}
        self.ring: deque[Interaction] = deque(maxlen=RING)
        self._listeners: list[Callable[[Interaction], None]] = []

    @contextmanager
    def listening(self, listener: Callable[[Interaction], None]) -> Iterator[None]:
        """Tell listener of every interaction while the block runs. It must not block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def record(self, interaction: Interaction, identity: Identity | None = None) -> None:
        """Note one interaction; identity only where it is (newly) known. Cheap enough for every request."""
        counters = self.counters.get(interaction.path)
        if counters is None:
            counters = self.counters[interaction.path] = Counters()
        counters.requests += 1
        counters.last = interaction.at
        if interaction.error:
            counters.errors += 1
        counters.buckets[bisect_left(BUCKETS, interaction.seconds)] += 1
        if identity is not None:
            counters.identity = identity
        self.ring.append(interaction)
        for listener in self._listeners:
            listener(interaction)


#: A process is one component, so it has one recorder; tests make their own.
RECORDER = Recorder()


#: The revision that woke the work in progress, set by work queues; writes made meanwhile carry it as their cause.
CAUSE: ContextVar[int] = ContextVar("CAUSE", default=0)


def revision(metadata: Mapping[str, Any]) -> int:
    """The revision of an object by its metadata, 0 for one that no server of ours made."""
    text = str(metadata.get("resourceVersion") or "")
    return int(text) if text.isdecimal() else 0


def now() -> float:
    """Seconds since the epoch, for Interaction.at."""
    return time()
