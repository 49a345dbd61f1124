"""LIST: the cached bytes of what matches, joined; in pages when the client wants a limit."""

from time import perf_counter

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints.options import ListOptions, Token, parse
from pynetes.apiserver.http import Request, Response
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors
from pynetes.machinery.meta import Object, Revision
from pynetes.storage.entry import Entry

_LISTS = REGISTRY.counter(
    "apiserver_cache_list_total", "Number of LIST requests served from watch cache.", "group", "resource", "index"
)
_FETCHED = REGISTRY.counter(
    "apiserver_cache_list_fetched_objects_total",
    "Number of objects read from watch cache in the course of serving a LIST request.",
    "group", "resource", "index",
)  # fmt: skip
_RETURNED = REGISTRY.counter(
    "apiserver_cache_list_returned_objects_total",
    "Number of objects returned for a LIST request from watch cache.",
    "group", "resource",
)  # fmt: skip
_WAITED = REGISTRY.histogram(
    "apiserver_watch_cache_read_wait_seconds",
    "Histogram of time spent waiting for a watch cache to become fresh.",
    "group", "resource",
    buckets=(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3),
)  # fmt: skip
_CONSISTENT = REGISTRY.counter(
    "apiserver_watch_cache_consistent_read_total",
    "Counter for consistent reads from cache.",
    "group", "resource", "success", "fallback",
)  # fmt: skip


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Answer with a list whose resourceVersion is the revision it shows."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    check_shape(accepted, scope)
    options = parse(request, scope)
    entries, metadata = await read(api, scope, options)
    if scope.resource.conversion is not None:
        await api.prepare(scope, [entry.obj for entry in entries])
    if accepted.media == encoding.PROTOBUF and not accepted.as_:
        response = await rendering.many_messages(api, scope, entries, metadata)
    else:
        response = rendering.many(api, request, scope, accepted, entries, metadata)
    return await api.compressor.apply(request, response)


def check_shape(accepted: encoding.Accepted, scope: Scope) -> None:
    """A list is no single object's metadata. Raises StatusError 406."""
    if accepted.as_ == "PartialObjectMetadata":
        kind = scope.resource.list_kind or f"{scope.resource.kind}List"
        text = f"you requested PartialObjectMetadata, but the requested object is a list (*core.{kind})"
        raise errors.failure(406, "NotAcceptable", text)


async def read(api: Api, scope: Scope, options: ListOptions) -> tuple[list[Entry], Object]:
    """The entries of a page and the list's metadata."""
    entries, revision = await _entries(api, scope, options)
    named = scope.resource.group, scope.resource.plural
    _LISTS.inc(*named, "")
    looked = len(entries) if not options.selective else api.cache(scope.resource).count(options.wanted)
    _FETCHED.inc(*named, "", by=looked)
    metadata: Object = {"resourceVersion": str(revision)}
    if options.limit and len(entries) > options.limit:
        behind = entries[options.limit :]
        entries = entries[: options.limit]
        start = behind[0].storage_key.removeprefix(scope.resource.prefix)
        metadata["continue"] = Token(revision, start).encode()
        if not options.selective:
            metadata["remainingItemCount"] = len(behind)
    _RETURNED.inc(*named, by=len(entries))
    return entries, metadata


async def _entries(api: Api, scope: Scope, options: ListOptions) -> tuple[list[Entry], int]:
    cache = api.cache(scope.resource)
    if options.token is not None:
        start = scope.resource.prefix + options.token.start
        revision = options.token.revision
        if revision < 0:
            # An inconsistent continuation after 410: from the same key, as things are now.
            await api.cacher.fresh()
            return cache.entries(options.wanted, start=start), cache.revision
        try:
            return await api.store(scope.resource).list_at(Revision(revision), options.wanted, start=start), revision
        except errors.StatusError as error:
            if error.code == 410:
                error.status["metadata"] = {"continue": Token(-1, options.token.start).encode()}
            raise
    if options.exact and options.revision:
        revision = options.revision
        return await api.store(scope.resource).list_at(Revision(revision), options.wanted), revision
    if options.revision != 0:
        began = perf_counter()
        await api.cacher.fresh(None if options.revision is None else Revision(options.revision))
        named = scope.resource.group, scope.resource.plural
        _WAITED.observe(perf_counter() - began, *named)
        if options.revision is None:
            _CONSISTENT.inc(*named, "true", "false")
    return cache.entries(options.wanted), cache.revision
