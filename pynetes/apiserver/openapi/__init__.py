"""/openapi/v3 (an index with hashes, and a document per group version) and /openapi/v2 (one document).

Made from the records and the schemas when first asked for; kubectl reads them for explain, and to learn whether the
server validates fields (the PATCH operation's fieldValidation parameter). The hash of a document is of what it is made
from, so that the index needs none of them; it is the document's ETag too.
"""

import hashlib
from collections.abc import Iterator

import orjson

import pynetes
from pynetes.apiserver.http import JSON, Request, Response
from pynetes.apiserver.openapi import custom, documents, routes, wire
from pynetes.apiserver.served import Served
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

#: Of answers that are asked for by their hash: these never change.
_FOREVER = (("Cache-Control", "public, immutable"), ("Expires", "Fri, 31 Dec 2100 00:00:00 GMT"))


class OpenAPI:
    """Documents are kept until what is served changes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        #: (target, media) → fingerprint and bytes.
        self._kept: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._hashes: dict[str, str] = {}
        self._described: dict[str, tuple[Resource, str]] = {}
        self._made = -1

    def answer(self, request: Request) -> Response | None:
        """The document at /openapi/v2 or /openapi/v3…; None if there is none."""
        if self._made != self._served.revision:
            self._hashes = {target: self._fingerprint(target) for target in ("v2", *self._targets())}
            self._made = self._served.revision
        path = request.path.removeprefix("/openapi/").rstrip("/")
        if path == "v3":
            return self._sent(request, self._index(), JSON, "")
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
        return self._sent(request, self._document(target, media), media, etag, kept=bool(asked))

    def _sent(self, request: Request, body: bytes, media: str, etag: str, *, kept: bool = False) -> Response:
        etag = f'"{etag or _hash(body)}"'
        headers: tuple[tuple[str, str], ...] = (("ETag", etag), ("Vary", "Accept"))
        if kept:
            headers = (*headers, *_FOREVER)
        if request.headers.get("if-none-match") == etag:
            return Response(304, b"", media, headers)
        return Response(200, body, media, headers)

    def _targets(self) -> Iterator[str]:
        yield from routes.PLAIN
        for group, versions in self._served.group_versions().items():
            if group and self._built_in(group):
                yield f"apis/{group}"
            yield from (f"apis/{group}/{version}" if group else f"api/{version}" for version in versions)

    def _built_in(self, group: str) -> bool:
        return any(resource.schema is None for resource in self._served if resource.group == group)

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
        known = self._described.get(resource.qualified)
        if known is None or known[0] is not resource:
            about = (resource.kind, resource.plural, resource.versions, resource.subresources, resource.verbs)
            text = repr((about, resource.namespaced, resource.list_kind, resource.fields, resource.schema))
            known = self._described[resource.qualified] = resource, _hash(text.encode())
        return known[1]

    def _document(self, target: str, media: str) -> bytes:
        etag, body = self._kept.get((target, media), ("", b""))
        if etag != self._hashes[target]:
            made = self._v2() if target == "v2" else self._v3(target)
            written = orjson.dumps if media == JSON else wire.v2 if target == "v2" else wire.v3
            body = written(made)
            self._kept = {key: kept for key, kept in self._kept.items() if key[0] in self._hashes}
            self._kept[target, media] = self._hashes[target], body
        return body

    def _v3(self, target: str) -> Object:
        resources = self._resources(target)
        found: list[routes.Route] = []
        kinds: dict[str, Object] = {}
        if built_in := not resources or any(resource.schema is None for resource in resources):
            found.append(routes.plain(target))
        for resource in resources:
            version = target.rpartition("/")[2]
            found += routes.of(resource, resource.group, version)
            if resource.schema is not None:
                kinds |= custom.definitions_of(resource, version, release=3)
        return documents.v3_document(found, kinds, built_in=built_in)

    def _v2(self) -> Object:
        found: list[routes.Route] = []
        kinds: dict[str, Object] = {}
        for target in self._targets():
            resources = self._resources(target)
            if not resources or any(resource.schema is None for resource in resources):
                found.append(routes.plain(target))
            for resource in resources:
                version = target.rpartition("/")[2]
                found += routes.of(resource, resource.group, version)
                if resource.schema is not None:
                    kinds |= custom.definitions_of(resource, version, release=2)
        return documents.v2_document(found, kinds)


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
