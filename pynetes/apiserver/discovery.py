"""What the server serves: /api, /apis, groups, group versions, and all of it in one aggregated document."""

import base64
import hashlib
from functools import cache
from typing import Any, NamedTuple

import orjson

from pynetes.apiserver import encoding
from pynetes.apiserver.aggregator import discovery as merged
from pynetes.apiserver.http import Request, Response
from pynetes.apiserver.served import Served
from pynetes.component.metrics import REGISTRY
from pynetes.machinery import errors
from pynetes.machinery.meta import Object
from pynetes.machinery.resource import Resource

_AGGREGATED = REGISTRY.counter(
    "aggregator_discovery_aggregation_count_total", "Counter of number of times discovery was aggregated"
)

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


class Sub(NamedTuple):
    """What discovery says of a subresource: its verbs and the kind it speaks ("" and "" mean the resource's own)."""

    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""
    kind: str = ""


_READ_WRITE = ("get", "patch", "update")
_CONNECT = ("create", "get")
_PROXY = ("create", "delete", "get", "patch", "update")
_SUBRESOURCES = {
    "status": Sub(_READ_WRITE),
    "scale": Sub(_READ_WRITE, "autoscaling", "v1", "Scale"),
    "ephemeralcontainers": Sub(_READ_WRITE),
    "resize": Sub(_READ_WRITE),
    "approval": Sub(_READ_WRITE),
    "finalize": Sub(("update",)),
    "binding": Sub(("create",), "", "v1", "Binding"),
    "eviction": Sub(("create",), "policy", "v1", "Eviction"),
    "token": Sub(("create",), "authentication.k8s.io", "v1", "TokenRequest"),
    "log": Sub(("get",)),
    "exec": Sub(_CONNECT, "", "v1", "PodExecOptions"),
    "attach": Sub(_CONNECT, "", "v1", "PodAttachOptions"),
    "portforward": Sub(_CONNECT, "", "v1", "PodPortForwardOptions"),
}
_PROXIES = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions", "nodes": "NodeProxyOptions"}


def sub(resource: Resource, name: str) -> Sub:
    """What is known of a subresource."""
    if name == "proxy":
        return Sub(_PROXY, "", "v1", _PROXIES.get(resource.plural, ""))
    return _SUBRESOURCES.get(name, Sub(_READ_WRITE))


#: Upstream still keeps these in their old version. What is read of a hash is only whether it changes, so it is theirs.
_HASHED_AS = {"customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/v1beta1"}


def storage_version_hash(resource: Resource) -> str:
    """Lets clients notice that a kind's storage version has changed; upstream's formula."""
    group, _, version = _HASHED_AS.get(resource.qualified, resource.storage_api_version).rpartition("/")
    digest = hashlib.sha256(f"{group}/{version}/{resource.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def resource_list(served: Served, group: str, version: str) -> Object | None:
    """APIResourceList; None if the group version is not served."""
    resources = served.of_version(group, version)
    if not resources:
        return None
    group_version = f"{group}/{version}" if group else version
    rows: list[Object] = []
    for resource in resources:
        rows.append(_row(resource))
        rows.extend(_sub_row(resource, name, group, version) for name in _subresources(resource))
    if any(resource.schema is None for resource in resources):
        rows.sort(key=lambda row: row["name"])
    listed: Object = {"kind": "APIResourceList", "groupVersion": group_version, "resources": rows}
    # Upstream's core group leaves apiVersion out, the others have it.
    return listed if not group else {"kind": "APIResourceList", "apiVersion": "v1", **listed}


#: In upstream's order for custom resources.
CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")
#: What nobody is told of while the definition is going.
_WRITING = ("patch", "create", "update")


def _verbs(resource: Resource) -> list[str]:
    if resource.schema is None:
        return list(resource.verbs)
    return [verb for verb in CUSTOM_VERBS if not (resource.terminating and verb in _WRITING)]


def _subresources(resource: Resource) -> list[str]:
    """In upstream's order: by name, but a custom resource's status comes first."""
    return sorted(resource.subresources, reverse=resource.schema is not None)


def _row(resource: Resource) -> Object:
    row: Object = {
        "name": resource.plural,
        "singularName": resource.singular or resource.kind.lower(),
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    unserved = bool(resource.storage_version) and resource.storage_version not in resource.versions
    if resource.stored and "watch" in resource.verbs and not (unserved and resource.schema is not None):
        row["storageVersionHash"] = storage_version_hash(resource)
    return row


def _sub_row(resource: Resource, name: str, group: str, version: str) -> Object:
    about = sub(resource, name)
    row: Object = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
    if about.kind and (about.group, about.version) != (group, version):
        row |= {"group": about.group, "version": about.version} if about.group else {"version": about.version}
    return row | {"kind": about.kind or resource.kind, "verbs": list(about.verbs)}


def group(served: Served, name: str) -> Object | None:
    """APIGroup; None if it is not served."""
    versions = served.group_versions().get(name)
    if not versions or not name:
        return None
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": listed, "preferredVersion": listed[0]}


def group_list(served: Served) -> Object:
    """APIGroupList."""
    found = (group(served, name) for name in served.group_versions() if name)
    rows = [{n: v for n, v in row.items() if n not in ("kind", "apiVersion")} for row in found if row]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": rows}


def aggregated(served: Served, *, core: bool) -> Object:
    """APIGroupDiscoveryList of /api (core) or /apis."""
    items = [
        {
            "metadata": {"name": name} if name else {},
            "versions": [_version(served, name, version) for version in versions],
        }
        for name, versions in served.group_versions().items()
        if (not name) is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _version(served: Served, name: str, version: str) -> Object:
    rows = [_aggregated_row(resource, name, version) for resource in served.of_version(name, version)]
    return {"version": version, "resources": rows, "freshness": "Current"}


def _aggregated_row(resource: Resource, group_name: str, version: str) -> Object:
    custom = resource.schema is not None
    own = {"group": group_name if custom else "", "version": version if custom else "", "kind": resource.kind}
    row: Object = {
        "resource": resource.plural,
        "responseKind": own,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": _verbs(resource),
    }
    if resource.short_names:
        row["shortNames"] = list(resource.short_names)
    if resource.categories:
        row["categories"] = list(resource.categories)
    if resource.subresources:
        row["subresources"] = [
            _aggregated_sub(resource, name, own, group_name, version) for name in _subresources(resource)
        ]
    return row


def _aggregated_sub(resource: Resource, name: str, own: Object, group_name: str, version: str) -> Object:
    about = sub(resource, name)
    kind = own
    if about.kind:
        same = (about.group, about.version) == (group_name, version)
        where = ("", "") if same else (about.group, about.version)
        kind = {"group": where[0], "version": where[1], "kind": about.kind}
    return {"subresource": name, "responseKind": kind, "verbs": list(about.verbs)}


class Discovery:
    """Answers discovery requests; documents are made anew when what is served has changed."""

    def __init__(self, served: Served, address: str, elsewhere: merged.Elsewhere) -> None:
        self._served = served
        self._elsewhere = elsewhere
        self._address = address
        self._documents: dict[Any, bytes] = {}
        self._made = (-1, -1)

    def answer(self, request: Request) -> Response | None:
        """The document at this path; None if there is none here."""
        parts = request.path.strip("/").split("/")
        accept = request.headers.get("accept", "")
        if len(parts) == 1 and "APIGroupDiscoveryList" in accept:
            found = self._aggregated(request, parts[0], accept)
            if found is not None:
                return found
        found_obj = self._document(parts)
        if found_obj is None:
            return None
        # /apis and its groups come from upstream's aggregator, which has no routes.
        if not encoding.routed(accept) and not (parts[0] == "apis" and len(parts) < 3):
            raise encoding.not_acceptable()
        if (accepted := encoding.parse(accept, False, True)) is None:
            raise encoding.not_served()
        return Response(
            200, encoding.dump(found_obj, accepted.media, pretty=encoding.is_pretty(request)), accepted.media
        )

    def _document(self, parts: list[str]) -> Object | None:
        match parts:
            case ["api"]:
                addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}]
                return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
            case ["apis"]:
                return merged.group_list(group_list(self._served), self._elsewhere)
            case ["api", version]:
                found = resource_list(self._served, "", version)
            case ["apis", name]:
                return merged.group(group(self._served, name), name, self._elsewhere)
            case ["apis", name, version]:
                found = resource_list(self._served, name, version)
            case _:
                return None
        if found is None:
            error = errors.failure(404, "NotFound", "the server could not find the requested resource")
            error.status["details"] = {}
            raise error
        return found

    def _aggregated(self, request: Request, root: str, accept: str) -> Response | None:
        clauses = [clause.strip().replace(" ", "") for clause in accept.split(",")]
        wants = next(
            (clause for clause in clauses if "as=APIGroupDiscoveryList" in clause and "v=v2;" in f"{clause};"), None
        )
        if wants is None:
            if all("as=APIGroupDiscoveryList" in clause for clause in clauses):
                text = f"only the following media types are accepted: {encoding.LISTED}"
                raise errors.failure(406, "NotAcceptable", text)
            return None
        body = self._kept(root)
        etag = f'"{hashlib.sha256(body).hexdigest().upper()}"'
        headers = (("ETag", etag), ("Vary", "Accept"))
        if request.headers.get("if-none-match") == etag:
            return Response(304, b"", AGGREGATED, headers)
        return Response(200, body, AGGREGATED, headers)

    def _kept(self, root: str) -> bytes:
        if self._made != (made := (self._served.revision, self._elsewhere.revision)):
            self._documents.clear()
            self._made = made
        if root not in self._documents:
            _AGGREGATED.inc()
            document = aggregated(self._served, core=root == "api")
            self._documents[root] = orjson.dumps(
                document if root == "api" else merged.aggregated(document, self._elsewhere)
            )
        return self._documents[root]


@cache
def version() -> Object:
    """/version."""
    import platform

    import pynetes

    major, minor, _ = pynetes.KUBERNETES_VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": pynetes.GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": "cpython",
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }
