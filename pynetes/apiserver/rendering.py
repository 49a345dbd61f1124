"""Objects as answers: stored bytes as they are wherever possible, else converted, as a Table, or as metadata only."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import orjson

from pynetes.apiserver.api import Api, Scope
from pynetes.apiserver.compression import Listing
from pynetes.apiserver.encoding import PROTOBUF, Accepted, dump, is_pretty
from pynetes.apiserver.http import Pieces, Request, Response
from pynetes.machinery import errors, field, protobuf_encoder, table
from pynetes.machinery.meta import Object
from pynetes.storage.entry import Entry

#: Objects after which the encoding of a list lets others have their turn.
ENCODED_AT_ONCE = 20
_META = "meta.k8s.io"


def one(api: Api, request: Request, scope: Scope, accepted: Accepted, entry: Entry, status: int = 200) -> Response:
    """A stored object."""
    if accepted.plain and scope.native and not is_pretty(request):
        return Response(status, entry.body, revision=entry.revision)
    if accepted.media == PROTOBUF and not accepted.as_:
        raw = message(api, scope, entry)
        return Response(status, _enveloped(scope, raw), PROTOBUF, revision=entry.revision)
    response = obj(api, request, scope, accepted, entry.copy(), status)
    response.revision = entry.revision
    return response


def shower(api: Api, request: Request, scope: Scope, accepted: Accepted) -> Callable[[Entry], bytes] | None:
    """How `one` makes the body where it needs no more than the entry, as bytes that are kept; None elsewhere."""
    if not scope.native or accepted.as_:
        return None
    if accepted.plain and not is_pretty(request):
        return attrgetter("body")
    if accepted.media == PROTOBUF:
        return lambda entry: _enveloped(scope, message(api, scope, entry))
    return None


def obj(api: Api, request: Request, scope: Scope, accepted: Accepted, found: Object, status: int = 200) -> Response:
    """An object that is the caller's own."""
    shown: Object = scope.shown(found)
    if accepted.as_:
        shown = transform(api, request, scope, accepted, [shown], shown["metadata"])
    return Response(status, dump(shown, accepted.media, pretty=is_pretty(request)), accepted.media)


def plain(request: Request, accepted: Accepted, body: Object, status: int = 200) -> Response:
    """An object of another kind than the scope's: Status, Scale, reviews."""
    return Response(status, dump(body, accepted.media, pretty=is_pretty(request)), accepted.media)


def many(
    api: Api, request: Request, scope: Scope, accepted: Accepted, entries: Sequence[Entry], metadata: Object
) -> Response:
    """A list."""
    resource = scope.resource
    if accepted.plain and scope.native and not is_pretty(request):
        # Custom resources keep kind and apiVersion in list items, as upstream's unstructured lists do.
        kind = resource.list_kind or f"{resource.kind}List"
        head = orjson.dumps({"kind": kind, "apiVersion": scope.api_version, "metadata": metadata})
        return Response(200, Listing(head[:-1] + b',"items":[', entries, whole=resource.schema is not None))
    shown = [scope.shown(entry.copy()) for entry in entries]
    if accepted.as_:
        body: Any = transform(api, request, scope, accepted, shown, metadata)
    else:
        body = list_of(scope, shown, metadata)
    return Response(200, dump(body, accepted.media, pretty=is_pretty(request)), accepted.media)


def message(api: Api, scope: Scope, entry: Entry) -> bytes:
    """A stored object's protobuf message, kept for the next who asks where it is in the stored version."""
    if entry.message is not None and scope.native:
        return entry.message
    type_ = protobuf_encoder.type_of(scope.api_version, scope.resource.kind)
    found = protobuf_encoder.message(type_, scope.shown(entry.copy()))
    if scope.native:
        api.encoded.note(entry, found)
    return found


def _enveloped(scope: Scope, raw: bytes) -> bytes:
    return protobuf_encoder.envelope(scope.api_version, scope.resource.kind, raw)


async def many_messages(api: Api, scope: Scope, entries: Sequence[Entry], metadata: Object) -> Response:
    """A list in protobuf; what is not kept is encoded bit by bit, so that other requests move too."""
    items = []
    for number, entry in enumerate(entries):
        if entry.message is None and number % ENCODED_AT_ONCE == 0:
            await asyncio.sleep(0)
        items.append(message(api, scope, entry))
    kind = scope.resource.list_kind or f"{scope.resource.kind}List"
    pieces = protobuf_encoder.list_of(scope.api_version, kind, metadata, items)
    return Response(200, Pieces(sum(map(len, pieces)), pieces), PROTOBUF)


def list_of(scope: Scope, objects: Iterable[Object], metadata: Object) -> Object:
    """A list object; built-in kinds leave kind and apiVersion out of its items."""
    resource = scope.resource
    items = [
        item if resource.schema is not None else {n: v for n, v in item.items() if n not in ("kind", "apiVersion")}
        for item in objects
    ]
    kind = resource.list_kind or f"{resource.kind}List"
    return {"kind": kind, "apiVersion": scope.api_version, "metadata": metadata, "items": items}


def transform(
    api: Api,
    request: Request,
    scope: Scope,
    accepted: Accepted,
    objects: Sequence[Object],
    metadata: Object,
    *,
    headers: bool = True,
) -> Object:
    """The objects as a Table, as PartialObjectMetadata (of exactly one), or as a list of it."""
    if accepted.as_ == "Table":
        include = included(request)
        listed: Object = {
            name: metadata[name] for name in ("resourceVersion", "continue", "remainingItemCount") if name in metadata
        }
        made = table.render(
            scope.resource,
            objects,
            now=api.clock.now(),
            metadata=listed,
            include=include,
            headers=headers,
            version=accepted.version,
        )
        for row in made["rows"]:
            row.setdefault("object", None)
        if not headers:
            made["columnDefinitions"] = None
        return made
    api_version = f"{_META}/{accepted.version}"
    if accepted.as_ == "PartialObjectMetadata":
        return partial(objects[0], api_version)
    items = [partial(item, api_version) for item in objects]
    return {"kind": "PartialObjectMetadataList", "apiVersion": api_version, "metadata": metadata, "items": items}


def included(request: Request) -> str:
    """How much of the objects the rows of a Table have. Raises StatusError 400."""
    include = request.param("includeObject") or "Metadata"
    if include not in ("Metadata", "Object", "None"):
        problem = field.invalid("includeObject", include, "must be 'Metadata', 'Object', 'None', or empty")
        raise errors.bad_request(f"Unable to convert to Table as requested: {problem}")
    return include


def partial(found: Object, api_version: str) -> Object:
    """PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": found["metadata"]}
