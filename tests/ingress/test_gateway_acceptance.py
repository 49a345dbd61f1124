"""Classes, Gateways and listeners: what is accepted, what is told, and the Services that lead to them. No nginx."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from pynetes.apis.core import services as service_kind
from pynetes.client.fake import FakeAPI
from pynetes.client.informer import InformerFactory
from pynetes.component.clock import SystemClock
from pynetes.component.tasks import Group
from pynetes.ingress.gateway import acceptance, kinds, services, status
from pynetes.ingress.gateway.compile import Compiled
from pynetes.machinery.meta import Key, Object, key_of
from tests.ingress.conftest import pair
from tests.ingress.gateway_world import HTTP, NOW, World, to

GW = Key("default", "gw")
HTTPS: Object = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}
TCP: Object = {"name": "tcp", "port": 99, "protocol": "TCP"}
SELECTOR = {"app": "nginx"}


@pytest.fixture(scope="module")
def certificate() -> Object:
    """The data of a Secret."""
    chain, key = pair("a.test")
    texts = {"tls.crt": chain, "tls.key": key}
    return {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}


def secret(world: World, certificate: Object, namespace: str = "default") -> None:
    """Put the Secret cert."""
    key = Key(namespace, "cert")
    world.secrets[key] = {"metadata": {"name": "cert", "namespace": namespace}, "data": certificate}


@pytest.mark.parametrize(
    ("listeners", "accepted", "programmed"),
    [
        ([HTTP], (True, "Accepted"), (True, "Programmed")),
        ([HTTP, TCP], (True, "ListenersNotValid"), (True, "Programmed")),
        ([TCP], (False, "ListenersNotValid"), (False, "Invalid")),
        ([HTTPS], (True, "ListenersNotValid"), (False, "Invalid")),
    ],
)
def test_a_gateway_is_as_valid_as_its_listeners(
    listeners: list[Object], accepted: tuple[bool, str], programmed: tuple[bool, str]
) -> None:
    """Accepted with one valid listener, and not without any; programmed with one that can serve."""
    world = World()
    world.gateway(*listeners)
    assert world.gateway_condition("Accepted") == accepted
    assert world.gateway_condition("Programmed") == programmed


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"infrastructure": {"parametersRef": {"group": "", "kind": "ConfigMap", "name": "p"}}}, "InvalidParameters"),
        ({"addresses": [{"type": "Hostname", "value": "a.test"}]}, "UnsupportedAddress"),
        ({"tls": {"frontend": {"default": {"validation": {}}}}}, "Invalid"),
    ],
)
def test_what_a_gateway_cannot_have_is_told(spec: Object, reason: str) -> None:
    """Parameters, odd kinds of addresses, clients' certificates: the Gateway is not accepted and does not serve."""
    world = World()
    world.gateway(HTTP, **spec)
    world.route("r", to("s"))
    assert world.gateway_condition("Accepted") == (False, reason)
    assert world.gateway_condition("Programmed") == (False, "Invalid")
    assert world.condition("r") == (False, "NotAllowedByListeners")
    assert world.compiled.ports == {} and world.compiled.opened == []


def test_an_address_without_value_is_any() -> None:
    """A kind of address without its value leaves the choice to the cluster."""
    world = World()
    world.gateway(HTTP, addresses=[{"type": "IPAddress"}])
    assert world.gateway_condition("Accepted") == (True, "Accepted")


def test_addresses_that_are_asked_for() -> None:
    """The Service asks its balancer for it; without it the Gateway is not programmed, and no other is told."""
    world = World()
    plain = wish(world)
    world.gateway(HTTP, addresses=[{"type": "IPAddress", "value": "192.0.2.1"}])
    assert world.gateway_condition("Accepted") == (True, "Accepted")
    assert services.change(plain, wish(world)) == {"spec": {"loadBalancerIP": "192.0.2.1"}}
    assert services.change(wish(world), plain) == {"spec": {"loadBalancerIP": None}}

    def told(*given: str) -> tuple[list[str], str, str]:
        ingress = [{"ip": each} for each in given]
        service = {"spec": {"clusterIP": "10.96.0.9"}, "status": {"loadBalancer": {"ingress": ingress}}}
        shown = status.of_gateway(world.compiled.gateways[0], service, NOW, {})
        programmed = next(each for each in shown["conditions"] if each["type"] == "Programmed")
        return [each["value"] for each in shown["addresses"]], programmed["status"], programmed["reason"]

    assert told() == ([], "False", "AddressNotUsable")
    assert told("192.0.2.9") == ([], "False", "AddressNotUsable")
    assert told("192.0.2.1") == (["192.0.2.1"], "True", "Programmed")
    two = [{"value": "192.0.2.1"}, {"value": "no address"}]
    world.gateway(HTTP, addresses=two)
    assert told("192.0.2.1") == (["192.0.2.1"], "False", "AddressNotUsable")


def test_a_class_says_what_it_supports() -> None:
    """Accepted, SupportedVersion and the names of features; parameters of the class are refused."""
    world = World()
    world.add_class("other", parametersRef={"group": "", "kind": "ConfigMap", "name": "p"})
    world.gateways[GW]["spec"]["gatewayClassName"] = "other"
    compiled = world.compiled
    shown = status.of_class(compiled.classes[0], NOW, {})
    assert [(each["type"], each["status"]) for each in shown["conditions"]] == [
        ("Accepted", "True"),
        ("SupportedVersion", "True"),
    ]
    names = [each["name"] for each in shown["supportedFeatures"]]
    assert {"Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant", "HTTPRouteRequestMirror"} <= set(names)
    assert names == sorted(names) and len(names) <= 64
    assert {each["observedGeneration"] for each in shown["conditions"]} == {1}
    world.classes[0]["metadata"]["generation"] = 2
    again = status.of_class(world.compiled.classes[0], "later", shown)
    assert [(each["observedGeneration"], each["lastTransitionTime"]) for each in again["conditions"]] == [(2, NOW)] * 2
    assert compiled.classes[1].conditions[0][1:3] == (False, "InvalidParameters")
    assert world.gateway_condition("Accepted") == (False, "InvalidParameters")
    assert compiled.ports == {}


def test_features_are_those_of_the_page() -> None:
    """What the class says it supports is on the page of features with its test, and what is not, is not."""
    page = (Path(__file__).parents[2] / "docs" / "gateway-conformance.md").read_text()
    held, _, missing = page.partition("## What is not supported")
    core = {"Gateway", "HTTPRoute", "GRPCRoute", "ReferenceGrant"}
    assert [name for name in acceptance.FEATURES if name not in core and not re.search(rf"\b{name}\b", held)] == []
    assert [name for name in acceptance.FEATURES if name not in core and re.search(rf"\b{name}\b", missing)] == []


@pytest.mark.parametrize("versions", [{"v1.6.1", "v0.8.0"}, {""}])
def test_other_releases_of_the_api_are_told(versions: set[str]) -> None:
    """What can be served is, but SupportedVersion says which releases the definitions are from."""
    world = World(versions=frozenset(versions))
    accepted, supported = world.compiled.classes[0].conditions
    assert accepted.holds
    assert supported[1:3] == (False, "UnsupportedVersion")
    assert "v0.8.0" in supported.message or "(none)" in supported.message


def test_the_add_ons_definitions_are_of_a_supported_release() -> None:
    """Each has the annotation, so that the class of the add-on supports what comes with it."""
    from pynetes.cluster.addons import catalog, manifests
    from pynetes.cluster.config import Cluster

    found = manifests.objects(Cluster(), [catalog.BY_NAME["ingress"]])
    versions = {acceptance.version(each) for each in found if each["kind"] == "CustomResourceDefinition"}
    assert len(versions) == 1
    assert versions.pop().startswith(acceptance.SUPPORTED)


@pytest.mark.parametrize(
    ("named", "kinds_of_it", "resolved"),
    [
        (["HTTPRoute"], ["HTTPRoute"], (True, "ResolvedRefs")),
        (["HTTPRoute", "Odd"], ["HTTPRoute"], (False, "InvalidRouteKinds")),
        (["Odd"], [], (False, "InvalidRouteKinds")),
    ],
)
def test_kinds_of_routes(named: list[str], kinds_of_it: list[str], resolved: tuple[bool, str]) -> None:
    """Kinds that cannot attach are told; the others of the same listener can."""
    world = World()
    world.gateway({**HTTP, "allowedRoutes": {"kinds": [{"kind": kind} for kind in named]}})
    shown = status.of_gateway(world.compiled.gateways[0], None, NOW, {})["listeners"][0]
    assert [each["kind"] for each in shown["supportedKinds"]] == kinds_of_it
    assert world.listener_condition("http", "ResolvedRefs") == resolved


@pytest.mark.parametrize(
    ("ref", "data"),
    [
        ({"name": "gone"}, None),
        ({"name": "cert", "group": "odd.example.com"}, None),
        ({"name": "cert", "kind": "ConfigMap"}, None),
        ({"name": "cert"}, {"tls.crt": "SGVsbG8=", "tls.key": "SGVsbG8="}),
    ],
)
def test_certificates_that_are_none(ref: Object, data: Object | None, certificate: Object) -> None:
    """A Secret that is not there, something else than a Secret, nonsense: InvalidCertificateRef, not programmed."""
    world = World()
    secret(world, data or certificate)
    world.gateway({**HTTPS, "tls": {"certificateRefs": [ref]}})
    assert world.listener_condition("https", "ResolvedRefs") == (False, "InvalidCertificateRef")
    assert world.listener_condition("https", "Programmed") == (False, "Invalid")


def test_certificates_of_other_namespaces_need_a_grant(certificate: Object) -> None:
    """None, one that says something else, one for this Secret, one for all of the namespace."""
    world = World()
    secret(world, certificate, "far")
    world.gateway({**HTTPS, "tls": {"certificateRefs": [{"name": "cert", "namespace": "far"}]}})
    refused = (False, "RefNotPermitted")
    assert world.listener_condition("https", "ResolvedRefs") == refused
    for more in (
        {"namespace": "far", "name": "another"}, {"namespace": "default"}, {"namespace": "far", "source": "far"},
    ):  # fmt: skip
        world.grant("Gateway", "Secret", **more)
    world.grant("HTTPRoute", "Secret", namespace="far")
    world.grant("Gateway", "Service", namespace="far")
    assert world.listener_condition("https", "ResolvedRefs") == refused
    for name in ("cert", ""):
        world.grants.clear()
        world.grant("Gateway", "Secret", namespace="far", name=name)
        assert world.listener_condition("https", "ResolvedRefs") == (True, "ResolvedRefs")
        assert world.gateway_condition("Programmed") == (True, "Programmed")


def test_conflicts_of_one_port() -> None:
    """Protocols that differ and names that do not; the first has the port. UDP is another transport."""
    world = World()
    both = [HTTP, {**HTTP, "name": "twin"}, {**HTTP, "name": "named", "hostname": "a.test"}]
    others = [
        {**HTTPS, "name": "tls", "port": 80},
        {**TCP, "port": 80},
        {**TCP, "name": "udp", "protocol": "UDP", "port": 80},
    ]
    world.gateway(*both, *others)
    found = {
        name: world.listener_condition(name, "Conflicted") for name in ("http", "twin", "named", "tls", "tcp", "udp")
    }
    assert found == {
        "http": (False, "NoConflicts"),
        "twin": (True, "HostnameConflict"),
        "named": (False, "NoConflicts"),
        "tls": (True, "ProtocolConflict"),
        "tcp": (True, "ProtocolConflict"),
        "udp": (False, "NoConflicts"),
    }


def test_attached_routes_are_counted_where_nothing_can_be_served() -> None:
    """A listener without its certificate is valid: routes attach and are counted, those that do not match are not."""
    world = World()
    world.gateway({**HTTPS, "hostname": "a.test"})
    world.route("r", to("s"))
    world.route("other", to("s"), hostnames=("b.test",))
    shown = status.of_gateway(world.compiled.gateways[0], None, NOW, {})["listeners"][0]
    assert shown["attachedRoutes"] == 1
    assert world.condition("r") == (True, "Accepted")
    assert world.condition("other") == (False, "NoMatchingListenerHostname")
    assert world.compiled.scopes == {}


def test_listeners_come_and_go() -> None:
    """A listener that is added is served and told, one that is removed is neither; generations are the spec's."""
    world = World()
    world.route("r", to("s"))
    world.tell()
    first = world.gateways[GW]["status"]
    world.gateway(HTTP, {**HTTP, "name": "more", "port": 8080})
    world.tell()
    told = world.gateways[GW]["status"]
    assert [(each["name"], each["attachedRoutes"]) for each in told["listeners"]] == [("http", 1), ("more", 1)]
    assert [each["observedGeneration"] for each in first["conditions"]] == [1, 1]
    assert {each["observedGeneration"] for each in told["conditions"]} == {2}
    assert {port for _, port in world.compiled.ports} == {80, 8080}
    world.gateway({**HTTP, "name": "more", "port": 8080})
    world.tell()
    assert [each["name"] for each in world.gateways[GW]["status"]["listeners"]] == ["more"]
    assert {port for _, port in world.compiled.ports} == {8080}


def test_conditions_of_others_stay() -> None:
    """A type of condition that is not ours is left as it is, and a time changes with its status only."""
    world = World()
    foreign = {
        "type": "example.com/Seen",
        "status": "True",
        "reason": "Seen",
        "message": "",
        "lastTransitionTime": "then",
    }
    old = {"type": "Accepted", "status": "True", "reason": "Old", "message": "", "lastTransitionTime": "before"}
    shown = status.of_gateway(world.compiled.gateways[0], None, NOW, {"conditions": [foreign, old]})["conditions"]
    assert foreign in shown
    assert {each["type"]: each["lastTransitionTime"] for each in shown} == {
        "Accepted": "before", "Programmed": NOW, "example.com/Seen": "then"
    }  # fmt: skip
    assert next(each["reason"] for each in shown if each["type"] == "Accepted") == "Accepted"


def test_names_of_services() -> None:
    """Plain names where they can be read in one way; others end in a hash, are labels of DNS, and never meet."""
    assert services.service_name(GW) == "gateway-default-gw"
    odd = [
        Key("a-b", "c"),
        Key("a", "b-c"),
        Key("a", "b.c"),
        Key("a", "x" * 80),
        Key("a", "x" * 81),
        Key("n" * 63, "x" * 253),
    ]
    names = [services.service_name(each) for each in odd]
    assert len(set(names)) == len(odd)
    assert all(len(name) <= 63 and name.replace("-", "").isalnum() and name[-1] != "-" for name in names)
    long = [services.label_of("x" * 80), services.label_of("x" * 81)]
    assert long[0] != long[1] and max(map(len, long)) <= 63


def wish(world: World) -> Object:
    """The Service of gw as it should be."""
    made = services.wanted(world.gateways[GW], world.compiled.ports, namespace="kube-system", selector=SELECTOR)
    assert made is not None
    return made


def test_what_a_gateway_asks_of_its_service() -> None:
    """Labels and annotations of spec.infrastructure are the Service's, and go with the wish; those of others stay."""
    world = World()
    world.gateway(HTTP, infrastructure={"labels": {"team": "a", "old": "1"}, "annotations": {"lb": "x"}})
    made = wish(world)
    assert made["metadata"]["labels"] == {
        "team": "a", "old": "1", services.OWNER: "gw", services.OWNER_NAMESPACE: "default", services.CLASS: "nginx",
    }  # fmt: skip
    assert services.change(made, made) is None
    made["metadata"]["annotations"]["cloud"] = "its own"
    world.gateway(HTTP, {**HTTP, "name": "two", "port": 8080}, infrastructure={"labels": {"team": "b"}})
    patch = services.change(made, wish(world))
    assert patch is not None
    assert patch["metadata"]["labels"] == {"old": None, "team": "b"}
    assert {name: value for name, value in patch["metadata"]["annotations"].items() if name != services.ASKED} == {
        "lb": None
    }
    assert [each["port"] for each in patch["spec"]["ports"]] == [80, 8080]


def test_ports_that_were_given_out_stay() -> None:
    """They are read from the Gateway's own Service; Services of others, whatever their labels are, give out nothing."""
    world = World()
    made = wish(world)
    made["spec"]["ports"][0]["targetPort"] = 23456
    assert services.ports_of([made], world.gateways) == {(GW, 80): 23456}
    assert services.is_ours(made, "kube-system")
    stranger = {"metadata": {"name": "envoy", "namespace": "kube-system", "labels": {services.OWNER: "gw"}}}
    assert not services.is_ours(stranger, "kube-system")
    assert not services.is_ours({**made, "metadata": {**made["metadata"], "namespace": "mine"}}, "kube-system")


async def told(api: FakeAPI, compiled: Compiled, group: Group) -> None:
    """One round of the leader."""
    informers = InformerFactory(api.client(), clock=SystemClock(), group=group)
    teller = status.GatewayTeller(
        api.client(), informers, SystemClock(), namespace="kube-system", selector=SELECTOR
    )  # fmt: skip
    found = [each for each in api.listed(service_kind.RESOURCE) if services.is_ours(each, "kube-system")]
    await teller.tell(compiled, found)


async def test_a_gateway_without_listeners_keeps_no_service() -> None:
    """The Service goes when no listener can be served any more, and its address with it; another's stays."""
    world, api = World(), FakeAPI(custom=kinds.ALL)
    labels = {services.OWNER: "gw"}
    api.put({"apiVersion": "v1", "kind": "Service", "spec": {},
             "metadata": {"name": "envoy", "namespace": "kube-system", "labels": labels}})  # fmt: skip

    def put() -> None:
        for resource, obj in ((kinds.GATEWAYS, world.gateways[GW]), (kinds.GATEWAY_CLASSES, world.classes[0])):
            api.put({"apiVersion": resource.api_version, **obj})

    put()
    async with Group() as group:
        await told(api, world.compiled, group)
        await told(api, Compiled(), group)  # as after a start, before any Gateway is known
        assert {key_of(each).name for each in api.listed(service_kind.RESOURCE)} == {"envoy", "gateway-default-gw"}
        world.gateway(TCP)
        put()
        await told(api, world.compiled, group)
        assert {key_of(each).name for each in api.listed(service_kind.RESOURCE)} == {"envoy"}
        gateway: Any = api.get(kinds.GATEWAYS, GW)
        assert gateway["status"]["addresses"] == []
        assert gateway["status"]["conditions"][0]["reason"] == "ListenersNotValid"
