"""Environments: expansion, sources, Services, and the downward API."""

import base64

import pytest

from pynetes.kubelet import downward, env
from pynetes.machinery.meta import Object

NODE = downward.NodeFacts(name="n", ips=("10.9.9.9",), pod_ips=("10.0.0.1",), allocatable={"cpu": "2", "memory": "1Gi"})


def pod() -> Object:
    """A pod with labels."""
    metadata = {"name": "p", "namespace": "d", "uid": "u", "labels": {"a": 'x"y', "b": "2"}}
    return {"metadata": metadata, "spec": {"containers": [], "nodeName": "n", "serviceAccountName": "s"}}


def sources(**given: object) -> env.Sources:
    """Sources of which tests give what they need."""
    return env.Sources(**{"config_maps": {}, "secrets": {}, "node": NODE, **given})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(NONE)", "$(NONE)"),
        ("a$b", "a$b"),
        ("$(A", "$(A"),
        ("$(A)$(B)", "12"),
        ("$", "$"),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    """References are put in, doubled dollars escape, what is unknown stays."""
    assert env.expand(text, {"A": "1", "B": "2"}) == expanded


def test_order_of_sources() -> None:
    """env comes over envFrom, envFrom over Services; a variable may use those before it."""
    service = {
        "metadata": {"name": "my-db", "namespace": "d"},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 5432}]},
    }
    container = {
        "envFrom": [{"configMapRef": {"name": "m"}}],
        "env": [{"name": "B", "value": "env"}, {"name": "C", "value": "$(A)-$(B)-$(MY_DB_SERVICE_HOST)"}],
    }
    found = env.build(
        pod(), container, sources(config_maps={"m": {"data": {"A": "map", "B": "map"}}}, services=[service])
    )
    assert (found["B"], found["C"]) == ("env", "map-env-10.96.0.9")
    assert found["MY_DB_PORT_5432_TCP"] == "tcp://10.96.0.9:5432"


def test_missing_sources() -> None:
    """A missing object or key is named, unless optional."""
    missing = {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}
    with pytest.raises(env.BadConfig, match='secret "s" not found'):
        env.build(pod(), missing, sources(secrets={"s": None}))
    with pytest.raises(env.BadConfig, match="couldn't find key k in Secret d/s"):
        env.build(pod(), missing, sources(secrets={"s": {"data": {}}}))
    missing["env"][0]["valueFrom"]["secretKeyRef"]["optional"] = True  # type: ignore[index]
    assert env.build(pod(), missing, sources(secrets={"s": None})) == {}


def test_secrets_are_decoded() -> None:
    """As bytes, with a prefix where one is given, whatever it is made of."""
    secret = {"data": {"k": base64.b64encode(b"v").decode()}}
    prefixes = ("P_", "1#~-. %")
    container = {"envFrom": [{"prefix": prefix, "secretRef": {"name": "s"}} for prefix in prefixes]}
    assert env.build(pod(), container, sources(secrets={"s": secret})) == {"P_k": "v", "1#~-. %k": "v"}


def test_service_links_can_be_off() -> None:
    """Only the API server's own Service is left then."""
    own = {
        "metadata": {"name": "kubernetes", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"port": 443, "name": "https"}]},
    }
    other = {"metadata": {"name": "x", "namespace": "d"}, "spec": {"clusterIP": "10.96.0.2", "ports": [{"port": 1}]}}
    obj = pod()
    obj["spec"]["enableServiceLinks"] = False
    found = env.service_variables(obj, [own, other])
    assert found["KUBERNETES_SERVICE_PORT_HTTPS"] == "443"
    assert not any(name.startswith("X_") for name in found)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("metadata.labels['b']", "2"),
        ("metadata.labels", 'a="x\\"y"\nb="2"'),
        ("status.podIP", "10.0.0.1"),
        ("status.hostIPs", "10.9.9.9"),
        ("spec.serviceAccountName", "s"),
        ("metadata.annotations['none']", ""),
    ],
)
def test_fields(path: str, value: str) -> None:
    """Fields of the pod, before its status tells its address."""
    assert downward.field(pod(), path, NODE) == value


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "250"),
        ({"resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.memory"}, str(1 << 30)),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"resource": "requests.memory"}, "0"),
    ],
)
def test_resources_round_up(reference: Object, value: str) -> None:
    """Amounts are rounded up to the divisor; missing limits are the node's."""
    container = {"name": "c", "resources": {"limits": {"cpu": "250m"}}}
    assert downward.resource(pod(), container, reference, NODE) == value
