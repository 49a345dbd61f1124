"""WATCH: a stream of changes. A change is framed once per encoding and the frame shared by all who see it.

Headers and initial events go out at once. Bookmarks go to those who asked, about once a minute and just before the
server ends the watch, with the revision up to which everything has been sent.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import orjson

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.encoding import PROTOBUF, Accepted
from pynetes.apiserver.endpoints.options import ListOptions, parse
from pynetes.apiserver.http import YAML, Request, Response
from pynetes.component.metrics import REGISTRY, Count, Spread, exponential
from pynetes.machinery import errors, managedfields, protobuf_encoder, schema
from pynetes.machinery.meta import Object, Revision
from pynetes.storage.entry import Entry
from pynetes.storage.watch import CacheEvent, Watch

#: Seconds between bookmarks.
BOOKMARK = 60.0
STREAMS = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
#: Kinds whose replicas upstream keeps as a plain number: even an object with nothing set has them.
COUNTED = frozenset({("apps", "deployments"), ("apps", "replicasets"), ("apps", "statefulsets")})
_EVENTS = REGISTRY.counter(
    "apiserver_watch_events_total", "Number of events sent in watch clients", "group", "version", "resource"
)
_SIZES = REGISTRY.histogram(
    "apiserver_watch_events_sizes",
    "Watch event size distribution in bytes",
    "group", "version", "resource", buckets=exponential(1024, 2, 8),
)  # fmt: skip
_INITIAL_SECONDS = REGISTRY.histogram(
    "apiserver_watch_list_duration_seconds",
    "Response latency of watch lists: from the request to the bookmark that ends the initial events.",
    "group", "version", "resource", "scope",
    buckets=(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60),
)  # fmt: skip
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Begin the watch; a revision that is too old is an ERROR event, as upstream has it."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    if accepted.media == YAML:
        raise errors.failure(406, "NotAcceptable", f"only the following media types are accepted: {STREAMS}")
    options = parse(request, scope, watch=True)
    if accepted.as_ == "Table":
        # Once the stream has begun, there is no way to refuse it.
        rendering.included(request)
    frames = Frames(api, request, scope, accepted)
    try:
        initial, watch = await _begin(api, scope, options)
    except errors.StatusError as error:
        if error.code != 410:
            raise
        return Response(200, _refused(frames, error), frames.media)
    return Response(200, _stream(api, request, frames, options, initial, watch), frames.media)


async def _begin(api: Api, scope: Scope, options: ListOptions) -> tuple[list[Entry] | None, Watch]:
    """The state to send first (None: just go on after a revision) and the watch behind it."""
    cache = api.cache(scope.resource)
    if options.revision and not options.initial:
        await api.cacher.ready()
        return None, cache.watch(Revision(options.revision), options.wanted)
    if options.revision != 0:
        await api.cacher.fresh(None if options.revision is None else Revision(options.revision))
    wants_state = options.initial is not False
    # No await between the two: nothing can come in between.
    return cache.entries(options.wanted) if wants_state else None, cache.watch(cache.revision, options.wanted)


async def _refused(frames: "Frames", error: errors.StatusError) -> AsyncIterator[bytes]:
    yield frames.encode("ERROR", error.status)


async def _stream(
    api: Api, request: Request, frames: "Frames", options: ListOptions, initial: Sequence[Entry] | None, watch: Watch
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    lifetime = options.timeout or api.config.min_request_timeout * (1 + random.random())
    ends = loop.time() + lifetime
    with watch:
        if initial is not None:
            async for chunk in _state(api, frames, options, initial, watch):
                yield chunk
        while True:
            due = min(ends, loop.time() + BOOKMARK) if options.bookmarks else ends
            timer = loop.call_at(due, watch.nudge)
            try:
                while not watch.nudged:
                    if events := await watch.batch():
                        await frames.prepare(event.entry for event in events)
                        sent = [frames.event(event) for event in events]
                        frames.count(sent)
                        yield b"".join(sent)
                    elif watch.closed:
                        return
            finally:
                timer.cancel()
            watch.nudged = False
            if options.bookmarks and (revision := watch.progress()) is not None:
                yield frames.bookmark(revision)
            if loop.time() >= ends:
                return


async def _state(
    api: Api, frames: "Frames", options: ListOptions, initial: Sequence[Entry], watch: Watch
) -> AsyncIterator[bytes]:
    revision = watch.progress() or api.cacher.revision
    for start in range(0, len(initial), 200):
        await frames.prepare(initial[start : start + 200])
        sent = [frames.added(entry) for entry in initial[start : start + 200]]
        frames.count(sent)
        yield b"".join(sent)
    if options.initial and options.bookmarks:
        yield frames.bookmark(revision, initial_events_end=True)
        frames.began_to_end(options)
    elif not initial:
        # The client's request has begun to be served: let it see the headers.
        yield b""


@dataclass(slots=True)
class Frames:
    """Encodes events for one watch; plain ones are shared through the event."""

    api: Api
    request: Request
    scope: Scope
    accepted: Accepted
    _first: bool = True
    _named: tuple[str, str, str] = ("", "", "")
    _sent: Count = field(init=False)
    _sizes: Spread = field(init=False)
    _began: float = field(default_factory=perf_counter)

    def __post_init__(self) -> None:
        resource = self.scope.resource
        self._named = resource.group, self.scope.version, resource.plural
        self._sent, self._sizes = _EVENTS.labels(*self._named), _SIZES.labels(*self._named)

    def began_to_end(self, options: ListOptions) -> None:
        """The client has been sent all initial events."""
        wanted = options.wanted
        scope = "resource" if wanted.name else "namespace" if wanted.namespace else "cluster"
        took = perf_counter() - self._began
        _INITIAL_SECONDS.observe(took, *self._named, scope)

    async def prepare(self, entries: Iterable[Entry]) -> None:
        """Before events of these."""
        if self.scope.resource.conversion is not None:
            await self.api.prepare(self.scope, [entry.obj for entry in entries])

    def count(self, sent: Sequence[bytes]) -> None:
        """Note what goes to the client."""
        self._sent.inc(len(sent))
        for frame in sent:
            self._sizes.observe(len(frame))

    def event(self, event: CacheEvent) -> bytes:
        """One change."""
        if self.accepted.as_:
            return self._frame(event.type, event.entry)
        key = (self.scope.api_version, self.accepted.media)
        frame = event.frames.get(key)
        if frame is None:
            frame = event.frames[key] = self._frame(event.type, event.entry)
        return frame

    def added(self, entry: Entry) -> bytes:
        """An object that was there when the watch began."""
        return self._frame("ADDED", entry)

    def _frame(self, kind: str, entry: Entry) -> bytes:
        if self.accepted.plain and self.scope.native:
            return b'{"type":"%b","object":%b}\n' % (kind.encode(), entry.body)
        if self.accepted.media == PROTOBUF and not self.accepted.as_:
            raw = rendering.message(self.api, self.scope, entry)
            scope = self.scope
            enveloped = protobuf_encoder.envelope(scope.api_version, scope.resource.kind, raw)
            return protobuf_encoder.event(kind, enveloped)
        shown = self.scope.shown(entry.copy())
        if self.accepted.as_:
            shown = self._transformed(shown)
        return self.encode(kind, shown)

    def _transformed(self, shown: Object) -> Object:
        if self.accepted.as_ == "Table":
            first, self._first = self._first, False
            # Only the first event comes with the columns; clients keep them.
            metadata = {"resourceVersion": shown["metadata"]["resourceVersion"]}
            return rendering.transform(
                self.api, self.request, self.scope, self.accepted, [shown], metadata, headers=first
            )
        return rendering.partial(shown, f"meta.k8s.io/{self.accepted.version}")

    def bookmark(self, revision: Revision, *, initial_events_end: bool = False) -> bytes:
        """The revision up to which everything has been sent."""
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        if initial_events_end:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        shown: Object = {"kind": self.scope.resource.kind, "apiVersion": self.scope.api_version}
        if self.scope.resource.schema is None:
            # Upstream sends an object with nothing set, which has what its type always writes.
            shown |= managedfields.empty_of(schema.of(self.scope.resource, self.scope.version).type)
            if (self.scope.resource.group, self.scope.resource.plural) in COUNTED:
                shown["spec"]["replicas"] = 0
        shown["metadata"] = metadata
        if self.accepted.as_:
            shown = self._transformed(shown) if self.accepted.as_ != "Table" else self._table_bookmark(metadata)
        return self.encode("BOOKMARK", shown)

    def _table_bookmark(self, metadata: Object) -> Object:
        return {
            "kind": "Table",
            "apiVersion": f"meta.k8s.io/{self.accepted.version}",
            "metadata": metadata,
            "columnDefinitions": None,
            "rows": [],
        }

    @property
    def media(self) -> str:
        """Content-Type of the stream."""
        return f"{PROTOBUF};stream=watch" if self.accepted.media == PROTOBUF else self.accepted.media

    def encode(self, kind: str, shown: Object) -> bytes:
        """A frame around any object."""
        if self.accepted.media == PROTOBUF:
            return protobuf_encoder.event(kind, protobuf_encoder.encode(shown))
        return orjson.dumps({"type": kind, "object": shown}) + b"\n"
