"""/openapi/v3 (an index with hashes, and a document per group version) and /openapi/v2 (one document).

Made from the records and the schemas when first asked for; kubectl reads them for explain, and to learn whether the
server validates fields (the PATCH operation's fieldValidation parameter).
"""

import hashlib
from collections.abc import Iterator

import orjson

import pynetes
from pynetes.apiserver import discovery, openapi_wire
from pynetes.apiserver.http import JSON, Request, Response
from pynetes.apiserver.served import Served
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import openapi as definitions

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_METHODS = {
    "get": "get", "list": "get", "watch": "get", "create": "post", "update": "put", "patch": "patch",
    "delete": "delete", "deletecollection": "delete",
}  # fmt: skip
_ACTIONS = {"create": "post", "update": "put", "patch": "patch", "deletecollection": "deletecollection"}
_PATCHES = (
    "application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)  # fmt: skip
_WRITES = ("create", "update", "patch")
_LIST = ("allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
         "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch")  # fmt: skip


class OpenAPI:
    """Documents are kept until what is served changes."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._kept: dict[tuple[str, str], bytes] = {}
        self._made = -1

    def answer(self, request: Request) -> Response | None:
        """The document at /openapi/v2 or /openapi/v3…; None if there is none."""
        if self._made != self._served.revision:
            self._kept.clear()
            self._made = self._served.revision
        path = request.path.removeprefix("/openapi/").rstrip("/")
        release = "v2" if path == "v2" else "v3"
        if path == "v3":
            return Response(200, self._index())
        if (media := _wanted(request.headers.get("accept", ""), release)) is None:
            return Response(406, b"", "")
        target = path.removeprefix("v3/")
        if path != "v2" and (path == target or not self._known(target)):
            return Response(404, b"", "")
        return self._sent(request, self._document(target, media), media)

    def _sent(self, request: Request, body: bytes, media: str) -> Response:
        etag = f'"{_hash(body)}"'
        headers: tuple[tuple[str, str], ...] = (("ETag", etag), ("Vary", "Accept"))
        if "hash" in request.query:
            headers = (*headers, ("Expires", "Fri, 31 Dec 2100 00:00:00 GMT"))
        if request.headers.get("if-none-match") == etag:
            return Response(304, b"", media, headers)
        return Response(200, body, media, headers)

    def _known(self, target: str) -> bool:
        return target in ("api", "apis", "version") or target in dict(self._group_versions())

    def _group_versions(self) -> Iterator[tuple[str, tuple[str, str]]]:
        for group, versions in self._served.group_versions().items():
            for version in versions:
                yield (f"apis/{group}/{version}" if group else f"api/{version}"), (group, version)

    def _index(self) -> bytes:
        targets = ["api", "apis", "version", *(target for target, _ in self._group_versions())]
        # The hash is of what the document is made from, so that the index does not need every document.
        paths = {
            target: {"serverRelativeURL": f"/openapi/v3/{target}?hash={self._fingerprint(target)}"}
            for target in sorted(targets)
        }
        return orjson.dumps({"paths": paths})

    def _fingerprint(self, target: str) -> str:
        found = dict(self._group_versions()).get(target)
        described = [pynetes.GIT_VERSION, target]
        if found is not None:
            for resource in self._served.of_version(*found):
                described.append(repr((resource.plural, resource.subresources, resource.verbs, resource.schema)))
        return _hash("\n".join(described).encode())

    def _document(self, target: str, media: str) -> bytes:
        found = self._kept.get((target, media))
        if found is None:
            made = self._v2() if target == "v2" else self._v3(target)
            if media == JSON:
                found = orjson.dumps(made)
            else:
                found = openapi_wire.v2(made) if target == "v2" else openapi_wire.v3(made)
            self._kept[target, media] = found
        return found

    def _v3(self, target: str) -> Object:
        found = dict(self._group_versions()).get(target)
        if found is None:
            return _head() | {
                "paths": _plain_paths(target),
                "components": {"schemas": definitions.v3_schemas([_returned(target)])},
            }
        group, version = found
        resources = self._served.of_version(group, version)
        paths: Object = {}
        custom: Object = {}
        for resource in resources:
            paths |= paths_of(resource, group, version)
            name = definition_of(resource, version)
            if resource.schema is not None:
                custom[name] = custom_schema(resource, version)
        roots = [*definitions.names_of(group, version), f"{_META}.ObjectMeta", f"{_META}.Patch"]
        roots += ["io.k8s.api.autoscaling.v1.Scale", "io.k8s.api.policy.v1.Eviction"]
        return _head() | {"paths": paths, "components": {"schemas": definitions.v3_schemas(roots) | custom}}

    def _v2(self) -> Object:
        paths: Object = {}
        found: Object = {}
        for _, (group, version) in self._group_versions():
            for resource in self._served.of_version(group, version):
                paths |= paths_of(resource, group, version)
                if resource.schema is not None:
                    found[definition_of(resource, version)] = custom_schema(resource, version)
        custom = orjson.loads(orjson.dumps(found).replace(b"#/components/schemas/", b"#/definitions/"))
        head = {"swagger": "2.0", "info": {"title": "Kubernetes", "version": pynetes.KUBERNETES_VERSION}}
        return head | {"paths": _v2_paths(paths), "definitions": definitions.v2_definitions() | custom}


def _wanted(accept: str, release: str) -> str | None:
    """The media type of the answer: JSON, or gnostic's protobuf by either of its names; None if none will do."""
    wire = f"application/com.github.proto-openapi.spec.{release}.v1.0+protobuf"
    for part in (accept or "*/*").split(","):
        media = part.partition(";")[0].strip()
        if media in ("*/*", "application/*", JSON):
            return JSON
        if media.replace("@", ".") == wire:
            return wire
    return None


def _v2_paths(paths: Object) -> Object:
    out: Object = {}
    for path, item in paths.items():
        out[path] = {}
        for method, operation in item.items():
            if method == "parameters":
                continue
            parameters = [*item.get("parameters", ()), *operation.get("parameters", ())]
            kept = {
                name: value
                for name, value in operation.items()
                if name not in ("parameters", "requestBody", "responses")
            }
            listed = [{**p, "type": p["schema"]["type"], "uniqueItems": True} for p in parameters]
            for parameter in listed:
                del parameter["schema"]
            out[path][method] = kept | {"parameters": listed, "responses": {"200": {"description": "OK"}}}
    return out


def _head() -> Object:
    release = pynetes.KUBERNETES_VERSION.removeprefix("v").rpartition(".")[0]
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": release}}


def _hash(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()


def definition_of(resource: Resource, version: str) -> str:
    """The name of a kind's definition: io.k8s.api.core.v1.Pod; for custom kinds the group reversed."""
    name = definitions.definition_name(resource.group, version, resource.kind)
    if name and resource.schema is None:
        return name
    return f"{'.'.join(reversed(resource.group.split('.')))}.{version}.{resource.kind}"


def custom_schema(resource: Resource, version: str) -> Object:
    """A custom kind's definition: the CRD's schema with what every object has."""
    found: Object = dict((resource.schema or {}).get(version) or {"type": "object"})
    properties = dict(found.get("properties") or {})
    properties |= {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"allOf": [{"$ref": f"#/components/schemas/{_META}.ObjectMeta"}]},
    }
    gvk = {"group": resource.group, "kind": resource.kind, "version": version}
    return {**found, "type": "object", "properties": properties, "x-kubernetes-group-version-kind": [gvk]}


def paths_of(resource: Resource, group: str, version: str) -> Object:
    """The paths of one kind and its subresources."""
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    placed = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
    collection, one = f"{placed}/{resource.plural}", f"{placed}/{resource.plural}/{{name}}"
    own = (group, version, resource.kind)
    body = definition_of(resource, version)
    paths: Object = {}
    _add(
        paths,
        collection,
        resource,
        [v for v in resource.verbs if v in ("list", "create", "deletecollection")],
        own,
        body,
    )
    _add(paths, one, resource, [v for v in resource.verbs if v in ("get", "update", "patch", "delete")], own, body)
    if resource.namespaced and "list" in resource.verbs:
        _add(paths, f"{root}/{resource.plural}", resource, ["list"], own, body)
    for name in resource.subresources:
        about = discovery.sub(resource, name)
        kind = (about.group, about.version, about.kind) if about.kind else own
        target = (definitions.definition_name(*kind) if about.kind else "") or body
        _add(paths, f"{one}/{name}", resource, list(about.verbs), kind, target)
    return paths


def _add(paths: Object, path: str, resource: Resource, verbs: list[str], kind: tuple[str, str, str], body: str) -> None:
    if not verbs:
        return
    item: Object = {"parameters": [_parameter(name, "path") for name in ("name", "namespace") if f"{{{name}}}" in path]}
    for verb in verbs:
        item[_METHODS[verb]] = _operation(path, resource, verb, kind, body)
    paths[path] = item


def _operation(path: str, resource: Resource, verb: str, kind: tuple[str, str, str], body: str) -> Object:
    names: tuple[str, ...] = ("pretty",)
    if verb in _WRITES:
        names = ("pretty", "dryRun", "fieldManager", "fieldValidation") + (("force",) if verb == "patch" else ())
    elif verb in ("list", "deletecollection"):
        names = ("pretty", *_LIST)
    elif verb == "delete":
        names = ("pretty", "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
    answer = f"{body}List" if verb == "list" else body
    group, version, name = kind
    operation: Object = {
        "operationId": f"{verb}{''.join(part.title() for part in path.replace('{', '').replace('}', '').split('/'))}",
        "tags": ["core_v1" if path.startswith("/api/") else "_".join(path.split("/")[2:4])],
        "parameters": [_parameter(parameter, "query") for parameter in names],
        "responses": {"200": {"description": "OK", "content": {JSON: {"schema": _ref(answer)}}}},
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": name},
    }
    if verb == "patch":
        kept = _PATCHES if resource.schema is None else _PATCHES[:3]
        content = {media: {"schema": _ref(f"{_META}.Patch")} for media in kept}
        operation["requestBody"] = {"content": content, "required": True}
    elif verb in _WRITES:
        operation["requestBody"] = {"content": {"*/*": {"schema": _ref(body)}}, "required": True}
    return operation


def _ref(name: str) -> Object:
    return {"$ref": f"#/components/schemas/{name}"}


def _parameter(name: str, place: str) -> Object:
    kind = {"force": "boolean", "orphanDependents": "boolean", "watch": "boolean", "limit": "integer"}.get(
        name, "string"
    )
    if name in ("allowWatchBookmarks", "sendInitialEvents"):
        kind = "boolean"
    if name in ("timeoutSeconds", "gracePeriodSeconds"):
        kind = "integer"
    found: Object = {"name": name, "in": place, "schema": {"type": kind}}
    return found | {"required": True} if place == "path" else found


_PLAIN = {
    "api": ("core", "get available API versions", "getCoreAPIVersions", f"{_META}.APIVersions"),
    "apis": ("apis", "get available API versions", "getAPIVersions", f"{_META}.APIGroupList"),
    "version": (
        "version",
        "get the version information for this server",
        "getCodeVersion",
        "io.k8s.apimachinery.pkg.version.Info",
    ),
}


def _returned(target: str) -> str:
    return _PLAIN[target][3]


def _plain_paths(target: str) -> Object:
    tag, text, identifier, kind = _PLAIN[target]
    medias = [JSON] if target == "version" else [JSON, "application/vnd.kubernetes.protobuf", "application/yaml"]
    responses = {
        "200": {"description": "OK", "content": {media: {"schema": _ref(kind)} for media in medias}},
        "401": {"description": "Unauthorized"},
    }
    return {
        f"/{target}/": {"get": {"tags": [tag], "description": text, "operationId": identifier, "responses": responses}}
    }
