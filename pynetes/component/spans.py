"""Spans: one trace from a client's write to the container it starts, with nothing added to any object.

What connects two components is the revision. A write gets its revision from the store, and whoever the watch wakes
knows the revision that woke him (tracing.CAUSE). So the API server, which answers every write, remembers to which span
each revision belongs; a client of ours says in a `baggage` header which revision made it write; and other components
ask for the spans of the revisions they acted on when they export what they did, through the socket of `pynetes paths`.

Off unless a configuration says otherwise; then a request costs one comparison more.
"""

import random
import secrets
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pynetes.component.remedy import RemedyError

#: Revisions whose spans are remembered, and finished spans that may wait for the export.
REVISIONS, WAITING = 1 << 16, 1 << 13
#: Name of the baggage that carries a cause.
BAGGAGE = "pynetes.cause"
MILLION = 1_000_000
#: Kinds of OpenTelemetry's spans.
INTERNAL, SERVER, CLIENT = 1, 2, 3
KINDS = ("TracingConfiguration",)


@dataclass(frozen=True)
class Config:
    """Where spans go and how many traces are begun. endpoint "" is nowhere."""

    endpoint: str = ""
    #: Of a million requests that bring no trace.
    sampling: int = 0


class Context(NamedTuple):
    """A trace and one span of it, in hexadecimal digits as W3C's traceparent has them."""

    trace: str
    span: str


class Span(NamedTuple):
    """Something done. began and ended in seconds since the epoch; parent "" is the first of its trace."""

    context: Context
    parent: str
    name: str
    kind: int
    began: float
    ended: float
    attributes: Mapping[str, str | int]
    error: str = ""


class Begun(NamedTuple):
    """A request that is being traced."""

    context: Context
    parent: str


@dataclass
class Tracer:
    """The API server's part: decides which requests are traced and remembers which span a revision belongs to."""

    config: Config = Config()
    dice: random.Random = field(default_factory=random.Random)
    finished: "deque[Span]" = field(default_factory=lambda: deque(maxlen=WAITING))
    _revisions: dict[int, Context] = field(default_factory=dict)

    @property
    def on(self) -> bool:
        """Whether anything is traced at all."""
        return bool(self.config.endpoint)

    def begin(self, traceparent: str, baggage: str) -> Begun | None:
        """A request came with these headers; None when it is not traced.

        The client's own trace goes before the revision that made it write; without either the dice decide."""
        theirs = parse(traceparent)
        if theirs is not None:
            context, sampled = theirs
            return Begun(Context(context.trace, secrets.token_hex(8)), context.span) if sampled else None
        if (made_by := self._revisions.get(cause_in(baggage))) is not None:
            return Begun(Context(made_by.trace, secrets.token_hex(8)), made_by.span)
        if self.dice.random() * MILLION < self.config.sampling:
            return Begun(Context(secrets.token_hex(16), secrets.token_hex(8)), "")
        return None

    def end(
        self, begun: Begun, name: str, began: float, ended: float, attributes: Mapping[str, str | int], error: str = ""
    ) -> None:
        """The request was answered."""
        self.finished.append(Span(begun.context, begun.parent, name, SERVER, began, ended, attributes, error))

    def belongs(self, revision: int, context: Context) -> None:
        """A write got this revision. Must be known before anybody acts on the revision and writes in turn."""
        if len(self._revisions) >= REVISIONS:
            del self._revisions[next(iter(self._revisions))]
        self._revisions[revision] = context

    def contexts(self, revisions: Iterable[int]) -> dict[int, Context]:
        """The spans of those revisions that belong to a trace."""
        return {each: self._revisions[each] for each in revisions if each in self._revisions}


#: A process is one component; only the API server's decides anything.
TRACER = Tracer()


def parse(traceparent: str) -> tuple[Context, bool] | None:
    """Read W3C's header: the context and whether it is sampled; None for none or a malformed one."""
    version, _, rest = traceparent.partition("-")
    parts = rest.split("-")
    if len(version) != 2 or version == "ff" or len(parts) < 3 or (version == "00" and len(parts) != 3):
        return None
    trace, span, flags = parts[:3]
    if not (_hex(trace, 32) and _hex(span, 16) and _hex(flags, 2) and _hex(version, 2)):
        return None
    if not int(trace, 16) or not int(span, 16):
        return None
    return Context(trace, span), bool(int(flags, 16) & 1)


def _hex(text: str, length: int) -> bool:
    return len(text) == length and not text.strip("0123456789abcdef")


def cause_in(baggage: str) -> int:
    """The revision in a baggage header, 0 for none."""
    for member in baggage.split(","):
        name, _, value = member.partition(";")[0].partition("=")
        if name.strip() == BAGGAGE and value.strip().isdecimal():
            return int(value)
    return 0


def load(path: str) -> Config:
    """The TracingConfiguration in a file; nothing is traced without one. Raises RemedyError."""
    if not path:
        return Config()
    try:
        return read(Path(path).read_text(), path)
    except OSError as error:
        raise RemedyError(f"--tracing-config-file: {path}: {error.strerror}", "correct the flag") from None


def read(text: str, source: str) -> Config:
    """A TracingConfiguration. Raises RemedyError that names source."""
    import yaml  # not in every process that has a client

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RemedyError(f"{source}: {error}", "write a TracingConfiguration in YAML") from None
    if not isinstance(document, dict) or document.get("kind") not in KINDS:
        raise RemedyError(f"{source} is no TracingConfiguration", "say kind: TracingConfiguration")
    return of(document, source)


def of(document: Mapping[str, object], source: str) -> Config:
    """The fields of a TracingConfiguration, which a KubeletConfiguration has under `tracing`. Raises RemedyError."""
    rate = document.get("samplingRatePerMillion")
    rate = 0 if rate is None else rate
    if not isinstance(rate, int) or not 0 <= rate <= MILLION:
        raise RemedyError(f"{source}: samplingRatePerMillion: {rate!r}", f"a whole number from 0 to {MILLION}")
    endpoint = document.get("endpoint") or "localhost:4317"
    if not isinstance(endpoint, str):
        raise RemedyError(f"{source}: endpoint: {endpoint!r}", "HOST:PORT for gRPC, or http://HOST:PORT")
    return Config(endpoint, rate)
