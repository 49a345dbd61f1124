"""What the server answers to, one Route per path and method, in the words of both versions of OpenAPI.

Clients are generated from these: paths, operation ids, parameters and bodies are upstream's. A kind's record says
which there are; what only a few subresources do is in `_subresource`.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pynetes.apiserver import discovery
from pynetes.apiserver.endpoints.delete import RETURNED
from pynetes.apiserver.http import JSON
from pynetes.apiserver.openapi import parameters
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource
from pynetes.machinery.schema import openapi as definitions

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
YAML, PROTOBUF = "application/yaml", "application/vnd.kubernetes.protobuf"
_MEDIA = (JSON, YAML, PROTOBUF)
_STREAMED = (*_MEDIA, f"{JSON};stream=watch", f"{PROTOBUF};stream=watch")
_PATCHES = (
    "application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)  # fmt: skip
_CUSTOM_PATCHES = (*_PATCHES[:2], _PATCHES[3])
_METHODS = {"proxy": ("delete", "get", "head", "options", "patch", "post", "put")}
#: A response that is text and no object.
TEXT = "string"
#: What a code means.
STATUS = {200: "OK", 201: "Created", 202: "Accepted"}


class Route(NamedTuple):
    """One operation. Definitions are named in full; `operation` is upstream's name before the group is put in."""

    path: str
    method: str
    operation: str
    description: str
    parameters: tuple[Object, ...] = ()
    body: str = ""
    body_required: bool = True
    consumes: tuple[str, ...] = ("*/*",)
    produces: tuple[str, ...] = _MEDIA
    #: Code → definition, TEXT, or "" for none.
    responses: tuple[tuple[int, str], ...] = ()
    action: str = ""
    kind: tuple[str, str, str] | None = None

    @property
    def identity(self) -> tuple[str, str]:
        """Operation id and tag."""
        return identity(self.operation, self.path)


def identity(operation: str, path: str) -> tuple[str, str]:
    """listCoreV1NamespacedPod and core_v1, of listNamespacedPod at /api/v1/…"""
    verb = next(word for word in _OPERATION_VERBS if operation.startswith(word))
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        parts = ["apis", "core", *parts[1:]]
    if parts[0] != "apis" or len(parts) < 2:
        return operation, _worded(parts[0])
    group = parts[1].removesuffix(".k8s.io")
    version = parts[2] if len(parts) > 2 else ""
    tag = _worded(group) + (f"_{_worded(version)}" if version else "")
    return verb + "".join(_worded(text, capital=True) for text in (group, version, operation[len(verb) :])), tag


_OPERATION_VERBS = ("get", "read", "replace", "patch", "delete", "watch", "connect", "list", "create")


def _worded(text: str, *, capital: bool = False) -> str:
    """networking.k8s as an identifier: networkingK8s, capital: NetworkingK8s."""
    found = ""
    for index, letter in enumerate(text):
        if letter.isalpha() or letter == "_" or (index and letter.isdigit()):
            found += letter.upper() if capital else letter
            capital = False
        else:
            capital = True
    return found


def definition_of(resource: Resource, version: str) -> str:
    """The name of a kind's definition: io.k8s.api.core.v1.Pod; for custom kinds the group reversed."""
    name = definitions.definition_name(resource.group, version, resource.kind)
    return name if name and resource.schema is None else custom_name(resource.group, version, resource.kind)


def custom_name(group: str, version: str, kind: str) -> str:
    """com.example.v1.Widget."""
    return ".".join([*reversed(group.split(".")), version, kind])


def list_of(resource: Resource, version: str) -> str:
    """The name of the definition of its list."""
    kind = resource.list_kind or f"{resource.kind}List"
    if resource.schema is not None:
        return custom_name(resource.group, version, kind)
    return definition_of(resource, version).removesuffix(resource.kind) + kind


class _Places(NamedTuple):
    """Where a kind is served in one version, and what its operations have in common."""

    resource: Resource
    version: str
    #: /apis/apps/v1
    root: str
    #: …/namespaces/{namespace}/deployments, and one object below it.
    collection: str
    item: str

    @property
    def scope(self) -> str:
        return "Namespaced" if self.resource.namespaced else ""

    def path_parameters(self, path: str) -> tuple[Object, ...]:
        names = (name for name in ("name", "namespace", "path") if f"{{{name}}}" in path)
        return tuple(parameters.place(name, self.resource.kind) for name in names)


def of(resource: Resource, group: str, version: str) -> Iterator[Route]:
    """The routes of a kind and its subresources."""
    root = f"/apis/{group}/{version}" if group else f"/api/{version}"
    placed = f"{root}/namespaces/{{namespace}}" if resource.namespaced else root
    collection = f"{placed}/{resource.plural}"
    where = _Places(resource, version, root, collection, f"{collection}/{{name}}")
    own = (group, version, resource.kind)
    body = definition_of(resource, version)
    for verb in resource.verbs:
        if verb in ("list", "create", "deletecollection"):
            yield _route(where, collection, verb, own, body)
        elif verb in ("get", "update", "patch", "delete"):
            yield _route(where, where.item, verb, own, body)
    if resource.namespaced and "list" in resource.verbs:
        everywhere = _route(where, f"{root}/{resource.plural}", "list", own, body)
        yield everywhere._replace(operation=f"list{resource.kind}ForAllNamespaces")
    if resource.schema is None and "watch" in resource.verbs:
        yield from _watches(where, own)
    for name in resource.subresources:
        yield from _subresource(where, name, own, body)


class _Verb(NamedTuple):
    """What the operations of a verb have in common."""

    method: str
    word: str
    parameters: tuple[str, ...] = ()
    answers: tuple[int, ...] = (200,)
    #: Where custom kinds differ.
    custom: tuple[str, ...] | None = None


_VERBS = {
    "get": _Verb("get", "read", custom=parameters.GET),
    "list": _Verb("get", "list", parameters.LIST),
    "create": _Verb("post", "create", parameters.CREATE, (200, 201, 202)),
    "update": _Verb("put", "replace", parameters.CREATE, (200, 201)),
    "patch": _Verb("patch", "patch", parameters.PATCH, (200, 201)),
    "delete": _Verb("delete", "delete", parameters.DELETE, (200, 202)),
    "deletecollection": _Verb(
        "delete", "deletecollection", parameters.DELETE_COLLECTION, custom=parameters.LIST
    ),
}  # fmt: skip


def _route(where: _Places, path: str, verb: str, kind: tuple[str, str, str], body: str, sub: str = "") -> Route:
    """An ordinary operation; `body` is the definition of what is read and written."""
    resource, custom = where.resource, where.resource.schema is not None
    about = _VERBS[verb]
    names = about.custom if custom and about.custom is not None else about.parameters
    produces = (JSON, YAML) if custom else _STREAMED if verb == "list" else _MEDIA
    codes = (200,) if custom and verb == "patch" else about.answers
    answer = _answer(where, verb, body)
    return Route(
        path=path,
        method=about.method,
        operation=f"{about.word}{where.scope}{resource.kind}{sub.title()}",
        description=_described(resource, verb, sub),
        parameters=(*(parameters.query(name) for name in ("pretty", *names)), *where.path_parameters(path)),
        body=_read(verb, body, custom=custom),
        body_required=not verb.startswith("delete"),
        consumes=_consumed(verb, custom=custom),
        produces=produces,
        responses=tuple((code, answer) for code in codes),
        action={"create": "post", "update": "put"}.get(verb, verb),
        kind=kind,
    )


def _consumed(verb: str, *, custom: bool) -> tuple[str, ...]:
    if verb == "patch":
        return _CUSTOM_PATCHES if custom else _PATCHES
    return (JSON, YAML) if custom else ("*/*",)


def _read(verb: str, body: str, *, custom: bool) -> str:
    """The definition of the request's body; "" if it has none."""
    if verb == "patch":
        return f"{META}.Patch"
    if verb == "delete" or (verb == "deletecollection" and not custom):
        return f"{META}.DeleteOptions"
    return body if verb in ("create", "update") else ""


def _answer(where: _Places, verb: str, body: str) -> str:
    resource = where.resource
    if verb == "list":
        return list_of(resource, where.version)
    if verb == "deletecollection" or (
        verb == "delete" and (resource.schema is not None or resource.plural not in RETURNED)
    ):
        return f"{META}.Status"
    return body


def _described(resource: Resource, verb: str, sub: str) -> str:
    kind = resource.kind
    plural = kind.endswith("s") and not kind.endswith("ss")
    article = "" if plural else "an " if kind[0].lower() in "aeiou" else "a "
    part = f"{sub} of " if sub else ""
    match verb:
        case "get" | "update":
            return f"{'read' if verb == 'get' else 'replace'} {part}the specified {kind}"
        case "patch":
            return f"partially update {part}the specified {kind}"
        case "list":
            watched = "or watch " if "watch" in resource.verbs and resource.schema is None else ""
            return f"list {watched}objects of kind {kind}"
        case "deletecollection":
            return f"delete collection of {kind}"
    return f"{verb} {part}{article}{kind}"


def _watches(where: _Places, kind: tuple[str, str, str]) -> Iterator[Route]:
    """The old form of watches, with /watch/ in the path."""
    resource = where.resource

    def route(path: str, operation: str, text: str, action: str) -> Route:
        return Route(
            path=path,
            method="get",
            operation=operation,
            description=f"{text} {resource.kind}. deprecated: use the 'watch' parameter with a list operation instead",
            parameters=(
                *(parameters.query(name) for name in ("pretty", *parameters.LIST)),
                *where.path_parameters(path),
            ),
            produces=_STREAMED,
            responses=((200, f"{META}.WatchEvent"),),
            action=action,
            kind=kind,
        )

    old = f"{where.root}/watch"
    collection, item = (old + path.removeprefix(where.root) for path in (where.collection, where.item))
    yield route(collection, f"watch{where.scope}{resource.kind}List", "watch changes to a list of", "watchlist")
    if resource.namespaced:
        everywhere = f"watch{resource.kind}ListForAllNamespaces"
        yield route(f"{old}/{resource.plural}", everywhere, "watch changes to a list of", "watchlist")
    yield route(item, f"watch{where.scope}{resource.kind}", "watch changes to an object of kind", "watch")


def _subresource(where: _Places, name: str, own: tuple[str, str, str], body: str) -> Iterator[Route]:
    about = discovery.sub(where.resource, name)
    kind = (about.group, about.version, about.kind) if about.kind else own
    path = f"{where.item}/{name}"
    if name in parameters.CONNECT:
        yield from _connections(where, path, name, kind)
        return
    target = (definitions.definition_name(*kind) if about.kind else "") or body
    for verb in about.verbs:
        route = _route(where, path, verb, own if where.resource.schema is not None else kind, target, name)
        if name == "log":
            more = tuple(parameters.query(each) for each in parameters.LOG)
            route = route._replace(parameters=(*more, *route.parameters), responses=((200, TEXT),))
            route = route._replace(produces=("text/plain", *_MEDIA))
        yield route


def _connections(where: _Places, path: str, name: str, kind: tuple[str, str, str]) -> Iterator[Route]:
    """Each method that a connection may begin with."""
    for suffix, at in (("", path), ("WithPath", f"{path}/{{path}}")):
        if suffix and name != "proxy":
            return
        for method in _METHODS.get(name, ("get", "post")):
            asked = tuple(parameters.query(each, options=where.resource.kind) for each in parameters.CONNECT[name])
            yield Route(
                path=at,
                method=method,
                operation=f"connect{method.title()}{where.scope}{where.resource.kind}{name.title()}{suffix}",
                description=f"connect {method.upper()} requests to {name} of {where.resource.kind}",
                parameters=(*asked, *where.path_parameters(at)),
                produces=("*/*",),
                responses=((200, TEXT),),
                action="connect",
                kind=kind,
            )


_APIS = "get available API versions"
_VERSION = "get the version information for this server"
_PLAIN = {
    "api": ("getAPIVersions", _APIS, f"{META}.APIVersions"),
    "apis": ("getAPIVersions", _APIS, f"{META}.APIGroupList"),
    "version": ("getCodeVersion", _VERSION, "io.k8s.apimachinery.pkg.version.Info"),
    "openid/v1/jwks": ("getServiceAccountIssuerOpenIDKeyset", "get the public keys of the token issuer", TEXT),
    ".well-known/openid-configuration": (
        "getServiceAccountIssuerOpenIDConfiguration", "get the OpenID configuration of the token issuer", TEXT,
    ),
}  # fmt: skip
#: Documents that are no group's.
PLAIN = tuple(_PLAIN)


def plain(target: str) -> Route:
    """The route of a document that is no resource's: api, apis, version, apis/GROUP, apis/GROUP/VERSION, …"""
    operation, text, answer = _PLAIN.get(target) or (
        ("getAPIGroup", "get information of a group", f"{META}.APIGroup")
        if target.count("/") == 1 and target.startswith("apis/")
        else ("getAPIResources", "get available resources", f"{META}.APIResourceList")
    )
    media: tuple[str, ...] = _MEDIA
    if target == "version":
        media = (JSON,)
    elif answer == TEXT:
        media = ("application/jwk-set+json",) if "jwks" in target else (JSON,)
    return Route(
        path=f"/{target}" if answer == TEXT else f"/{target}/",
        method="get",
        operation=operation,
        description=text,
        consumes=() if answer == TEXT else media,
        produces=media,
        responses=((200, answer),),
    )


def by_path(routes: Iterable[Route]) -> dict[str, list[Route]]:
    """Routes by their path."""
    found: dict[str, list[Route]] = {}
    for route in routes:
        found.setdefault(route.path, []).append(route)
    return found


def common(routes: list[Route]) -> list[Object]:
    """The parameters that all routes of a path have: they stand beside the operations."""
    first, *rest = ({(p["name"], p["in"]): p for p in route.parameters} for route in routes)
    return parameters.ordered(p for key, p in first.items() if all(key in each for each in rest))
