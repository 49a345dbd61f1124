"""LIST: the cached bytes of what matches, joined; in pages when the client wants a limit."""

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.endpoints.options import ListOptions, Token, parse
from pynetes.apiserver.http import Request, Response
from pynetes.machinery import errors
from pynetes.machinery.meta import Object, Revision
from pynetes.storage.entry import Entry


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Answer with a list whose resourceVersion is the revision it shows."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    if accepted.as_ == "PartialObjectMetadata":
        kind = scope.resource.list_kind or f"{scope.resource.kind}List"
        text = f"you requested PartialObjectMetadata, but the requested object is a list (*core.{kind})"
        raise errors.failure(406, "NotAcceptable", text)
    options = parse(request, scope)
    entries, metadata = await read(api, scope, options)
    if scope.resource.conversion is not None:
        await api.prepare(scope, [entry.obj for entry in entries])
    if accepted.media == encoding.PROTOBUF and not accepted.as_:
        response = await rendering.many_messages(api, scope, entries, metadata)
    else:
        response = rendering.many(api, request, scope, accepted, entries, metadata)
    return await api.compressor.apply(request, response)


async def read(api: Api, scope: Scope, options: ListOptions) -> tuple[list[Entry], Object]:
    """The entries of a page and the list's metadata."""
    entries, revision = await _entries(api, scope, options)
    metadata: Object = {"resourceVersion": str(revision)}
    if options.limit and len(entries) > options.limit:
        behind = entries[options.limit :]
        entries = entries[: options.limit]
        start = behind[0].storage_key.removeprefix(scope.resource.prefix)
        metadata["continue"] = Token(revision, start).encode()
        if not options.selective:
            metadata["remainingItemCount"] = len(behind)
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
        await api.cacher.fresh(None if options.revision is None else Revision(options.revision))
    return cache.entries(options.wanted), cache.revision
