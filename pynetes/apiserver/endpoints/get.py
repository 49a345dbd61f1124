"""GET of one object: the cached bytes."""

from pynetes.apiserver import encoding, rendering
from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.compression import SMALLEST
from pynetes.apiserver.endpoints.options import list_revision
from pynetes.apiserver.http import Request, Response
from pynetes.apiserver.repeat import Repeat
from pynetes.machinery import errors
from pynetes.storage.entry import Entry


async def handle(api: Api, request: Request, scope: Scope) -> Response:
    """Answer with the object as of now, or as of any revision the client allows."""
    accepted = encoding.negotiate(request, protobuf=scope.built_in)
    if accepted.as_ == "PartialObjectMetadataList":
        raise errors.failure(
            406, "NotAcceptable", _shape("PartialObjectMetadataList", "is not a list", scope.resource.kind)
        )
    entry = await read(api, scope, list_revision(request, one=True) if request.query_string else None)
    if scope.resource.conversion is not None:
        await api.prepare(scope, [entry.obj])
    response = rendering.one(api, request, scope, accepted, entry)
    if request.raw and not request.warnings and not request.query_string:
        show = rendering.shower(api, request, scope, accepted)
        request.repeat = Repeat(api.cache(scope.resource), scope.key, show) if show is not None else None
    return await api.compressor.apply(request, response) if len(entry.item) > SMALLEST else response


async def read(api: Api, scope: Scope, revision: int | None = None) -> Entry:
    """The entry; revision None means every acknowledged write shows, 0 whatever is cached. Raises StatusError 404."""
    if revision != 0:
        await api.cacher.fresh(revision)  # type: ignore[arg-type]
    entry = api.cacher.of(scope.resource).entry(scope.key)
    if entry is None:
        raise scope.not_found()
    return entry


def _shape(wanted: str, found: str, kind: str) -> str:
    return f"you requested {wanted}, but the requested object {found} (*core.{kind})"
