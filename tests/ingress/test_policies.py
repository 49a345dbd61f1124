"""What annotations, Services and endpoints come to in nginx's tables, each by itself. No nginx."""

from pathlib import Path

import pytest

from pynetes.apis.networking import ingressclasses, ingresses
from pynetes.ingress import annotations, endpoints
from pynetes.ingress.hosts import Hosts, of_all
from pynetes.ingress.ingresses import Cluster
from pynetes.ingress.nginx import configuration
from pynetes.ingress.nginx.configuration import Listener, Location, Settings
from pynetes.ingress.rules import BackendRef, Rule
from pynetes.machinery.meta import Key, Object
from tests.ingress.test_hostile import CLASS, compiled, ingress

REF = BackendRef(Key("default", "s"), "80")


def rule(**said: str) -> Rule:
    """The rule of an Ingress with these annotations; _ for - in their names."""
    given = {name.replace("_", "-"): value for name, value in said.items()}
    (found,) = compiled(ingress("i", "/", "Prefix", given)).hosts["a.test"].rules
    return found


def test_attributes_of_session_cookies() -> None:
    """Path, domain, and how long it lasts: max-age goes before expires."""
    said = {"affinity": "cookie", "session_cookie_path": "/app", "session_cookie_domain": "a.test"}
    found = rule(**said, session_cookie_expires="60", affinity_mode="persistent").policy["affinity"]
    assert found["cookie"] == "INGRESSCOOKIE"
    assert found["attributes"] == "; Path=/app; HttpOnly; Domain=a.test; Max-Age=60"
    both = rule(**said, session_cookie_expires="60", session_cookie_max_age="5").policy["affinity"]
    assert both["attributes"].endswith("; Max-Age=5")


def test_buffering_is_a_location_of_its_own() -> None:
    """What nginx must know before it sees a request is in its configuration."""
    location = rule(proxy_request_buffering="off", proxy_buffering="on").location
    assert (location.request_buffering, location.buffering) == (False, True)
    settings = Settings(listeners=(Listener(80, "ingress"),), locations=frozenset({location}))
    text = configuration.render(settings, Path("/x"))
    assert "proxy_request_buffering off;" in text and "proxy_buffering on;" in text
    assert rule().location == Location()


@pytest.mark.parametrize(
    ("said", "field", "wanted"),
    [
        ({"proxy_next_upstream_tries": "1"}, "tries", 0),
        ({}, "tries", 2),
        ({"temporal_redirect": "https://b.test", "temporal_redirect_code": "307"}, "redirect",
         {"url": "https://b.test", "code": 307}),
        ({"load_balance": "ewma"}, "affinity", None),
        ({"x_forwarded_prefix": "/p"}, "prefix_header", "/p"),
        ({"allowlist_source_range": "10.0.0.0/8"}, "allow", [["0a000000", 8]]),
        ({"limit_burst_multiplier": "3", "limit_rps": "2", "limit_whitelist": "::1"}, "limit",
         {"rps": 2, "burst": 3, "key": "default/i ", "status": 503, "free": [("0" * 31 + "1", 128)]}),
        ({"force_ssl_redirect": "true"}, "secure", "always"),
        ({"ssl_redirect": "false"}, "secure", None),
        ({"upstream_vhost": "in.test"}, "host", "in.test"),
    ],
)  # fmt: skip
def test_annotations_are_policy(said: dict[str, str], field: str, wanted: object) -> None:
    """One annotation, and what becomes of it; what is not said is ingress-nginx's default."""
    found = rule(**said).policy.get(field)
    assert (list(map(list, found)) if field == "allow" else found) == wanted


def test_headers_of_cors() -> None:
    """What a preflight is told that it may send."""
    found = rule(enable_cors="true", cors_allow_headers="X-One,X-Two", cors_allow_credentials="false").policy["cors"]
    assert (found["headers"], found["credentials"], found["max_age"]) == ("X-One, X-Two", False, 1_728_000)


def test_service_upstream_is_the_services_own_address() -> None:
    """Its ClusterIP and port in place of its endpoints; a Service without one has none."""
    ref = rule(service_upstream="true").backends[0].ref
    assert ref is not None and ref.direct
    service: Object = {"spec": {"clusterIP": "10.96.0.9", "ports": [{"name": "web", "port": 80}]}}
    assert endpoints.endpoints(ref, service, []) == [("10.96.0.9", 80)]
    service["spec"]["clusterIP"] = "None"
    assert endpoints.endpoints(ref, service, []) == []


def test_ports_by_name_and_by_number() -> None:
    """A backend names a Service's port in either way; one that the Service does not have leads nowhere."""
    made = ingress("i", "/", "Prefix", {})
    backend = made["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    backend["port"] = {"name": "web"}
    (found,) = compiled(made).hosts["a.test"].rules
    assert found.backends[0].ref == BackendRef(Key("default", "s"), "web")
    service: Object = {"spec": {"ports": [{"name": "admin", "port": 81}, {"name": "web", "port": 80}]}}
    slices = [slice_of({"addresses": ["10.0.0.1"]}, port=8080)]
    for port, wanted in (("web", [("10.0.0.1", 8080)]), ("80", [("10.0.0.1", 8080)]), ("82", []), ("81", [])):
        assert endpoints.endpoints(BackendRef(Key("default", "s"), port), service, slices) == wanted


def slice_of(*found: Object, port: int = 8080) -> Object:
    """An EndpointSlice of the port web."""
    return {"addressType": "IPv4", "ports": [{"name": "web", "port": port}], "endpoints": list(found)}


def test_probes_are_the_health_check() -> None:
    """Endpoints that are not ready get nothing; those that end still serve while there is no other."""
    service: Object = {"spec": {"ports": [{"name": "web", "port": 80}]}}
    ending = {"ready": False, "serving": True, "terminating": True}
    leaving = {"addresses": ["10.0.0.1"], "conditions": ending}
    failing = {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "serving": False}}
    ready = {"addresses": ["10.0.0.3"], "conditions": {"ready": True}}
    assert endpoints.endpoints(REF, service, [slice_of(leaving, failing), slice_of(ready)]) == [("10.0.0.3", 8080)]
    assert endpoints.endpoints(REF, service, [slice_of(leaving, failing)]) == [("10.0.0.1", 8080)]
    assert endpoints.endpoints(REF, service, [slice_of(failing)]) == []


def test_an_update_takes_the_place_of_what_was() -> None:
    """Another host by an edit: the new one is served, the old one is not."""
    hosts: Hosts = of_all([ingress("i", "/", "Prefix", {})], [CLASS], Cluster(lambda _: None, lambda _: None))
    hosts.change({Key("default", "i"): ingress("i", "/", "Prefix", {}, host="b.test")})
    assert sorted(hosts.hosts) == ["b.test"]


SERVICE: Object = {"service": {"name": "s", "port": {"number": 80}}}
RESOURCE: Object = {"resource": {"kind": "K", "name": "k"}}


def path(**change: object) -> Object:
    """A spec with one path."""
    made = {"path": "/", "pathType": "Prefix", "backend": SERVICE, **change}
    kept = {name: value for name, value in made.items() if value is not None}
    return {"rules": [{"host": "a.test", "http": {"paths": [kept]}}]}


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (path(pathType=None), "pathType must be specified"),
        (path(backend={**SERVICE, **RESOURCE}), "cannot set both resource and service backends"),
        (path(backend={}), "resource or service backend is required"),
        (path(path="x"), "must be an absolute path"),
        ({}, "either `defaultBackend` or `rules` must be specified"),
        ({"rules": [{"host": "a.*.test"}]}, "a wildcard DNS-1123 subdomain must start with '*.'"),
        ({"rules": [{"host": "192.0.2.1"}]}, "must be a DNS name, not an IP address"),
    ],
)
def test_what_the_api_refuses(spec: Object, why: str) -> None:
    """A path without its type, both kinds of backend or none, no rules and no default backend, hosts that are none."""
    found = [str(error) for error in ingresses.validate({"metadata": {}, "spec": spec}, None)]
    assert len(found) == 1 and why in found[0]


@pytest.mark.parametrize("backend", [SERVICE, RESOURCE])
def test_a_default_backend_is_enough(backend: Object) -> None:
    """An Ingress without rules sends everything to it."""
    assert not list(ingresses.validate({"metadata": {}, "spec": {"defaultBackend": backend}}, None))


@pytest.mark.parametrize(
    ("parameters", "path"),
    [
        ({"scope": "Cluster"}, None),
        ({"scope": "Namespace", "namespace": "n"}, None),
        ({"scope": "Namespace"}, "spec.parameters.namespace"),
        ({"scope": "Cluster", "namespace": "n"}, "spec.parameters.namespace"),
        ({"scope": "Odd"}, "spec.parameters.scope"),
    ],
)
def test_parameters_of_classes(parameters: Object, path: str | None) -> None:
    """Of the whole cluster, or of a namespace that is named then. nginx's class has none and reads none."""
    spec = {"controller": "k8s.io/x", "parameters": {"kind": "K", "name": "k", **parameters}}
    found = [error.path for error in ingressclasses.validate({"metadata": {}, "spec": spec}, None)]
    assert found == ([path] if path else [])


def test_parameters_change_nothing() -> None:
    """A class of ours with parameters serves as one without."""
    with_them = {**CLASS, "spec": {**CLASS["spec"], "parameters": {"kind": "K", "name": "k"}}}
    hosts = of_all([ingress("i", "/", "Prefix", {})], [with_them], Cluster(lambda _: None, lambda _: None))
    assert sorted(hosts.hosts) == ["a.test"]


def test_every_annotation_is_on_the_page() -> None:
    """Each that is known stands there beside its tests."""
    page = (Path(__file__).parents[2] / "docs" / "ingress-tests.md").read_text()
    assert [name for name in annotations.KNOWN if f"`{name}`" not in page] == []


def test_every_annotation_has_a_meaning() -> None:
    """None is read and then passed over: each that is known is used somewhere, or is what is done anyway."""
    folder = Path(annotations.__file__).parent
    code = "".join((folder / name).read_text() for name in ("policies.py", "ingresses.py"))
    done_anyway = {"affinity-mode", "load-balance"}
    unused = [name for name in annotations.KNOWN if f'"{name}"' not in code and f"'{name}'" not in code]
    assert set(unused) - done_anyway - {"limit-rps", "limit-rpm", "limit-connections"} == set()
