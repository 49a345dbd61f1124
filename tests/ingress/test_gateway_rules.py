"""HTTPRoutes and GRPCRoutes as rules: what attaches where, in which order it is tried, what is refused. No nginx."""

from typing import Any

import pytest

from pynetes.ingress import endpoints, table
from pynetes.ingress.gateway import status
from pynetes.ingress.gateway.routes import ENDLESS, TIMEOUTS, timeouts
from pynetes.ingress.gateway.snapshot import CONTROLLER
from pynetes.ingress.rules import BackendRef, Host
from pynetes.machinery.meta import Key, Object
from tests.ingress.gateway_world import HTTP, NOW, World, header_filter, mirror, path, redirect, rewrite, to

ACCEPTED, RESOLVED = (True, "Accepted"), (True, "ResolvedRefs")
UNSUPPORTED = (False, "UnsupportedValue")


def backends(world: World, host: str = "*") -> list[list[str]]:
    """The Services of a host's rules, in the order in which rules of one path are tried."""
    return [[each.ref.service.name if each.ref else "-" for each in rule.backends] for rule in world.rules(host)]


def test_of_equal_matches_the_older_route_is_first() -> None:
    """Rules of several routes meet: more conditions first, then the older route, then its name, then its own order."""
    world = World()
    stamp = {"creationTimestamp": "2025-01-01T00:00:00Z"}
    header = {"headers": [{"name": "a", "value": "1"}]}
    world.route("young", to("s"), to("t", matches=[header]))
    world.route("b", to("t"), metadata=stamp)
    world.route("a", to("copy"), to("s"), metadata=stamp)
    world.route("method", to("s", matches=[{"method": "GET"}]))
    world.route("query", to("copy", matches=[{"queryParams": [{"name": "q", "value": "1"}]}]))
    assert [rule.source.name for rule in world.rules()] == ["method", "young", "query", "a", "a", "b", "young"]
    assert backends(world)[1:5] == [["t"], ["copy"], ["copy"], ["s"]]


def test_one_header_named_twice_counts_once() -> None:
    """The first of two conditions on one header is the one that counts, whatever the case of its name."""
    world = World()
    two = [{"name": "Color", "value": "blue"}, {"name": "color", "value": "green"}]
    world.route("r", to("s", matches=[{"headers": two}]))
    assert world.rules()[0].match == {"headers": [{"name": "color", "value": "blue"}]}


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
def test_names_that_listener_and_route_have_in_common(kind: str) -> None:
    """Each listener serves a route under the narrower names; a name outside it is left out."""
    world = World()
    world.gateway(
        {**HTTP, "name": "exact", "hostname": "very.example.com"},
        {**HTTP, "name": "wild", "hostname": "*.example.com"},
        {**HTTP, "name": "open", "port": 8080},
    )
    world.route("r", to("s"), hostnames=("very.example.com", "*.example.com", "other.org"), kind=kind)
    compiled = world.compiled
    hosts = {name.partition("/")[2]: sorted(scope.hosts) for name, scope in compiled.scopes.items()}
    assert hosts == {
        "exact": ["very.example.com"],
        "wild": ["*.example.com", "very.example.com"],
        "open": ["*.example.com", "other.org", "very.example.com"],
    }
    world.route("none", to("s"), hostnames=("example.com",), parents=({"sectionName": "wild"},), kind=kind)
    assert world.condition("none") == (False, "NoMatchingListenerHostname")


@pytest.mark.parametrize(
    ("parent", "namespace", "said"),
    [
        ({"sectionName": "http"}, "default", ACCEPTED),
        ({"port": 80}, "default", ACCEPTED),
        ({"port": 81}, "default", (False, "NoMatchingParent")),
        ({"sectionName": "none"}, "default", (False, "NoMatchingParent")),
        ({"sectionName": "http", "port": 8080}, "default", (False, "NoMatchingParent")),
        ({"namespace": "default", "sectionName": "http"}, "far", (False, "NotAllowedByListeners")),
        ({"namespace": "default", "sectionName": "open"}, "far", ACCEPTED),
        ({"namespace": "default", "sectionName": "grpc"}, "default", (False, "NotAllowedByListeners")),
    ],
)
def test_parents(parent: Object, namespace: str, said: tuple[bool, str]) -> None:
    """A listener is meant by its name, its port or both; kinds and namespaces are those that it allows."""
    world = World()
    world.gateway(
        HTTP, {**HTTP, "name": "open", "port": 8080, "allowedRoutes": {"namespaces": {"from": "All"}}},
        {**HTTP, "name": "grpc", "port": 8081, "allowedRoutes": {"kinds": [{"kind": "GRPCRoute"}]}},
    )  # fmt: skip
    world.route("r", to("s"), parents=(parent,), namespace=namespace)
    assert world.condition("r") == said


def test_several_gateways_have_one_route() -> None:
    """Each parent has its own status, and each Gateway its own scope."""
    world = World()
    world.gateway(HTTP, name="second")
    world.route("r", to("s"), parents=({}, {"name": "second"}, {"name": "of-others"}))
    found = world.compiled.routes[0].parents
    assert [(parent["name"], conditions[0].holds) for parent, conditions in found] == [("gw", True), ("second", True)]
    assert len(world.compiled.scopes) == 2


def test_two_kinds_do_not_share_a_name() -> None:
    """Of an HTTPRoute and a GRPCRoute with a name in common at one listener, the older is accepted."""
    world = World()
    world.route("web", to("s"), hostnames=("*.test",))
    world.route("calls", to("s"), hostnames=("a.test",), kind="GRPCRoute")
    world.route("apart", to("s"), hostnames=("a.example.com",), kind="GRPCRoute")
    assert world.condition("web") == ACCEPTED
    assert world.condition("calls") == (False, "HostnameConflict")
    assert world.condition("apart") == ACCEPTED
    assert world.compiled.gateways[0].listeners[0].attached.keys() == {
        (kind, key) for kind, key in world.routes if key.name != "calls"
    }


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ({"name": "s", "port": 80, "kind": "Odd"}, "InvalidKind"),
        ({"name": "s", "port": 80, "group": "odd.example.com"}, "InvalidKind"),
        ({"name": "gone", "port": 80}, "BackendNotFound"),
        ({"name": "s", "port": 81}, "BackendNotFound"),
        ({"name": "s", "port": 80, "namespace": "far"}, "RefNotPermitted"),
        ({"name": "two", "port": 80}, "UnsupportedProtocol"),
        ({"name": "elsewhere", "port": 80}, "InvalidKind"),
    ],
)
def test_references_that_do_not_hold(ref: Object, reason: str) -> None:
    """The route is accepted and says why; requests of that rule get 500, those of its other rules do not."""
    world = World()
    world.service("s", namespace="far")
    world.service("two", appProtocol="kubernetes.io/wss")
    world.service("elsewhere")
    world.services[Key("default", "elsewhere")]["spec"]["type"] = "ExternalName"
    world.route("r", {"backendRefs": [ref]}, to("t"))
    assert world.condition("r") == ACCEPTED
    assert world.condition("r", "ResolvedRefs") == (False, reason)
    bad, good = world.rules()
    assert (bad.backends[0].ref, bad.backends[0].refuse) == (None, 500)
    assert good.backends[0].ref is not None


def test_grants_of_backends() -> None:
    """From this kind and namespace to this Service; a grant that says something else does not help."""
    world = World()
    world.service("s", namespace="far")
    world.route("r", {"backendRefs": [{"name": "s", "port": 80, "namespace": "far"}]})
    refused = (False, "RefNotPermitted")
    world.grant("HTTPRoute", "Service", namespace="far", name="another")
    world.grant("HTTPRoute", "Service", namespace="default")
    world.grant("HTTPRoute", "Service", namespace="far", source="far")
    world.grant("GRPCRoute", "Service", namespace="far")
    world.grant("HTTPRoute", "Secret", namespace="far")
    assert world.condition("r", "ResolvedRefs") == refused
    world.grant("HTTPRoute", "Service", namespace="far", name="s")
    assert world.condition("r", "ResolvedRefs") == RESOLVED


@pytest.mark.parametrize("address", ["10.96.0.9", "None"])
def test_kinds_of_services(address: str) -> None:
    """Endpoints are those of the slices, at their own port, whoever wrote them; also of a Service without address."""
    ports = [{"name": "web", "port": 8080, "targetPort": 3000}]
    service: Object = {"metadata": {}, "spec": {"clusterIP": address, "ports": ports}}
    slices: list[Object] = [
        {"addressType": f"IPv{family}", "ports": [{"name": "web", "port": 3000}], "endpoints": [{"addresses": [each]}]}
        for family, each in ((4, "10.244.0.5"), (6, "fd00::5"))
    ]
    ref = BackendRef(Key("default", "s"), "8080")
    assert endpoints.endpoints(ref, service, slices) == [("10.244.0.5", 3000), ("[fd00::5]", 3000)]


def test_backends_are_spoken_to_as_their_services_say() -> None:
    """kubernetes.io/ws is a Service as any; h2c has a location of its own, and is what backends of GRPCRoutes speak."""
    world = World()
    world.service("ws", appProtocol="kubernetes.io/ws")
    world.service("two", appProtocol="kubernetes.io/h2c")
    world.route("r", to("ws", "two", filters=[mirror("copy")]), hostnames=("a.test",))
    world.route("g", to("two"), hostnames=("b.test",), kind="GRPCRoute")
    assert world.condition("r", "ResolvedRefs") == world.condition("g", "ResolvedRefs") == RESOLVED
    (rule,) = world.rules("a.test")
    assert [each.name for each in rule.locations()] == ["http_0_101", "grpc_0_101"]
    assert "location" not in rule.backends[0].laid_out()
    assert rule.backends[1].laid_out()["location"] == "grpc_0_101"
    world.route("m", to("s", filters=[mirror("two")]), hostnames=("c.test",))
    assert world.condition("m", "ResolvedRefs") == (False, "UnsupportedProtocol")


def test_filters_of_backends() -> None:
    """A backend's own filters are its own: headers, redirects, other paths and copies, beside those of the rule."""
    world = World()
    own = [
        header_filter(set=[{"name": "a", "value": "1"}]),
        header_filter("Response", remove=["b"]),
        rewrite(hostname="in.test", path={"type": "ReplaceFullPath", "replaceFullPath": "/x"}),
        mirror("copy", percent=5),
    ]
    leaving = [redirect(scheme="https")]
    refs = [{"name": "s", "port": 80, "filters": own}, {"name": "t", "port": 80, "filters": leaving}]
    world.route("r", {"backendRefs": refs, "filters": [mirror("t")]})
    rule = world.rules()[0]
    first, second = (each.laid_out() for each in rule.backends)
    assert first["request_headers"]["set"] == [["a", "1"]]
    assert first["response_headers"]["remove"] == ["b"]
    assert (first["host"], first["rewrite"], first["mirrors"]) == (
        "in.test", {"path": "/x"}, [{"key": "default/copy:80", "percent": 5}]
    )  # fmt: skip
    assert second["redirect"] == {"code": 302, "scheme": "https"}
    assert rule.policy["mirrors"] == [{"key": "default/t:80", "percent": 100}]
    assert rule.location.mirrored == 2
    assert {ref.service.name for ref in rule.refs()} == {"s", "t", "copy"}


def test_origins_that_may_share() -> None:
    """What browsers are told, with the API's own defaults."""
    world = World()
    given = {"allowOrigins": ["https://*.bar.com"], "allowMethods": ["GET", "PUT"], "exposeHeaders": ["X-A"]}
    world.route("r", to("s", filters=[{"type": "CORS", "cors": given}]))
    assert world.rules()[0].policy["cors"] == {
        "origins": ["https://*.bar.com"], "methods": "GET, PUT", "expose": "X-A", "credentials": False, "max_age": 5,
        "deep": True,
    }  # fmt: skip


EXTENSION = {"type": "ExtensionRef", "extensionRef": {"group": "x.io", "kind": "X", "name": "x"}}
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (to("s", filters=[EXTENSION]), "UnsupportedValue"),
        (to("s", filters=[{"type": "CORS", "cors": {"allowMethods": ["GET\r\nX: y"]}}]), "UnsupportedValue"),
        (to("s", filters=[header_filter(set=[{"name": "a", "value": "b\r\nc: d"}])]), "UnsupportedValue"),
        (to("s", filters=[header_filter("Response", remove=["a b"])]), "UnsupportedValue"),
        ({"backendRefs": [{"name": "s", "port": 80, "filters": [EXTENSION]}]}, "UnsupportedValue"),
        ({"backendRefs": [{"name": "gone", "port": 80, "filters": [EXTENSION]}]}, "UnsupportedValue"),
        (to("s", filters=[header_filter(), header_filter()]), "UnsupportedValue"),
        (to("s", filters=[{"type": "RequestRedirect"}]), "UnsupportedValue"),
        (to("s", filters=[redirect(), rewrite()]), "IncompatibleFilters"),
        (to("s", filters=[mirror("copy")] * 9), "UnsupportedValue"),
        (to("s", filters=[rewrite(path=PREFIX)], matches=[path("Exact", "/a")]), "UnsupportedValue"),
        (to("s", filters=[redirect(path=PREFIX)], matches=[path("PathPrefix", "/a")] * 2), "UnsupportedValue"),
        (to("s", timeouts={"request": "1s", "backendRequest": "2s"}), "UnsupportedValue"),
        (to("s", timeouts={"request": "1 second"}), "UnsupportedValue"),
        (to("s", retry={"attempts": 2}), "UnsupportedValue"),
        (to("s", sessionPersistence={"sessionName": "a"}), "UnsupportedValue"),
        (to("s", matches=[path("RegularExpression", "/(?=a)")]), "UnsupportedValue"),
    ],
)
def test_what_is_not_offered_is_not_served_half(rule: Object, reason: str) -> None:
    """The route is not accepted, whole, and says why; nothing of it is served."""
    world = World()
    world.route("r", rule, to("t"))
    assert world.condition("r") == (False, reason)
    assert world.rules() == []


@pytest.mark.parametrize("kind", ["mirror", "redirect", "rewrite"])
def test_filters_that_calls_do_not_have(kind: str) -> None:
    """A GRPCRoute changes headers and nothing else."""
    world = World()
    made = {"mirror": mirror("copy"), "redirect": redirect(), "rewrite": rewrite()}[kind]
    world.route("r", to("s", filters=[made]), kind="GRPCRoute")
    world.route("h", to("s", filters=[header_filter(), header_filter("Response")]), kind="GRPCRoute")
    assert world.condition("r") == UNSUPPORTED
    assert world.condition("h") == ACCEPTED


@pytest.mark.parametrize(
    ("given", "port"), [({}, 8080), ({"port": 99}, 99), ({"scheme": "https"}, None), ({"scheme": "http", "port": 9}, 9)]
)
def test_redirects_stay_at_the_listeners_port(given: Object, port: int | None) -> None:
    """Without another scheme or port it is the port of the listener; a scheme has its own."""
    world = World()
    world.gateway({**HTTP, "port": 8080})
    world.route("r", {"filters": [redirect(**given)]})
    assert world.rules(port=8080)[0].policy["redirect"].get("port") == port


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, TIMEOUTS),
        ({"request": "500ms"}, {"connect": 0.5, "send": 0.5, "read": 0.5, "total": 0.5}),
        ({"request": "0s"}, {"connect": 5.0, "send": ENDLESS, "read": ENDLESS}),
        ({"backendRequest": "0s"}, {"connect": 5.0, "send": ENDLESS, "read": ENDLESS}),
        ({"backendRequest": "1m30s"}, {"connect": 5.0, "send": 90.0, "read": 90.0}),
        ({"request": "10s", "backendRequest": "2s"}, {"connect": 2.0, "send": 2.0, "read": 2.0, "total": 10.0}),
        ({"request": "10s", "backendRequest": "0s"}, {"connect": 5.0, "send": 10.0, "read": 10.0, "total": 10.0}),
        ({"request": "0s", "backendRequest": "2s"}, {"connect": 2.0, "send": 2.0, "read": 2.0}),
    ],
)
def test_timeouts(given: Object, wanted: dict[str, float]) -> None:
    """backendRequest is for one try, request for all of them together; 0s is no limit, and not a minute."""
    assert timeouts({"timeouts": given}) == wanted


@pytest.mark.parametrize(
    ("method", "kind", "wanted"),
    [
        ({"service": "a.B", "method": "C"}, "exact", "/a.B/C"),
        ({"service": "a.B"}, "prefix", "/a.B"),
        ({"method": "C"}, "regex", "/[^/]+/C"),
        ({"type": "RegularExpression", "service": "a[.].*", "method": "C.*"}, "regex", "/a[.].*/C.*"),
        (None, "prefix", "/"),
    ],
)
def test_methods_of_calls(method: Object | None, kind: str, wanted: str) -> None:
    """A call is a path of its service and method."""
    world = World()
    world.route("r", to("s", matches=[{"method": method}] if method else []), kind="GRPCRoute")
    rule = world.rules()[0]
    assert (rule.kind, rule.path, rule.location.protocol.value) == (kind, wanted, "grpc")


def test_shares_of_calls() -> None:
    """Weights of a GRPCRoute's backends are laid out as those of an HTTPRoute's; 0 is left out."""
    world = World()
    refs = [{"name": name, "port": 80, "weight": weight} for name, weight in (("s", 3), ("t", 1), ("copy", 0))]
    world.route("r", {"backendRefs": refs}, kind="GRPCRoute")
    shown = table.of_host(Host(rules=world.rules()))["rules"][0]
    assert [(each["service"], each["weight"]) for each in shown["backends"]] == [("s", 3), ("t", 1)]
    assert shown["sum"] == 4


def test_rules_have_names() -> None:
    """A rule's name changes nothing of what it does."""
    world = World()
    world.route("r", to("s", name="first"))
    world.route("g", to("s", name="first"), hostnames=("a.test",), kind="GRPCRoute")
    assert world.condition("r") == ACCEPTED


def test_what_was_told_of_former_parents_goes() -> None:
    """Entries of ours for parents that a route has no more are removed; those of other controllers stay."""
    world = World()
    route = world.route("r", to("s"), parents=({}, {"sectionName": "http"}))
    foreign = {"parentRef": {"name": "gw"}, "controllerName": "example.com/other", "conditions": []}
    route["status"] = {"parents": [foreign]}
    world.tell()
    parents: list[Any] = route["status"]["parents"]
    assert [each["controllerName"] for each in parents] == ["example.com/other", CONTROLLER, CONTROLLER]
    route["spec"]["parentRefs"] = [{"name": "of-others"}]
    world.tell()
    assert route["status"]["parents"] == [foreign]
    assert world.compiled.routes == []


def test_generations_are_told() -> None:
    """Conditions are of the generation of the spec that they were computed from."""
    world = World()
    route = world.route("r", to("s"))
    world.tell()
    route["metadata"]["generation"] = 2
    world.tell()
    shown = route["status"]["parents"][0]["conditions"]
    assert [(each["type"], each["observedGeneration"]) for each in shown] == [("Accepted", 2), ("ResolvedRefs", 2)]
    assert shown[0]["lastTransitionTime"] == NOW


def test_a_status_of_our_own_is_what_it_was() -> None:
    """What was told is not written again."""
    world = World()
    world.route("r", to("s"))
    world.tell()
    compiled = world.compiled
    before = compiled.routes[0].route["status"]
    assert status.of_route(compiled.routes[0], "later", before) == before
