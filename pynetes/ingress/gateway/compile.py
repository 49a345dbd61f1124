"""Gateways with their routes as scopes of the tables, and what is to be told about each object.

A port of a Gateway is a port of nginx's own, so Gateways with the same port do not meet; the Gateway's Service leads
from one to the other.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pynetes.ingress.gateway import acceptance, hostnames, listeners, routes
from pynetes.ingress.gateway.conditions import Condition
from pynetes.ingress.gateway.kinds import GROUP
from pynetes.ingress.gateway.listeners import Listener
from pynetes.ingress.gateway.snapshot import Snapshot
from pynetes.ingress.nginx import configuration
from pynetes.ingress.rules import Backend, Rule, Scope, Source
from pynetes.machinery.meta import Key, Object, key_of

#: Ports of nginx that are given out to Gateways.
FIRST, COUNT = 20000, 10000


@dataclass
class RouteStatus:
    """What is told about a route at each of its parents."""

    route: Object
    parents: list[tuple[Object, list[Condition]]] = field(default_factory=list)


@dataclass
class ClassStatus:
    """What is told about a GatewayClass."""

    gateway_class: Object
    conditions: list[Condition]


@dataclass
class GatewayStatus:
    """What is told about a Gateway."""

    gateway: Object
    conditions: list[Condition]
    listeners: list[Listener]


@dataclass
class Compiled:
    """Scopes by name, the ports that nginx opens, the listeners' tables, and statuses."""

    #: Whether it was computed at all: before, that there is nothing means nothing.
    known: bool = False
    scopes: dict[str, Scope] = field(default_factory=dict)
    ports: dict[tuple[Key, int], int] = field(default_factory=dict)
    opened: list[configuration.Listener] = field(default_factory=list)
    tables: dict[str, dict[str, str]] = field(default_factory=dict)
    classes: list[ClassStatus] = field(default_factory=list)
    gateways: list[GatewayStatus] = field(default_factory=list)
    routes: list[RouteStatus] = field(default_factory=list)


def compile_all(snapshot: Snapshot) -> Compiled:
    """Everything of the classes that are ours."""
    compiled = Compiled(known=True)
    compiled.classes = [
        ClassStatus(each, acceptance.of_class(each, snapshot.versions))
        for each in snapshot.classes
        if each["spec"].get("controllerName") == snapshot.controller
    ]
    ours = {each.gateway_class["metadata"]["name"]: each for each in compiled.classes}
    mine = [each for each in snapshot.gateways if each["spec"].get("gatewayClassName") in ours]
    refused = {
        key_of(each): acceptance.refused(each, ours[each["spec"]["gatewayClassName"]].conditions) for each in mine
    }
    found = {
        key_of(each): listeners.read(
            each, snapshot, refused=problem.message if (problem := refused[key_of(each)]) else ""
        )
        for each in sorted(mine, key=Source.of)
    }
    compiled.ports = _ports(found, snapshot)
    for route in sorted((*snapshot.http_routes, *snapshot.grpc_routes), key=Source.of):
        status = _attach(route, found, snapshot, compiled)
        if status.parents or _was_told(route, snapshot.controller):
            compiled.routes.append(status)
    gateways = {key_of(each): each for each in mine}
    for key, all_of_it in found.items():
        _open(key, all_of_it, compiled)
        conditions = acceptance.of_gateway(refused[key], all_of_it)
        compiled.gateways.append(GatewayStatus(gateways[key], conditions, all_of_it))
    return compiled


def _was_told(route: Object, controller: str) -> bool:
    """Whether its status has something of ours, which is to go where no parent is ours any more."""
    parents = (route.get("status") or {}).get("parents") or ()
    return any(each.get("controllerName") == controller for each in parents)


def _ports(found: dict[Key, list[Listener]], snapshot: Snapshot) -> dict[tuple[Key, int], int]:
    """Ports that were given out stay; the others depend on names only, so that all instances choose the same."""
    wanted = sorted({(key, each.port) for key, all_of_it in found.items() for each in all_of_it if each.usable})
    given = {each: snapshot.ports[each] for each in wanted if each in snapshot.ports}
    for each in wanted:
        if each not in given:
            number = zlib.crc32(repr(each).encode()) % COUNT
            taken = set(given.values())
            while FIRST + number in taken:
                number = (number + 1) % COUNT
            given[each] = FIRST + number
    return given


def _scope_name(port: int, listener: Listener) -> str:
    return f"g{port}/{listener.name}"


def _attach(route: Object, found: dict[Key, list[Listener]], snapshot: Snapshot, compiled: Compiled) -> RouteStatus:
    status = RouteStatus(route)
    read: routes.Read | None = None
    for parent in route["spec"].get("parentRefs") or ():
        key = Key(parent.get("namespace") or key_of(route).namespace, parent["name"])
        if (parent.get("group") or GROUP, parent.get("kind") or "Gateway") != (GROUP, "Gateway") or key not in found:
            continue
        read = read or routes.read(route, snapshot)
        accepted = _accepted(route, parent, found[key], snapshot, read, compiled)
        status.parents.append((parent, [accepted, _resolved(read)]))
    return status


def _resolved(read: routes.Read) -> Condition:
    if not read.unresolved:
        return Condition("ResolvedRefs", True, "ResolvedRefs")
    return Condition("ResolvedRefs", False, read.unresolved[0].reason, "; ".join(map(str, read.unresolved))[:1000])


def _accepted(
    route: Object, parent: Object, all_of_it: list[Listener], snapshot: Snapshot, read: routes.Read, compiled: Compiled
) -> Condition:
    """Attach a route to the listeners that a parentRef means."""
    if read.unsupported:
        return Condition("Accepted", False, read.reason, read.unsupported)
    meant = [each for each in all_of_it if _is_meant(each, parent)]
    if not meant:
        return Condition("Accepted", False, "NoMatchingParent", "no listener has this sectionName or port")
    admitting = [each for each in meant if each.accepted and each.admits(route, snapshot)]
    if not admitting:
        return Condition("Accepted", False, "NotAllowedByListeners", "no listener admits its kind and namespace")
    matching = [(each, names) for each in admitting if (names := _names(each, route))]
    if not matching:
        return Condition("Accepted", False, "NoMatchingListenerHostname", "no name is the listeners' and the route's")
    free = [(each, names) for each, names in matching if not _is_taken(each, route, names)]
    if not free:
        message = "a route of the other kind is older and has a name of this one's, which two kinds cannot share"
        return Condition("Accepted", False, "HostnameConflict", message)
    for listener, names in free:
        _add(route, listener, names, read, compiled)
    return Condition("Accepted", True, "Accepted")


def _is_meant(listener: Listener, parent: Object) -> bool:
    return parent.get("sectionName") in (None, "", listener.name) and parent.get("port") in (None, listener.port)


def _names(listener: Listener, route: Object) -> list[str]:
    return hostnames.attached(listener.hostname, route["spec"].get("hostnames") or ())


def _is_taken(listener: Listener, route: Object, names: Sequence[str]) -> bool:
    """Whether a route of another kind has one of the names; older routes have come first."""
    others = (theirs for (kind, _), theirs in listener.attached.items() if kind != route["kind"])
    return any(hostnames.common(one, other) for theirs in others for one in names for other in theirs)


def _add(route: Object, listener: Listener, names: list[str], read: routes.Read, compiled: Compiled) -> None:
    identity = (route["kind"], key_of(route))
    if identity in listener.attached:
        return
    listener.attached[identity] = names
    if not listener.usable:
        return
    port = compiled.ports[key_of(listener.gateway), listener.port]
    scope = compiled.scopes.setdefault(_scope_name(port, listener), Scope())
    for name in names:
        scope.host(name).rules += [_at(listener.port, rule) for rule in read.rules]


def _at(port: int, rule: Rule) -> Rule:
    """A rule where a listener serves it: a redirect that names no other port stays at the listener's."""

    def settled(change: dict[str, Any]) -> dict[str, Any]:
        redirect = change.get("redirect")
        if not redirect or "port" in redirect or "scheme" in redirect:
            return change
        return {**change, "redirect": {**redirect, "port": port}}

    backends: tuple[Backend, ...] = tuple(replace(each, changes=settled(each.changes)) for each in rule.backends)
    return replace(rule, policy=settled(rule.policy), backends=backends)


def _open(key: Key, all_of_it: list[Listener], compiled: Compiled) -> None:
    """The ports of a Gateway, their listeners by name, and their certificates."""
    for port in sorted({each.port for each in all_of_it if each.usable}):
        number = compiled.ports[key, port]
        here = [each for each in all_of_it if each.usable and each.port == port]
        scope = f"g{number}"
        kinds = {kind for each in here for kind, _ in each.attached}
        h2c = kinds == {"GRPCRoute"} and not here[0].tls
        compiled.opened.append(configuration.Listener(number, scope, tls=here[0].tls, h2c=h2c))
        compiled.tables[scope] = {each.hostname or hostnames.ANY: each.name for each in here}
        shown = {each.hostname or hostnames.ANY: each.certificate for each in here if each.certificate}
        if shown:
            compiled.scopes.setdefault(scope, Scope()).certificates.update(shown)
