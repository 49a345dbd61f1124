"""A rule's backendRefs and filters, as backends and policy of the tables."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pynetes.ingress import grammar
from pynetes.ingress.endpoints import port_of
from pynetes.ingress.gateway.references import From
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.nginx.configuration import Location, Protocol
from pynetes.ingress.rules import Backend, BackendRef
from pynetes.machinery.meta import Key, Object

_DURATION = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
#: What is answered for a reference that does not hold, as the API asks.
BROKEN = 500
#: Copies of one request, each of which is a location of nginx.
COPIES = 8
#: What a Service may say of its port's protocol: HTTP/2 without TLS, and what is not spoken here.
H2C, UNSPOKEN = "kubernetes.io/h2c", ("kubernetes.io/wss",)
#: The fields of filters by their types; of an HTTPRoute, and those that a GRPCRoute has as well.
FIELDS = {
    "CORS": "cors",
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "RequestMirror": "requestMirror",
}
_LISTED = {"allowMethods": "methods", "allowHeaders": "headers", "exposeHeaders": "expose"}
OF_GRPC = ("RequestHeaderModifier", "ResponseHeaderModifier")


class Unsupported(ValueError):
    """A field has a value that this implementation does not offer; the route is not accepted, for this reason."""

    def __init__(self, message: str, reason: str = "UnsupportedValue") -> None:
        super().__init__(message)
        self.reason = reason


class Unresolved(ValueError):
    """A reference does not hold: reason (of the condition ResolvedRefs) and message."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass
class Filters:
    """What filters do: to the policy, and where they send copies."""

    policy: dict[str, Any] = field(default_factory=dict)
    mirrors: list[BackendRef] = field(default_factory=list)


@dataclass
class Resolver:
    """Reads the references of one route; keeps what was wrong with them."""

    snapshot: Snapshot
    source: From
    unresolved: list[Unresolved] = field(default_factory=list)

    def backends(self, refs: Iterable[Object]) -> tuple[tuple[Backend, ...], list[Filters]]:
        """A rule's backends with what their own filters do; one that does not hold answers with an error for its
        share of requests. Raises Unsupported."""
        found = [self._backend(ref) for ref in refs]
        return tuple(backend for backend, _ in found), [filters for _, filters in found]

    def _backend(self, ref: Object) -> tuple[Backend, Filters]:
        weight, filters = int(ref.get("weight", 1)), self.filters(ref.get("filters") or ())
        try:
            target, protocol = self.target(ref)
            location = Location(Protocol.GRPC, body=0) if protocol == H2C else None
            return Backend(target, weight, changes=filters.policy, location=location), filters
        except Unresolved as problem:
            self.unresolved.append(problem)
            return Backend(None, weight, refuse=BROKEN), Filters()

    def target(self, ref: Object) -> tuple[BackendRef, str]:
        """The Service's port that a reference means, and the protocol that the Service names. Raises Unresolved."""
        group, kind = ref.get("group") or "", ref.get("kind") or "Service"
        if (group, kind) != ("", "Service"):
            raise Unresolved("InvalidKind", f"a backend of kind {kind} in group {group!r} is not supported")
        key = Key(ref.get("namespace") or self.source.namespace, ref["name"])
        if not self.snapshot.may_refer(self.source, "Service", key):
            raise Unresolved("RefNotPermitted", f"no ReferenceGrant in {key.namespace} allows the Service {key.name}")
        service = self.snapshot.service(key)
        if service is None:
            raise Unresolved("BackendNotFound", f"there is no Service {key}")
        if service["spec"].get("type") == "ExternalName":
            raise Unresolved("InvalidKind", f"the Service {key} is an ExternalName, which is not supported")
        port = str(ref.get("port") or "")
        found = port_of(service, port)
        if found is None:
            raise Unresolved("BackendNotFound", f"the Service {key} has no port {port or '(none was given)'}")
        protocol = str(found.get("appProtocol") or "")
        if protocol in UNSPOKEN:
            raise Unresolved("UnsupportedProtocol", f"{protocol} of the Service {key} is not spoken here")
        return BackendRef(key, port), protocol

    def filters(self, given: Iterable[Object]) -> Filters:
        """Filters in their order. Raises Unsupported."""
        read, given = Filters(), list(given)
        self._check([str(each.get("type")) for each in given])
        for each in given:
            kind = each["type"]
            content = each.get(FIELDS[kind])
            if content is None:
                raise Unsupported(f"the filter {kind} does not say what it does")
            if kind == "RequestHeaderModifier":
                read.policy["request_headers"] = _headers(content)
            elif kind == "ResponseHeaderModifier":
                read.policy["response_headers"] = _headers(content)
            elif kind == "CORS":
                read.policy["cors"] = _cors(content)
            elif kind == "RequestRedirect":
                read.policy["redirect"] = _redirect(content)
            elif kind == "URLRewrite":
                read.policy |= _rewrite(content)
            else:
                self._mirror(content, read)
        return read

    def _check(self, kinds: list[str]) -> None:
        for kind in kinds:
            if kind not in FIELDS or (self.source.kind == "GRPCRoute" and kind not in OF_GRPC):
                raise Unsupported(f"the filter {kind} is not supported in {self.source.kind}s")
            if kind != "RequestMirror" and kinds.count(kind) > 1:
                raise Unsupported(f"the filter {kind} can be there once only")
        if "RequestRedirect" in kinds and "URLRewrite" in kinds:
            raise Unsupported("a request is either redirected or rewritten", "IncompatibleFilters")

    def _mirror(self, mirror: Object, read: Filters) -> None:
        try:
            ref, protocol = self.target(mirror["backendRef"])
            if protocol == H2C:
                raise Unresolved("UnsupportedProtocol", f"{protocol} of the Service {ref.service} is not mirrored to")
        except Unresolved as problem:
            self.unresolved.append(problem)
            return
        fraction = mirror.get("fraction") or {}
        percent = mirror.get("percent", 100)
        if fraction:
            percent = 100 * fraction["numerator"] / (fraction.get("denominator") or 100)
        read.mirrors.append(ref)
        read.policy.setdefault("mirrors", []).append({"key": ref.text, "percent": percent})


def _headers(change: Object) -> dict[str, Any]:
    """Names and values are held to their grammar here too: the definitions may be others than the add-on's."""
    return {
        "set": [[grammar.token(each["name"]), _value(each["value"])] for each in change.get("set") or ()],
        "add": [[grammar.token(each["name"]), _value(each["value"])] for each in change.get("add") or ()],
        "remove": [grammar.token(name) for name in change.get("remove") or ()],
    }


def _value(text: str) -> str:
    if any(each in text for each in "\r\n\0"):
        raise Unsupported("the value of a header has an end of line in it")
    return text


def _cors(given: Object) -> dict[str, Any]:
    listed = {name: ", ".join(map(grammar.token, given.get(name) or ())) for name in _LISTED}
    cors: dict[str, Any] = {mine: listed[theirs] for theirs, mine in _LISTED.items() if listed[theirs]}
    return cors | {
        "origins": list(given.get("allowOrigins") or ()),
        "credentials": bool(given.get("allowCredentials")),
        "max_age": given.get("maxAge") or 5,
        "deep": True,
    }


def _path(path: Object | None) -> dict[str, Any]:
    if not path:
        return {}
    if path.get("type") == "ReplaceFullPath":
        return {"path": path.get("replaceFullPath") or "/"}
    if path.get("type") == "ReplacePrefixMatch":
        return {"prefix": path.get("replacePrefixMatch") or "/"}
    raise Unsupported(f"the path modifier {path.get('type')} is not supported")


def _redirect(given: Object) -> dict[str, Any]:
    change: dict[str, Any] = {"code": int(given.get("statusCode") or 302), **_path(given.get("path"))}
    names = {"scheme": "scheme", "hostname": "host", "port": "port"}
    return change | {mine: given[theirs] for theirs, mine in names.items() if given.get(theirs)}


def _rewrite(given: Object) -> dict[str, Any]:
    change: dict[str, Any] = {}
    if path := _path(given.get("path")):
        change["rewrite"] = path
    if given.get("hostname"):
        change["host"] = given["hostname"]
    return change


def replaces_prefix(change: dict[str, Any]) -> bool:
    """Whether the prefix that a path was matched by is to be another."""
    return any("prefix" in (change.get(kind) or {}) for kind in ("redirect", "rewrite"))


def seconds(duration: str) -> float:
    """A duration of this API (GEP-2257) in seconds. Raises Unsupported."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise Unsupported(f"{duration!r} is no duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)
