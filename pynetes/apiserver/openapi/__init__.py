"""/openapi/v3 (an index with hashes, and a document per group version) and /openapi/v2 (one document).

Made from the records and the schemas when first asked for; kubectl reads them for explain, and to learn whether the
server validates fields (the PATCH operation's fieldValidation parameter). The hash of a document is of what it is made
from, so that the index needs none of them; it is the document's ETag too.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

import pynetes
from pynetes.apiserver import compression
from pynetes.apiserver.http import JSON, Request, Response
from pynetes.apiserver.openapi import custom, documents, routes, wire
from pynetes.apiserver.served import Served
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

#: Smaller answers are sent as they are.
_WORTH_IT = 1400
#: Of zlib: a document is compressed once and read often.
_LEVEL = 6
#: Of answers that are asked for by their hash: these never change.
_FOREVER = (("Cache-Control", "public, immutable"), ("Expires", "Fri, 31 Dec 2100 00:00:00 GMT"))


class OpenAPI:
    """Documents are kept until what is served changes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        #: (target, media) → document.
        self._kept: dict[tuple[str, str], _Document] = {}
        #: One document is made at a time.
        self._making = asyncio.Lock()
        self._hashes: dict[str, str] = {}
        self._digests: dict[str, tuple[Resource, str]] = {}
        self._made = -1

    async def answer(self, request: Request) -> Response | None:
        """The document at /openapi/v2 or /openapi/v3…; None if there is none."""
        if self._made != self._served.revision:
            self._hashes = {target: self._fingerprint(target) for target in ("v2", *self._targets())}
            self._kept = {key: kept for key, kept in self._kept.items() if self._hashes.get(key[0]) == kept.etag}
            names = {resource.qualified for resource in self._served}
            self._digests = {name: known for name, known in self._digests.items() if name in names}
            self._made = self._served.revision
        path = request.path.removeprefix("/openapi/").rstrip("/")
        if path == "v3":
            index = self._index()
            return _sent(request, _Document(_hash(index), index), JSON)
        release = "v2" if path == "v2" else "v3"
        if (media := _wanted(request.headers.get("accept", ""), release)) is None:
            return Response(406, b"", "")
        target = path.removeprefix("v3/")
        if target not in self._hashes or (path != "v2" and path == target):
            return Response(404, b"", "")
        etag = self._hashes[target]
        asked = request.query.get("hash", [""])[0]
        if asked and asked != etag and path != "v2":
            return Response(301, b"", "", (("Location", f"/{_url(target, etag)}"), ("Vary", "Accept")))
        if (document := await self._document(target, media)) is None:
            return Response(404, b"", "")
        found = _sent(request, document, media)
        return found.with_headers(*_FOREVER) if asked else found

    def _targets(self) -> Iterator[str]:
        yield from routes.PLAIN
        for group, versions in self._served.group_versions().items():
            if group and any(resource.schema is None for resource in self._served if resource.group == group):
                yield f"apis/{group}"
            yield from (f"apis/{group}/{version}" if group else f"api/{version}" for version in versions)

    def _resources(self, target: str) -> list[Resource]:
        root, _, rest = target.partition("/")
        group, _, version = rest.rpartition("/") if root == "apis" else ("", "", rest)
        return self._served.of_version(group, version) if root in ("api", "apis") and version else []

    def _index(self) -> bytes:
        hashes = sorted((target, etag) for target, etag in self._hashes.items() if target != "v2")
        return orjson.dumps(
            {"paths": {target: {"serverRelativeURL": f"/{_url(target, etag)}"} for target, etag in hashes}}
        )

    def _fingerprint(self, target: str) -> str:
        described = [pynetes.GIT_VERSION, target]
        for resource in self._served if target == "v2" else self._resources(target):
            described.append(self._digest(resource))
        return _hash("\n".join(described).encode())

    def _digest(self, resource: Resource) -> str:
        """Of what a resource's documents are made from; kept, for the schemas of custom kinds can be long."""
        known = self._digests.get(resource.qualified)
        if known is None or known[0] is not resource:
            about = (resource.kind, resource.plural, resource.versions, resource.subresources, resource.verbs)
            text = repr((about, resource.namespaced, resource.list_kind, resource.fields, resource.schema))
            known = self._digests[resource.qualified] = resource, _hash(text.encode())
        return known[1]

    async def _document(self, target: str, media: str) -> "_Document | None":
        async with self._making:
            if (etag := self._hashes.get(target)) is None:
                return None  # gone while another document was made
            found = self._kept.get((target, media))
            if found is None or found.etag != etag:
                # Half a second of work for the largest: others are answered meanwhile.
                snapshot = {each: self._resources(each) for each in self._targets()}
                found = _Document(etag, await asyncio.to_thread(_made, target, media, snapshot))
                self._kept[target, media] = found
            return found


@dataclass(slots=True)
class _Document:
    """Bytes with their ETag, and the same compressed once somebody has asked for that."""

    etag: str
    body: bytes
    zipped: bytes = b""


def _sent(request: Request, document: _Document, media: str) -> Response:
    etag = f'"{document.etag}"'
    headers: tuple[tuple[str, str], ...] = (("ETag", etag), ("Vary", "Accept"), ("Vary", "Accept-Encoding"))
    if request.headers.get("if-none-match") == etag:
        return Response(304, b"", media, headers)
    if not compression.accepted(request.headers.get("accept-encoding", "")) or len(document.body) < _WORTH_IT:
        return Response(200, document.body, media, headers)
    document.zipped = document.zipped or gzip.compress(document.body, _LEVEL, mtime=0)
    return Response(200, document.zipped, media, (*headers, ("Content-Encoding", "gzip")))


def _made(target: str, media: str, snapshot: dict[str, list[Resource]]) -> bytes:
    document = _v2(snapshot) if target == "v2" else _v3(target, snapshot[target])
    written = orjson.dumps if media == JSON else wire.v2 if target == "v2" else wire.v3
    return written(document)


def _v3(target: str, resources: list[Resource]) -> Object:
    found, kinds = _described(target, resources, release=3)
    return documents.v3_document(found, kinds, built_in=_built_in(resources))


def _v2(snapshot: dict[str, list[Resource]]) -> Object:
    found: list[routes.Route] = []
    kinds: dict[str, Object] = {}
    for target, resources in snapshot.items():
        more, custom_kinds = _described(target, resources, release=2)
        found += more
        kinds |= custom_kinds
    return documents.v2_document(found, kinds)


def _built_in(resources: list[Resource]) -> bool:
    return not resources or any(resource.schema is None for resource in resources)


def _described(target: str, resources: list[Resource], *, release: int) -> tuple[list[routes.Route], dict[str, Object]]:
    """The routes of a document, and its definitions of custom kinds."""
    version = target.rpartition("/")[2]
    found = [routes.plain(target)] if _built_in(resources) else []
    kinds: dict[str, Object] = {}
    for resource in resources:
        found += routes.of(resource, resource.group, version)
        if resource.schema is not None:
            kinds |= custom.definitions_of(resource, version, release=release)
    return found, kinds


def _url(target: str, etag: str) -> str:
    return f"openapi/v3/{target}?hash={etag}"


def _wanted(accept: str, release: str) -> str | None:
    """The media type of the answer: JSON, or gnostic's protobuf by either of its names; None if none will do."""
    wire_type = f"application/com.github.proto-openapi.spec.{release}.v1.0+protobuf"
    for part in (accept or "*/*").split(","):
        media = part.partition(";")[0].strip()
        if media in ("*/*", "application/*", JSON):
            return JSON
        if media.replace("@", ".") == wire_type:
            return wire_type
    return None


def _hash(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()
