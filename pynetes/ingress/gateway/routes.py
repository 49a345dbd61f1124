"""HTTPRoutes and GRPCRoutes as rules.

At one path, conditions on the method come first, then the more conditions on headers, then on the query; then the
older route, then its name, then the order of its rules: the API's own precedence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from pynetes.ingress import grammar
from pynetes.ingress.gateway.backends import (
    COPIES,
    Filters,
    Resolver,
    Unresolved,
    Unsupported,
    replaces_prefix,
    seconds,
)
from pynetes.ingress.gateway.references import From
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.nginx.configuration import Location, Protocol
from pynetes.ingress.rules import EXACT, PREFIX, REGEX, Backend, Rule, Source
from pynetes.machinery.meta import Object, key_of

TIMEOUTS = {"connect": 5.0, "send": 60.0, "read": 60.0}
#: Seconds that stand for no limit: nginx knows none.
ENDLESS = 86400.0
#: Fields of rules that the API's experimental definitions have.
EXPERIMENTAL = ("retry", "sessionPersistence")


@dataclass
class Read:
    """A route's rules, or why it is not accepted; and the references that do not hold."""

    rules: list[Rule] = field(default_factory=list)
    unsupported: str = ""
    reason: str = "UnsupportedValue"
    unresolved: list[Unresolved] = field(default_factory=list)


def read(route: Object, snapshot: Snapshot) -> Read:
    """All of a route's rules, in order."""
    resolver = Resolver(snapshot, From(route["kind"], key_of(route).namespace))
    found = Read(unresolved=resolver.unresolved)
    try:
        for number, rule in enumerate(route["spec"].get("rules") or ()):
            found.rules += _rules(route, number, rule, resolver)
    except Unsupported as problem:
        found.rules, found.unsupported, found.reason = [], str(problem), problem.reason
    except ValueError as problem:
        found.rules, found.unsupported = [], str(problem)
    return found


def _rules(route: Object, number: int, rule: Object, resolver: Resolver) -> Iterator[Rule]:
    if named := [name for name in EXPERIMENTAL if rule.get(name)]:
        raise Unsupported(f"{' and '.join(named)} of rules: not supported")
    filters = resolver.filters(rule.get("filters") or ())
    backends, of_backends = resolver.backends(rule.get("backendRefs") or ())
    grpc = route["kind"] == "GRPCRoute"
    policy: dict[str, Any] = {"timeouts": timeouts(rule), "tries": 2, **filters.policy}
    source, matches = Source.of(route), rule.get("matches") or [{}]
    prefix = replaces_prefix(policy) or any(replaces_prefix(each.policy) for each in of_backends)
    location = _location([filters, *of_backends], grpc=grpc)
    backends = tuple(_spoken_to(each, location) for each in backends)
    for position, match in enumerate(matches):
        kind, path = _grpc_path(match.get("method")) if grpc else _path(match.get("path"))
        if prefix and (kind != PREFIX or len(matches) > 1):
            raise Unsupported("ReplacePrefixMatch needs a rule with one match, of type PathPrefix")
        conditions = _conditions(match, grpc=grpc)
        yield Rule(
            source,
            kind,
            path,
            {**policy, "pattern": f"^(?:{path})$"} if kind == REGEX else policy,
            location,
            backends,
            match=conditions,
            other_refs=[ref for each in (filters, *of_backends) for ref in each.mirrors],
            precedence=(*_weight(conditions), source.created, source.namespace, source.name, number, position),
        )


def _spoken_to(backend: Backend, location: Location) -> Backend:
    """What a backend needs of nginx beside its protocol is what its rule needs."""
    if backend.location is None:
        return backend
    return replace(backend, location=location._replace(protocol=backend.location.protocol))


def _location(filters: list[Filters], *, grpc: bool) -> Location:
    """filters: of the rule, then those of its backends, of which a request meets one."""
    copies = len(filters[0].mirrors) + max((len(each.mirrors) for each in filters[1:]), default=0)
    if copies > COPIES:
        raise Unsupported(f"a request can be mirrored to {COPIES} backends only")
    # This API knows no limit of bodies, and so has none.
    return Location(Protocol.GRPC if grpc else Protocol.HTTP, body=0, mirrored=copies)


def _weight(conditions: dict[str, Any]) -> tuple[int, int, int]:
    return (
        0 if "method" in conditions else 1,
        -len(conditions.get("headers", ())),
        -len(conditions.get("query", ())),
    )


def _path(path: Object | None) -> tuple[str, str]:
    given = path or {}
    kind, value = given.get("type") or "PathPrefix", given.get("value") or "/"
    if kind == "RegularExpression":
        return REGEX, grammar.expression(value)
    if kind not in ("Exact", "PathPrefix"):
        raise Unsupported(f"the path match {kind} is not supported")
    return (EXACT if kind == "Exact" else PREFIX), value


def _grpc_path(method: Object | None) -> tuple[str, str]:
    """A gRPC method is the path /SERVICE/METHOD."""
    given = method or {}
    service, name = given.get("service") or "", given.get("method") or ""
    if given.get("type") == "RegularExpression":
        return REGEX, f"/{grammar.expression(service or '[^/]+')}/{grammar.expression(name or '[^/]+')}"
    if service and name:
        return EXACT, f"/{service}/{name}"
    if service:
        return PREFIX, f"/{service}"
    return (REGEX, f"/[^/]+/{re.escape(name)}") if name else (PREFIX, "/")


def _conditions(match: Object, *, grpc: bool) -> dict[str, Any]:
    conditions: dict[str, Any] = {}
    if not grpc and match.get("method"):
        conditions["method"] = match["method"]
    headers = {each["name"].lower(): each for each in reversed(match.get("headers") or [])}
    if headers:
        conditions["headers"] = [_condition(each, name) for name, each in sorted(headers.items())]
    query = {each["name"]: each for each in reversed(match.get("queryParams") or [])}
    if query and not grpc:
        conditions["query"] = [_condition(each, name) for name, each in sorted(query.items())]
    return conditions


def _condition(each: Object, name: str) -> dict[str, Any]:
    if each.get("type") == "RegularExpression":
        return {"name": name, "value": f"^(?:{grammar.expression(each['value'])})$", "regex": True}
    return {"name": name, "value": each["value"]}


def timeouts(rule: Object) -> dict[str, float]:
    """What nginx waits for (GEP-1742), in seconds: `read` and `send` for one backend's next byte, `total` for all
    tries together, as far as it goes: an answer that has begun is not broken off. Raises Unsupported."""
    given = rule.get("timeouts") or {}
    limits = {name: seconds(given[name]) for name in ("request", "backendRequest") if given.get(name)}
    if not limits:
        return dict(TIMEOUTS)
    whole, one = limits.get("request", 0.0), limits.get("backendRequest", 0.0)
    if whole and one > whole:
        raise Unsupported("timeouts.backendRequest is longer than timeouts.request")
    each = one or whole or ENDLESS
    found = {"connect": min(TIMEOUTS["connect"], each), "send": each, "read": each}
    return {**found, "total": whole} if whole else found
