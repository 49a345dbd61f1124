"""A rule's backendRefs and filters, as backends and policy of the tables."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pynetes.ingress.endpoints import port_of
from pynetes.ingress.gateway.references import From
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.rules import Backend, BackendRef
from pynetes.machinery.meta import Key, Object

_DURATION = re.compile(r"([0-9]{1,5})(h|m|s|ms)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
#: What is answered for a reference that does not hold, as the API asks.
BROKEN = 500


class Unsupported(ValueError):
    """A field has a value that this implementation does not offer; the route is not accepted."""


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

    def backends(self, refs: Iterable[Object]) -> tuple[Backend, ...]:
        """The backends of a rule; one that does not hold answers with an error for its share of requests."""
        return tuple(self._backend(ref) for ref in refs)

    def _backend(self, ref: Object) -> Backend:
        weight = int(ref.get("weight", 1))
        try:
            filters = self.filters(ref.get("filters") or ())
            changes: dict[str, Any] = {
                name: value for name, value in filters.policy.items() if name.endswith("_headers")
            }
            return Backend(self.target(ref), weight, changes=changes)
        except Unresolved as problem:
            self.unresolved.append(problem)
            return Backend(None, weight, refuse=BROKEN)

    def target(self, ref: Object) -> BackendRef:
        """The Service's port that a reference means. Raises Unresolved."""
        group, kind = ref.get("group") or "", ref.get("kind") or "Service"
        if (group, kind) != ("", "Service"):
            raise Unresolved("InvalidKind", f"a backend of kind {kind} in group {group!r} is not supported")
        key = Key(ref.get("namespace") or self.source.namespace, ref["name"])
        if not self.snapshot.may_refer(self.source, "Service", key):
            raise Unresolved("RefNotPermitted", f"no ReferenceGrant in {key.namespace} allows the Service {key.name}")
        service = self.snapshot.service(key)
        if service is None:
            raise Unresolved("BackendNotFound", f"there is no Service {key}")
        port = str(ref.get("port") or "")
        if port_of(service, port) is None:
            raise Unresolved("BackendNotFound", f"the Service {key} has no port {port or '(none was given)'}")
        return BackendRef(key, port)

    def filters(self, given: Iterable[Object]) -> Filters:
        """Filters in their order. Raises Unsupported."""
        read, given = Filters(), list(given)
        if sum(each.get("type") == "RequestMirror" for each in given) > 1:
            raise Unsupported("one rule can mirror to one backend only")
        for each in given:
            kind = each.get("type")
            if kind == "RequestHeaderModifier":
                read.policy["request_headers"] = _headers(each.get("requestHeaderModifier") or {})
            elif kind == "ResponseHeaderModifier":
                read.policy["response_headers"] = _headers(each.get("responseHeaderModifier") or {})
            elif kind == "RequestRedirect":
                read.policy["redirect"] = _redirect(each.get("requestRedirect") or {})
            elif kind == "URLRewrite":
                read.policy |= _rewrite(each.get("urlRewrite") or {})
            elif kind == "RequestMirror":
                self._mirror(each.get("requestMirror") or {}, read)
            else:
                raise Unsupported(f"the filter {kind} is not supported")
        return read

    def _mirror(self, mirror: Object, read: Filters) -> None:
        try:
            ref = self.target(mirror["backendRef"])
        except Unresolved as problem:
            self.unresolved.append(problem)
            return
        fraction = mirror.get("fraction") or {}
        percent = mirror.get("percent", 100)
        if fraction:
            percent = 100 * fraction["numerator"] / (fraction.get("denominator") or 100)
        read.mirrors.append(ref)
        read.policy["mirrors"] = [{"key": ref.text, "percent": percent}]


def _headers(change: Object) -> dict[str, Any]:
    return {
        "set": [[each["name"], each["value"]] for each in change.get("set") or ()],
        "add": [[each["name"], each["value"]] for each in change.get("add") or ()],
        "remove": list(change.get("remove") or ()),
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


def seconds(duration: str) -> float:
    """A duration of this API (GEP-2257) in seconds. Raises Unsupported."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise Unsupported(f"{duration!r} is no duration")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)
