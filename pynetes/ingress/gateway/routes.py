"""HTTPRoutes and GRPCRoutes as rules.

At one path, conditions on the method come first, then the more conditions on headers, then on the query; then the
older route, then its name, then the order of its rules: the API's own precedence.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pynetes.ingress import grammar
from pynetes.ingress.gateway.backends import Filters, Resolver, Unresolved, Unsupported, seconds
from pynetes.ingress.gateway.references import From
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.nginx.configuration import Location, Protocol
from pynetes.ingress.rules import EXACT, PREFIX, REGEX, Rule, Source
from pynetes.machinery.meta import Object, key_of

TIMEOUTS = {"connect": 5, "send": 60, "read": 60}


@dataclass
class Read:
    """A route's rules, or why it is not accepted; and the references that do not hold."""

    rules: list[Rule] = field(default_factory=list)
    unsupported: str = ""
    unresolved: list[Unresolved] = field(default_factory=list)


def read(route: Object, snapshot: Snapshot) -> Read:
    """All of a route's rules, in order."""
    resolver = Resolver(snapshot, From(route["kind"], key_of(route).namespace))
    found = Read(unresolved=resolver.unresolved)
    try:
        for number, rule in enumerate(route["spec"].get("rules") or ()):
            found.rules += _rules(route, number, rule, resolver)
    except (Unsupported, ValueError) as problem:
        found.rules, found.unsupported = [], str(problem)
    return found


def _rules(route: Object, number: int, rule: Object, resolver: Resolver) -> Iterator[Rule]:
    filters = resolver.filters(rule.get("filters") or ())
    backends = resolver.backends(rule.get("backendRefs") or ())
    grpc = route["kind"] == "GRPCRoute"
    policy: dict[str, Any] = {"timeouts": _timeouts(rule), "tries": 2, **filters.policy}
    source = Source.of(route)
    for position, match in enumerate(rule.get("matches") or [{}]):
        kind, path = _grpc_path(match.get("method")) if grpc else _path(match.get("path"))
        conditions = _conditions(match, grpc=grpc)
        yield Rule(
            source,
            kind,
            path,
            {**policy, "pattern": f"^(?:{path})$"} if kind == REGEX else policy,
            _location(filters, grpc=grpc),
            backends,
            match=conditions,
            other_refs=list(filters.mirrors),
            precedence=(*_weight(conditions), source.created, source.namespace, source.name, number, position),
        )


def _location(filters: Filters, *, grpc: bool) -> Location:
    protocol = Protocol.GRPC if grpc else Protocol.HTTP
    # This API knows no limit of bodies, and so has none.
    return Location(protocol, body=0, mirrored=bool(filters.mirrors) and not grpc)


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


def _timeouts(rule: Object) -> dict[str, float]:
    given = rule.get("timeouts") or {}
    found = [seconds(given[name]) for name in ("request", "backendRequest") if given.get(name)]
    limits = [value for value in found if value > 0]
    return {**TIMEOUTS, "read": min(limits)} if limits else dict(TIMEOUTS)
